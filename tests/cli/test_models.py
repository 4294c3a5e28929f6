import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rhapsode.catalogue.entries import MODELS, SAMPLES
from rhapsode.cli import models as command
from rhapsode.domain.jobs import DEFAULT_ENGINE
from tests.support import speech


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of an air-gapped machine whose folder holds what the tests' cache holds."""
    speech.sample("two-speakers")
    speech.model_path("tiny.en")
    monkeypatch.setenv("RHAPSODE_MODELS__FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("RHAPSODE_MODELS__MIRROR_FOLDER", str(speech.models_folder()))
    monkeypatch.setenv("RHAPSODE_MODELS__HUB", "false")
    monkeypatch.setenv("RHAPSODE_MODELS__REGISTRY", "false")


def _rhapsode(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, list(arguments))


def test_the_list_shows_everything_there_is() -> None:
    rows = json.loads(_rhapsode("list", "--json").stdout)
    names = [row["name"] for row in rows]
    models = [m.name if m.engine == DEFAULT_ENGINE else m.folder for m in MODELS]
    assert names[: len(models)] == models
    assert names[-len(SAMPLES) :] == [sample.folder for sample in SAMPLES]
    assert {row["presence"] for row in rows} == {"absent"}
    table = _rhapsode("list").stdout
    assert "large-v3-turbo" in table
    assert "148 MB" in table


def test_pull_list_verify_remove(tmp_path: Path) -> None:
    pulled = _rhapsode("pull", "tiny.en", "samples/two-speakers")
    assert pulled.exit_code == 0
    folder = tmp_path / "models" / "faster-whisper" / "tiny.en"
    assert f"tiny.en: {folder}" in pulled.stdout
    rows = json.loads(_rhapsode("list", "--json").stdout)
    assert [row["name"] for row in rows if row["presence"] == "installed"] == [
        "tiny.en",
        "samples/two-speakers",
    ]
    assert _rhapsode("verify", "tiny.en").stdout == "tiny.en: verified\n"
    assert _rhapsode("remove", "tiny.en").stdout == "tiny.en: 78 MB freed\n"
    assert not folder.exists()


def test_damage_is_told(tmp_path: Path) -> None:
    _rhapsode("pull", "samples/two-speakers")
    rttm = tmp_path / "models" / "samples" / "two-speakers" / "sample.rttm"
    rttm.write_text("SPEAKER nobody")
    result = _rhapsode("verify", "samples/two-speakers")
    assert result.exit_code == 1
    assert "samples/two-speakers is damaged: sample.rttm." in result.stderr


def test_an_unknown_model_does_not_stop_the_others() -> None:
    result = _rhapsode("pull", "--json", "enormous", "samples/two-speakers")
    assert result.exit_code == 3
    unknown, pulled = json.loads(result.stdout)
    assert unknown["error"]["code"] == "unknown_model"
    assert pulled["path"].endswith("samples/two-speakers")


def test_a_model_that_no_source_has() -> None:
    result = _rhapsode("pull", "large-v3")
    assert result.exit_code == 5
    assert "'large-v3' could not be fetched (folder: " in result.stderr


def test_without_a_name_it_is_wrong_usage() -> None:
    assert _rhapsode("pull").exit_code == 2
