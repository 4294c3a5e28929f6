"""The search, with an engine of which is known what is best; and what the child makes of it."""

from pathlib import Path

import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.jobs import JobSpec
from rhapsode.engines.base import LoadSettings
from rhapsode.runner import calibrating
from rhapsode.runner.calibrating import Sample, Subject, Tried, calibrate
from rhapsode.runner.calibrations import Calibrations
from rhapsode.runner.handle import Child
from rhapsode.runner.messages import Done, Perform
from tests.support import speech, tunable
from tests.support.faulty import TOKEN
from tests.support.runners import CHECKOUT, config

CHOICES: dict[str, list[object]] = {
    "threads": [4],
    "compute_type": ["wrong", "deadly", "quick"],
}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(tunable.NAME, "1.0", tunable.MODEL, tmp_path / tunable.NAME / tunable.MODEL)


@pytest.fixture
def sample() -> Sample:
    return Sample(speech.sample("jfk"), speech.sample_text("jfk"))


def _installed(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None = None) -> None:
    plugin = tunable.install(folder / "tunable-plugin", CHOICES, text)
    monkeypatch.setenv("PYTHONPATH", f"{plugin}:{CHECKOUT}")


async def test_the_fastest_right_setting_is_found_kept_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: Subject, sample: Sample
) -> None:
    _installed(tmp_path, monkeypatch)
    monkeypatch.setattr(calibrating, "READING_SECONDS", 0.1)
    tried: list[Tried] = []
    made = calibrate(subject, LoadSettings(), sample, tried.append, budget=300)
    assert made.settings == LoadSettings(threads=4, compute_type="quick")
    assert made.speed > 1.05 * made.own_speed
    assert (made.word_errors, made.own_word_errors) == (0.0, 0.0)
    by_format = {one.settings.compute_type: one for one in tried}
    assert by_format["wrong"].speed is not None
    assert by_format["deadly"].speed is None
    assert by_format["deadly"].remark == "its process ended with -6"

    models = tmp_path / "models"
    Calibrations(models).keep(made)
    given = {"models_folder": models, "threads": None, "device": "auto"}
    child = Child(config("http://unused", TOKEN, tmp_path, child=given).child, 60)
    try:
        capabilities = await child.ensure()
        assert capabilities.speed == {"tunable/one": made.speed}
        spec = JobSpec(engine=tunable.NAME, model=tunable.MODEL, language="en")
        work = child.prepare("job/1", spec, lambda _: None)
        assert await work.until_loaded() is None
        child.perform(
            Perform("job/1", spec, str(speech.sample("jfk")), str(tmp_path / "result.json"))
        )
        assert isinstance(await work.over, Done)
    finally:
        await child.close()
    assert tunable.loaded_as(models) == "quick"


def test_a_model_that_hears_nothing_cannot_be_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: Subject, sample: Sample
) -> None:
    _installed(tmp_path, monkeypatch, text="")
    with pytest.raises(Unavailable) as refusal:
        calibrate(subject, LoadSettings(), sample, lambda _: None)
    assert refusal.value.code == "calibration_failed"
    assert "hears nothing" in refusal.value.message
