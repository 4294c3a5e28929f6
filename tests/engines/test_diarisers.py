import logging
from importlib.metadata import EntryPoint

import pytest

from rhapsode.engines import diarisers
from rhapsode.engines.voiceprint.adapter import DIARISER


def _points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, diarisers.GROUP) for name, value in values.items()]
    monkeypatch.setattr(diarisers, "entry_points", lambda group: points)


def test_the_installed_ones_are_found_the_better_first() -> None:
    assert list(diarisers.discover()) == ["pyannote", "embedded"]
    assert diarisers.discover()["embedded"] is DIARISER


def test_those_that_lack_their_library_are_not_available() -> None:
    assert [engine.name for engine in diarisers.available()] == ["embedded"]


def test_a_third_partys_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diarisers, "_loaded", lambda point: DIARISER)
    good = "rhapsode.engines.voiceprint.adapter:DIARISER"
    _points(monkeypatch, embedded=good, another=good)
    assert list(diarisers.discover()) == ["another", "embedded"]


@pytest.mark.parametrize("value", ["no_such_package:X", "rhapsode.engines.base:NOTHING"])
def test_a_broken_one_is_reported_and_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = "rhapsode.engines.voiceprint.adapter:DIARISER"
    _points(monkeypatch, broken=value, embedded=good)
    with caplog.at_level(logging.WARNING):
        assert list(diarisers.discover()) == ["embedded"]
    assert [record.args[0] for record in caplog.records if record.args] == ["broken"]


def test_one_under_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _points(monkeypatch, other="rhapsode.engines.voiceprint.adapter:DIARISER")
    assert diarisers.discover() == {}
    assert "it is no diariser named 'other'" in caplog.text
