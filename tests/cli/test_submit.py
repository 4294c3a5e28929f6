"""`rhapsode submit`: data to standard output, the rest to standard error."""

import json
import os
import signal
from pathlib import Path

import httpx
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
    assert (result.exit_code, server.uploads.media) == (1, {})
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


def test_ctrl_c_in_an_upload_tells_that_it_can_go_on(server: Server, tmp_path: Path) -> None:
    def interrupt(request: httpx.Request) -> None:
        server.uploads.faults.append(interrupt)
        if request.method == "PATCH":
            os.kill(os.getpid(), signal.SIGINT)
            raise httpx.ReadError("the connection broke")

    server.uploads.faults.append(interrupt)
    file = recording(tmp_path, "talk.mp3")
    result = submit(file)
    server.uploads.faults.clear()
    told = f"Sent in part: {file}. The same command goes on where this stopped."
    assert (result.exit_code, result.stdout, server.jobs) == (130, "", {})
    assert told in result.stderr

    again = submit(file)
    assert (again.exit_code, again.stdout, len(server.uploads.uploads)) == (0, TEXT["txt"], 1)


def test_the_same_file_again_is_another_recording(server: Server, tmp_path: Path) -> None:
    file = recording(tmp_path, "talk.mp3")
    submit(file)
    submit(file)
    assert (len(server.uploads.media), len(server.jobs)) == (2, 2)


TALK = "https://archive.example.org/talks/talk.mp3?X-Amz-Signature=secret"


def test_a_url_is_not_uploaded(server: Server, tmp_path: Path) -> None:
    result = submit(TALK, "--output", str(tmp_path), "-f", "srt")
    assert (result.exit_code, server.uploads.media) == (0, {})
    assert server.asked == [{"input": {"url": TALK}}]
    assert (tmp_path / "talk.srt").read_text() == TEXT["srt"]


def test_what_is_wished_goes_along(server: Server) -> None:
    result = submit(
        *("s3://bucket/talk one.wav", "--keep-media", "--notify-email", "--no-wait"),
        *("--deliver", "vtt=https://example.org/a.vtt?x=1", "--deliver", "txt=https://e.org/b"),
        *("--media-days", "0", "--transcript-days", "2.5"),
    )
    assert result.exit_code == 0
    assert server.asked == [
        {
            "input": {"url": "s3://bucket/talk one.wav", "keep": True},
            "outputs": {"vtt": "https://example.org/a.vtt?x=1", "txt": "https://e.org/b"},
            "notify": {"email": True},
            "retention": {"media_days": 0.0, "transcript_days": 2.5},
        }
    ]


def test_a_file_takes_outputs_too_and_is_kept_anyway(server: Server, tmp_path: Path) -> None:
    file = recording(tmp_path, "talk.mp3")
    submit(file, "--keep-media", "--deliver", "vtt=https://example.org/a.vtt")
    (media_id,) = server.uploads.media
    assert server.asked == [
        {"input": {"media_id": media_id}, "outputs": {"vtt": "https://example.org/a.vtt"}}
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--deliver", "vtt"),
        ("--deliver", "vtt="),
        ("--deliver", "vtt=https://a.org/1", "--deliver", "vtt=https://a.org/2"),
        ("https://example.org/second.mp3", "--deliver", "vtt=https://a.org/1"),
        ("--media-days", "-1"),
    ],
)
def test_wishes_that_make_no_sense(server: Server, options: tuple[str, ...]) -> None:
    assert (submit(TALK, *options).exit_code, server.jobs) == (2, {})


def test_errors_and_json_name_a_url_without_its_secrets(server: Server) -> None:
    url = "https://me:pass@example.org/fail.mp3?X-Amz-Signature=secret"
    result = submit(url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["file"] == "https://example.org/fail.mp3"
    assert "https://example.org/fail.mp3: The engine crashed." in result.stderr
    assert "secret" not in result.output
