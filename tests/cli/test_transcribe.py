import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from rhapsode.cli.group import Group
from rhapsode.cli.transcribe import transcribe
from tests.support import recordings, speech

app = typer.Typer(cls=Group)
app.command()(transcribe)
app.command("other")(lambda: None)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    speech.model_path("tiny.en")
    monkeypatch.setenv("RHAPSODE_MODELS__FOLDER", str(speech.models_folder()))


def _transcribe(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["transcribe", "--model", "tiny.en", *map(str, arguments)])


def test_text_goes_to_standard_output_alone() -> None:
    result = _transcribe(speech.sample("jfk"))
    assert result.exit_code == 0
    assert speech.plain(result.stdout) == speech.plain(speech.sample_text("jfk"))


def test_several_formats_go_into_a_folder(tmp_path: Path) -> None:
    result = _transcribe(speech.sample("jfk"), "-f", "srt", "-f", "json", "-o", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.split() == [str(tmp_path / "jfk.srt"), str(tmp_path / "jfk.json")]
    assert (tmp_path / "jfk.srt").read_text().startswith("1\n00:00:0")
    document = json.loads((tmp_path / "jfk.json").read_text())
    assert document["segments"][0]["words"]


def test_shaping_reaches_the_subtitles() -> None:
    result = _transcribe(speech.sample("jfk"), "-f", "vtt", "--words-per-cue", "3")
    assert result.stdout.count("-->") >= 7


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = recordings.text(tmp_path / "bad.wav")
    result = _transcribe(bad, tmp_path / "none.wav", speech.sample("jfk"))
    assert result.exit_code == 1
    assert f"{bad}: The file is no recording that can be read: it looks like text." in (
        result.stderr
    )
    assert "none.wav: The file does not exist." in result.stderr
    assert "fellow Americans" in result.stdout


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first = recordings.tone(tmp_path / "a.wav", 1.0)
    second = recordings.mp4(tmp_path / "a.m4a", recordings.tone_sound(1.0))
    _transcribe(first, second, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.m4a.txt",
        "a.wav.txt",
    ]


def test_json_holds_every_file(tmp_path: Path) -> None:
    bad = recordings.empty(tmp_path / "bad.wav")
    result = _transcribe("--json", bad, speech.sample("jfk"))
    failed, done = json.loads(result.stdout)
    refusal = {"code": "media_empty", "message": "The file is empty."}
    assert failed == {"file": str(bad), "error": refusal}
    assert done["transcript"]["language"] == "en"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--model", "enormous"], 3, "There is no model faster-whisper/enormous."),
        (["--engine", "slower"], 3, "There is no engine 'slower'."),
        (["--language", "de"], 1, "The model 'tiny.en' lacks 'de'."),
        (["--format", "doc"], 2, "Invalid value for '--format'"),
        (["-f", "srt", "-f", "vtt"], 2, "several formats need --output"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], code: int, says: str) -> None:
    result = _transcribe(speech.sample("jfk"), *arguments)
    assert result.exit_code == code
    assert says in " ".join(result.stderr.replace("│", " ").split())


def test_ctrl_c_ends_it_promptly(tmp_path: Path) -> None:
    sound, rate = recordings.read_wav(speech.sample("jfk"))
    path = recordings.write_wav(tmp_path / "long.wav", (sound for _ in range(60)), rate)
    code = (
        "import sys, typer; from rhapsode.cli.transcribe import transcribe; "
        "from rhapsode.engines import calls as f; run = f._Call.run; "
        "f._Call.run = lambda *a: (print('begun', flush=True), run(*a)); "
        "app = typer.Typer(); app.command()(transcribe); app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "--model", "tiny.en", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert time.monotonic() - before < 2.0
