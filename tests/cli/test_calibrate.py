"""`rhapsode calibrate` and `rhapsode runner --calibrate`, as programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from rhapsode.cli.calibrate import in_words
from rhapsode.cli.exits import ExitCode
from rhapsode.engines.base import LoadSettings
from rhapsode.runner.calibrations import Calibrations
from tests.support import speech, tunable

CHECKOUT = Path(__file__).resolve().parents[2]


def _rhapsode(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    speech.sample("jfk")
    plugin = tmp_path / "plugin"
    if not plugin.exists():
        tunable.install(plugin, {})
    variables = {
        "PYTHONPATH": f"{plugin}:{CHECKOUT}",
        "RHAPSODE_MODELS__MIRROR_FOLDER": str(speech.models_folder()),
    }
    return subprocess.run(
        [sys.executable, "-m", "rhapsode", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def test_a_runner_calibrates_without_a_token_and_leaves(tmp_path: Path) -> None:
    models = tmp_path / "models"
    mirror = ("--mirror-dir", str(speech.models_folder()))
    options = ("--models-dir", str(models), *mirror, "--preload", "tunable/one", "--json")
    done = _rhapsode(tmp_path, "runner", "--calibrate", *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["path"] == str(Calibrations(models).path)
    (made,) = document["models"]
    assert made["name"] == "tunable/one"
    assert made["speed"] > 0
    kept = Calibrations(models).find("tunable", "1.0", "one", LoadSettings())
    assert kept is not None
    assert kept.speed == made["speed"]
    assert "tunable/one (1 of 1)" in done.stderr
    assert "× real time" in done.stderr


def test_models_that_are_not_there_are_named(tmp_path: Path) -> None:
    done = _rhapsode(tmp_path, "calibrate", "base", "--folder", str(tmp_path / "models"))
    assert done.returncode == ExitCode.NOT_FOUND, done.stderr
    assert "faster-whisper/base is not installed here" in done.stderr
    assert "rhapsode models pull" in done.stderr


def test_settings_in_words() -> None:
    assert in_words(LoadSettings()) == "the engine's own choice"
    assert in_words(LoadSettings("cpu", "int8", 1)) == "cpu, int8, 1 thread"
