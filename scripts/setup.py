"""Makes the virtual environment and installs what is pinned, with a progress bar.

Standard library only: it runs before anything is installed. Usage: setup.py run|dev|docs
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import build_web

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 30


def main(group: str) -> int:
    """Install one group of requirements; returns the process's exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this file runs under whatever is there)
        print(f"Rhapsode needs Python 3.11 or later; this is {sys.version.split()[0]}.")
        print("Name another: make PYTHON=python3.12 …")
        return 1
    folder = ROOT / (".venv-docs" if group == "docs" else ".venv")
    python = folder / "bin" / "python"
    if not python.exists() and not make_environment(folder):
        return 1
    requirements = ROOT / "requirements" / f"{group}.txt"
    options = ["--require-hashes", "-r", str(requirements)]
    if not install(python, options, names_in(requirements)):
        return 1
    if group != "docs" and not finish(python):
        return 1
    stamp = ROOT / ".venv" / group
    stamp.parent.mkdir(exist_ok=True)
    stamp.touch()
    return 0


def finish(python: Path) -> bool:
    """Rhapsode itself, and Node for building its page where the machine has none that does."""
    if not install(python, ["--no-deps", "--no-build-isolation", "-e", "."]):
        return False
    if build_web.system_node() is not None:
        return True
    requirements = ROOT / "requirements" / "node.txt"
    return install(python, ["--require-hashes", "-r", str(requirements)])


def make_environment(folder: Path) -> bool:
    """A fresh virtual environment; False, and a word to the user, where that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        print(done.stdout + done.stderr, file=sys.stderr)
        print("Python cannot make a virtual environment. On Debian: apt install python3-venv")
    return done.returncode == 0


def names_in(requirements: Path) -> int:
    """How many packages a lock file names, those for other systems included."""
    return len(re.findall(r"^[\w.-]+==", requirements.read_text(), re.MULTILINE))


def install(python: Path, options: list[str], total: int = 3) -> bool:
    """Run pip with a bar; its own words are shown only where it fails."""
    command = [str(python), "-m", "pip", "install", "--no-color", *options]
    process = subprocess.Popen(
        [*command, "--disable-pip-version-check", "--progress-bar", "off"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    said, bar = [], Bar("set-up", total)
    for line in process.stdout or ():
        said.append(line)
        bar.heard(line)
    if process.wait():
        bar.end("failed")
        print("".join(said[-60:]), file=sys.stderr)
        return False
    bar.end("done")
    return True


class Bar:
    """One line that grows on a terminal; a few lines where the output is a file."""

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.count = 0
        self.started = time.monotonic()

    def heard(self, line: str) -> None:
        """Advance by what pip says."""
        found = re.match(
            r"\s*(Collecting|Requirement already satisfied:|Installing) ?(\S*)", line
        )
        if found is None:
            return
        self.count = min(self.total, self.count + 1)
        name = re.split(r"[=<>\[]", found[2])[0]
        self.draw("installing" if found[1] == "Installing" else name)

    def draw(self, what: str) -> None:
        """Show how far it is."""
        if sys.stderr.isatty():
            done = WIDTH * self.count // max(1, self.total)
            bar = "━" * done + "╌" * (WIDTH - done)
            print(f"\r{self.title} {bar} {what:<40.40}", end="", file=sys.stderr, flush=True)

    def end(self, what: str) -> None:
        """Leave a last line."""
        seconds = time.monotonic() - self.started
        start = "\r" if sys.stderr.isatty() else ""
        bar = "━" * WIDTH
        print(f"{start}{self.title} {bar} {what} in {seconds:.0f} s{' ' * 30}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
