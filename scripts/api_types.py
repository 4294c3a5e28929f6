"""Generates the web page's API types from the server's OpenAPI document, or checks them.

`python scripts/api_types.py` writes web/src/lib/api/schema.d.ts; with `--check` it only says
whether the file is what would be written.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import build_web

SCHEMA = build_web.WEB / "src" / "lib" / "api" / "schema.d.ts"
_GENERATOR = build_web.WEB / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
_TIMEOUT_SECONDS = 120


def generate(target: Path) -> None:
    """Write the types of this checkout's API to `target`."""
    node = build_web.find_node()
    build_web.install_packages(node)
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "openapi.json"
        document.write_text(_openapi())
        subprocess.run(
            ["node", _GENERATOR, document, "--output", target],
            env=node.environment,
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
        )


def is_current() -> bool:
    """Whether the committed types are those of this checkout's API."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / SCHEMA.name
        generate(fresh)
        return fresh.read_text() == SCHEMA.read_text()


def _openapi() -> str:
    command = [sys.executable, "-c", "from rhapsode.cli import main; main()", "openapi"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS
    )
    return done.stdout


def main() -> None:
    """Write or check the types; exit status 1 where they are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        generate(SCHEMA)
    elif not is_current():
        sys.exit(f"{SCHEMA} is not what the API says: run `python scripts/api_types.py`.")


if __name__ == "__main__":
    main()
