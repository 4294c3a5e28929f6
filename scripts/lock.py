"""Renews requirements/GROUP.txt: versions and hashes, no addresses.

Usage: lock.py run|dev|docs|node|runner
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
)
SOURCES = {
    "run": ("pyproject.toml", "--all-extras", "--group", "build"),
    "dev": ("pyproject.toml", "--all-extras", "--group", "build", "--group", "dev"),
    "docs": ("--group", "docs"),
    "node": ("--group", "node"),
    "runner": ("--group", "runner"),
}


def main(group: str) -> None:
    """Compile one lock file with uv."""
    target = ROOT / "requirements" / f"{group}.txt"
    command = ["uv", "pip", "compile", *OPTIONS, *SOURCES[group], "-o", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
