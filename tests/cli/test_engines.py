import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import engines

CHECKOUT = Path(__file__).resolve().parents[2]


def _rhapsode(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rhapsode", "engines", *arguments],
        env={**os.environ, "PYTHONPATH": f"{folder}:{CHECKOUT}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )


def test_every_engine_is_listed_with_what_it_lacks(tmp_path: Path) -> None:
    engines.install_code(tmp_path, "crasher", "import os; os.kill(os.getpid(), 11)")
    engines.install_code(tmp_path, "needy", "import library_that_is_not_there")
    engines.install(tmp_path)
    rows = {row["name"]: row for row in json.loads(_rhapsode(tmp_path, "--json").stdout)}
    assert rows["puppet"] == {
        "name": "puppet",
        "package": "puppet-engine",
        "available": True,
        "detail": "1.0",
        "install": None,
    }
    assert rows["faster-whisper"]["available"] is True
    assert rows["crasher"]["detail"] == "its import ends the process: SIGSEGV"
    assert rows["needy"]["install"] == "pip install library_that_is_not_there"
    table = _rhapsode(tmp_path).stdout
    assert "its import ends the process: SIGSEGV" in table
    assert "pip install library_that_is_not_there" in table
