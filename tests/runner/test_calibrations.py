"""What is kept of a calibration, and when it counts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.engines.base import LoadSettings
from rhapsode.runner.calibrations import FOLDER, Calibration, Calibrations
from rhapsode.runner.machine import Machine, this_machine

HERE = Machine("A processor", 8)
AUTO = LoadSettings()
BEST = LoadSettings(device="cpu", compute_type="int8", threads=4)
MADE = Calibration(
    engine="puppet",
    engine_version="1.0",
    model="quick",
    settings=BEST,
    speed=20.0,
    own_speed=10.0,
    word_errors=0.0,
    own_word_errors=0.0,
    measured_at="2026-11-21T00:00:00+00:00",
)


def _kept(folder: Path, machine: Machine = HERE) -> Calibrations:
    Calibrations(folder, machine).keep(MADE)
    return Calibrations(folder, machine)


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    kept = _kept(tmp_path)
    assert kept.find("puppet", "1.0", "quick", AUTO) == MADE
    assert kept.settings("puppet", "1.0", "quick", AUTO) == BEST


def test_a_new_one_takes_the_place_of_the_old(tmp_path: Path) -> None:
    kept = _kept(tmp_path)
    other = replace(MADE, model="other")
    kept.keep(other)
    kept.keep(replace(MADE, speed=30.0))
    again = Calibrations(tmp_path, HERE)
    found = again.find("puppet", "1.0", "quick", AUTO)
    assert found is not None
    assert found.speed == 30.0
    assert again.find("puppet", "1.0", "other", AUTO) == other


def test_another_version_of_the_engine_is_another_engine(tmp_path: Path) -> None:
    assert _kept(tmp_path).settings("puppet", "1.1", "quick", AUTO) == AUTO


@pytest.mark.parametrize(
    "machine", [Machine("B", 8), Machine("A processor", 4), replace(HERE, gpus=("H200",))]
)
def test_another_machine_has_calibrations_of_its_own(tmp_path: Path, machine: Machine) -> None:
    kept = _kept(tmp_path)
    other = Calibrations(tmp_path, machine)
    assert other.find("puppet", "1.0", "quick", AUTO) is None
    # A file under the wrong name, as when somebody copies folders about.
    kept.path.rename(other.path)
    assert Calibrations(tmp_path, machine).find("puppet", "1.0", "quick", AUTO) is None


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        (LoadSettings(device="cpu"), True),
        (LoadSettings(threads=4), True),
        (LoadSettings(device="cuda"), False),
        (LoadSettings(threads=2), False),
        (LoadSettings(compute_type="float32"), False),
    ],
)
def test_what_the_settings_fix_is_fixed(
    tmp_path: Path, asked: LoadSettings, counts: bool
) -> None:
    found = _kept(tmp_path).settings("puppet", "1.0", "quick", asked)
    assert found == (BEST if counts else asked)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    path = _kept(tmp_path).path
    path.write_text(content)
    assert Calibrations(tmp_path, HERE).find("puppet", "1.0", "quick", AUTO) is None
    assert _kept(tmp_path).find("puppet", "1.0", "quick", AUTO) == MADE


def test_an_older_format_counts_as_none(tmp_path: Path) -> None:
    path = _kept(tmp_path).path
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    assert Calibrations(tmp_path, HERE).find("puppet", "1.0", "quick", AUTO) is None


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with pytest.raises(Unavailable) as refusal:
        Calibrations(tmp_path, HERE).keep(MADE)
    assert refusal.value.code == "calibration_not_kept"
    assert str(tmp_path) in refusal.value.message


def test_this_machine_is_the_same_each_time() -> None:
    assert this_machine() == this_machine()
    assert this_machine().cores >= 1
    assert this_machine().key == this_machine().key
