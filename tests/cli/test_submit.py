"""`rhapsode submit`: data to standard output, the rest to standard error."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rhapsode.cli.app import app
from tests.cli.pretend import DOCUMENT, TEXT, Server, connected, is_uuid


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return connected(Server(), monkeypatch)


def recording(folder: Path, name: str) -> str:
    path = folder / name
    path.write_bytes(b"sound")
    return str(path)


def submit(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["submit", *arguments])


def test_the_transcript_is_all_there_is_on_standard_output(
    server: Server, tmp_path: Path
) -> None:
    result = submit(recording(tmp_path, "talk.mp3"))
    assert (result.exit_code, result.stdout) == (0, TEXT["txt"])
    assert "talk.mp3" in result.stderr


def test_only_what_is_given_is_in_the_spec(server: Server, tmp_path: Path) -> None:
    file = recording(tmp_path, "talk.mp3")
    submit(file)
    submit(file, "--model", "tiny.en", "--language", "en", "--priority", "2", "--prompt", "Ah")
    submit(file, "--layout", "segmentation", "--engine", "other")
    assert server.specs == [
        {},
        {"model": "tiny.en", "language": "en", "priority": 2, "prompt": "Ah"},
        {"layout": "segmentation", "engine": "other"},
    ]


def test_without_waiting_the_job_ids_are_printed(server: Server, tmp_path: Path) -> None:
    files = [recording(tmp_path, name) for name in ("a.mp3", "fail.mp3")]
    result = submit("--no-wait", *files)
    assert result.exit_code == 0
    assert result.stdout.split() == list(server.jobs)
    assert all(is_uuid(line) for line in result.stdout.split())


def test_transcripts_are_saved_beside_each_other(server: Server, tmp_path: Path) -> None:
    files = [recording(tmp_path, name) for name in ("a.mp3", "a.wav", "b.mp3")]
    folder = tmp_path / "out"
    result = submit(*files, "--output", str(folder), "-f", "txt", "-f", "srt")
    names = ["a.mp3.srt", "a.mp3.txt", "a.wav.srt", "a.wav.txt", "b.srt", "b.txt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(Path(line).name for line in result.stdout.split()) == names
    assert (folder / "b.srt").read_text() == TEXT["srt"]


def test_a_recording_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    file = recording(tmp_path, "talk.txt")
    result = submit(file, "--output", str(tmp_path))
    assert (result.exit_code, server.media) == (1, {})
    assert Path(file).read_bytes() == b"sound"


def test_recordings_of_one_name_are_numbered(server: Server, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    files = [recording(tmp_path / name, "rec.wav") for name in ("x", "y")]
    submit(*files, "--output", str(tmp_path / "out"))
    saved = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert saved == ["rec-2.txt", "rec.txt"]


def test_several_formats_need_a_folder(server: Server, tmp_path: Path) -> None:
    result = submit(recording(tmp_path, "a.mp3"), "-f", "txt", "-f", "srt")
    assert (result.exit_code, server.jobs) == (2, {})


def test_a_failure_does_not_stop_the_others(server: Server, tmp_path: Path) -> None:
    names = ("bad.txt", "fail.mp3", "good.mp3")
    files = [recording(tmp_path, name) for name in names]
    result = submit(*files, str(tmp_path / "missing.mp3"))
    assert (result.exit_code, result.stdout) == (1, TEXT["txt"])
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    failed = next(id_ for id_, job in server.jobs.items() if job["state"] == "failed")
    assert errors == [
        f"error: {files[0]}: This is not a recording.",
        f"error: {files[1]}: The engine crashed. hint: The job is {failed}.",
        f"error: {tmp_path}/missing.mp3: The file does not exist.",
    ]


def test_json_says_what_became_of_every_file(server: Server, tmp_path: Path) -> None:
    files = [recording(tmp_path, name) for name in ("good.mp3", "bad.txt")]
    result = submit("--json", *files)
    good, bad = json.loads(result.stdout)
    assert (good["file"], good["transcript"], good["error"]) == (files[0], DOCUMENT, None)
    assert good["job"]["state"] == "finished"
    assert (bad["job"], bad["error"]["code"]) == (None, "media_unreadable")


def test_ctrl_c_leaves_the_jobs_running_and_names_them(server: Server, tmp_path: Path) -> None:
    server.interrupted = True
    result = submit(recording(tmp_path, "talk.mp3"))
    (job_id,) = server.jobs
    assert (result.exit_code, result.stdout) == (130, "")
    assert f"Still running on the server: {job_id}" in result.stderr
