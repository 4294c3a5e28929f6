import logging
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rhapsode.domain.errors import NotFound
from rhapsode.engines import registry
from rhapsode.engines.faster_whisper import ENGINE
from tests.support import engines


def _points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_the_installed_engines_are_found() -> None:
    assert registry.discover()["faster-whisper"] is ENGINE


def test_an_unknown_engine_is_named_with_what_there_is() -> None:
    with pytest.raises(NotFound, match=r"no engine 'whisperer'\. Installed: faster-whisper, "):
        registry.get("whisperer")


def test_our_engines_are_there_whatever_is_installed() -> None:
    names = ["faster-whisper", "moonshine", "onnx-asr", "openai-whisper", "whisper.cpp"]
    ours = [finding for finding in registry.survey() if finding.package == "rhapsode"]
    assert [finding.name for finding in ours] == names
    for finding in ours:
        if not finding.available:
            extra = finding.name.replace(".", "-")
            assert finding.install == f"pip install 'rhapsode[{extra}]'"


def test_looking_for_our_engines_imports_none_of_their_libraries() -> None:
    code = (
        "import sys; from rhapsode.engines.registry import survey; survey(); "
        "assert not {'torch', 'whisper', 'onnxruntime', 'onnx_asr', 'ctranslate2', "
        "'_pywhispercpp', 'moonshine_voice', 'faster_whisper'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


DEADLY = {
    "crasher": ("import ctypes; ctypes.string_at(0)", "its import ends the process: SIGSEGV"),
    "quitter": ("import os; os._exit(3)", "its import ends the process: exit code 3"),
    "needy": (
        "import no_such_library.part",
        "it cannot be imported: ModuleNotFoundError: No module named 'no_such_library'",
    ),
    "hollow": ("", "it cannot be imported: AttributeError: module 'hollow_module' has no"),
}


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of other packages, each with a fault of its own, among one that works."""
    for name, (code, _) in DEADLY.items():
        engines.install_code(tmp_path, name, code)
    engines.install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    checkout = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{checkout}")


@pytest.mark.usefixtures("deadly")
def test_faults_of_other_packages_are_told_and_harm_nobody() -> None:
    found = {finding.name: finding for finding in registry.survey()}
    for name, (_, reason) in DEADLY.items():
        assert not found[name].available
        assert found[name].package == f"{name}-engine"
        assert found[name].detail.startswith(reason)
    assert found["needy"].install == "pip install no_such_library"
    assert (found["puppet"].available, found["puppet"].detail) == (True, "1.0")


@pytest.mark.usefixtures("deadly")
def test_a_careful_look_leaves_deadly_engines_out() -> None:
    names = list(registry.discover(careful=True))
    assert "puppet" in names
    assert not set(DEADLY) & set(names)


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
