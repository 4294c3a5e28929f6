"""Renews requirements/GROUP.txt: versions and hashes, no addresses.

Usage: lock.py run|dev|docs|node|runner
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Engines beside the built-in one go where a runner wants them; PyTorch goes nowhere else.
ENGINES = {"whisper-cpp", "openai-whisper", "moonshine", "onnx-asr"}
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
)


def extras() -> tuple[str, ...]:
    """The options that name every extra but the engines."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = sorted(set(project["optional-dependencies"]) - ENGINES)
    return tuple(part for name in named for part in ("--extra", name))


SOURCES = {
    "run": ("pyproject.toml", *extras(), "--group", "build"),
    "dev": ("pyproject.toml", *extras(), "--group", "build", "--group", "dev"),
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
