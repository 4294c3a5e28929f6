import logging
from importlib.metadata import EntryPoint

import pytest

from rhapsode.domain.errors import NotFound
from rhapsode.engines import registry
from rhapsode.engines.faster_whisper import ENGINE


def _points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_the_installed_engines_are_found() -> None:
    assert registry.discover()["faster-whisper"] is ENGINE


def test_an_unknown_engine_is_named_with_what_there_is() -> None:
    with pytest.raises(NotFound, match=r"no engine 'whisperer'\. Installed: faster-whisper\."):
        registry.get("whisperer")


@pytest.mark.parametrize(
    "value",
    ["no_such_package.engine:ENGINE", "rhapsode.engines.base:NOTHING", "rhapsode.engines:base"],
)
def test_a_broken_engine_is_reported_and_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = "rhapsode.engines.faster_whisper:ENGINE"
    _points(monkeypatch, **{"broken": value, "faster-whisper": good})
    with caplog.at_level(logging.WARNING):
        assert list(registry.discover()) == ["faster-whisper"]
    assert [record.args[0] for record in caplog.records if record.args] == ["broken"]


def test_an_engine_under_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _points(monkeypatch, another="rhapsode.engines.faster_whisper:ENGINE")
    assert registry.discover() == {}
    assert "it is no engine named 'another'" in caplog.text
