"""Bad input gets a clear answer, loses nothing, and leaves server and runner as they were."""

import asyncio
import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from rhapsode.storage.objects import StoreConfig
from tests.acceptance import damage
from tests.acceptance.books import Books, books
from tests.acceptance.clips import SPEC, clip
from tests.acceptance.conftest import Installation, install, small_disk
from tests.acceptance.fleet import Fleet, engines_of, fleet_settings
from tests.acceptance.program import Document, Program, program
from tests.support import recordings
from tests.support.recordings import RATE
from tests.support.speech import plain, sample

Make = Callable[[Path], object]


async def upload(driver: Program, path: Path, name: str | None = None) -> httpx.Response:
    return await driver.client.post(
        f"{driver.urls[0]}/api/media",
        params={"name": name or path.name},
        content=path.read_bytes(),
    )


async def transcribed(driver: Program, path: Path, seconds: float = 60) -> Document:
    """The ended job of a file that is accepted."""
    job = await driver.submit(path, SPEC)
    return await driver.ended(job["id"], seconds)


def ensure_problem(answer: httpx.Response, status: int, code: str) -> Document:
    """A problem document with a sentence in it that a person can read."""
    problem: Document = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].endswith(".")
    assert " " in problem["detail"]
    assert "Traceback" not in answer.text
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


async def _books(installation: Installation) -> Books:
    settings = installation.settings
    return await books(settings, StoreConfig(url=settings.storage_url))


async def store_is_whole(installation: Installation) -> None:
    """Every object has its media and every media its object."""
    found = await books(
        installation.settings, StoreConfig(url=installation.settings.storage_url)
    )
    assert (found.settled(), found.orphans(), found.lost()) == (True, set(), [])


_REFUSED: dict[str, tuple[Make, str]] = {
    "empty.wav": (recordings.empty, "media_empty"),
    "text.wav": (recordings.text, "media_unreadable"),
    "zeros.mp3": (lambda path: path.write_bytes(bytes(5000)), "media_unreadable"),
    "page.mp3": (lambda path: path.write_text("<!doctype html><p>No"), "media_unreadable"),
    "no-index.mp4": (
        partial(recordings.mp4_truncated, sound=damage.speech()),
        "media_truncated",
    ),
    "silent-film.mp4": (recordings.video_without_sound, "media_without_audio"),
}


@pytest.mark.parametrize("name", _REFUSED)
async def test_file_that_is_no_recording_is_refused(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    make, code = _REFUSED[name]
    make(tmp_path / name)
    async with program(installation.key, installation.server.url) as driver:
        ensure_problem(await upload(driver, tmp_path / name), 422, code)
        assert name not in [
            m["name"] for m in (await driver.json("GET", "/api/media"))["items"]
        ]
    await store_is_whole(installation)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("list.m3u8", recordings.playlist),
        ("list.wav", recordings.playlist),
        ("list.ffconcat", recordings.concat_list),
        ("list.mp4", recordings.concat_list),
        ("list.sdp", damage.session_description),
    ],
)
async def test_playlist_is_not_followed(
    installation: Installation,
    tmp_path: Path,
    name: str,
    make: Callable[[Path, str], Path],
) -> None:
    make(tmp_path / name, str(sample("jfk")))
    async with program(installation.key, installation.server.url) as driver:
        ensure_problem(await upload(driver, tmp_path / name), 422, "media_unreadable")


_WITHOUT_WORDS: dict[str, Make] = {
    "silence.wav": recordings.silence,
    "noise.wav": recordings.noise,
    "tone.wav": recordings.tone,
    "moment.wav": partial(recordings.tone, seconds=0.1),
    "sample.wav": lambda path: recordings.write_wav(path, [recordings.noise_sound(1 / RATE)]),
}


@pytest.mark.parametrize("name", _WITHOUT_WORDS)
async def test_nothing_is_invented_where_nothing_is_said(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    _WITHOUT_WORDS[name](tmp_path / name)
    async with program(installation.key, installation.server.url) as driver:
        media = await driver.upload(tmp_path / name)
        body = {"input": {"media_id": media["id"]}, "spec": {"model": "tiny.en"}}
        job = await driver.json("POST", "/api/jobs", json=body)
        job = await driver.ended(job["id"])
        transcript = await driver.json("GET", f"/api/jobs/{job['id']}/transcript")
        assert (job["state"], job["error"], job["language"]) == ("finished", None, None)
        assert (transcript["segments"], transcript["language"]) == ([], None)
        assert (await driver.text(job["id"])).strip() == ""


_WITH_WORDS: dict[str, Make] = {
    "eight.wav": lambda path: recordings.eight_channels(path, damage.speech(8.0, 11.0)),
    "pixel.mkv": damage.one_pixel_video,
    "film.mp4": lambda path: recordings.video_with_sound(path, damage.speech(5.2, 11.0)),
}


@pytest.mark.parametrize("name", _WITH_WORDS)
async def test_odd_shapes_are_heard(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    _WITH_WORDS[name](tmp_path / name)
    async with program(installation.key, installation.server.url) as driver:
        job = await transcribed(driver, tmp_path / name)
        assert (job["state"], job["warnings"]) == ("finished", [])
        assert "you can do for your country" in plain(await driver.text(job["id"]))


_DAMAGED: dict[str, tuple[Make, str]] = {
    "cut.mp4": (damage.mp4_cut, "may have been cut off"),
    "false.wav": (
        partial(
            recordings.wav_with_false_length, sound=damage.speech(), promised_seconds=43_200
        ),
        "may have been cut off",
    ),
    "broken.mp3": (
        partial(damage.broken_in_the_middle, codec="libmp3lame", container="mp3"),
        "damaged",
    ),
    "broken.flac": (
        partial(damage.broken_in_the_middle, codec="flac", container="flac"),
        "or damaged sound; they count as silence",
    ),
}


@pytest.mark.parametrize("name", _DAMAGED)
async def test_what_is_left_of_a_damaged_file_is_heard(
    installation: Installation, tmp_path: Path, name: str
) -> None:
    make, warning = _DAMAGED[name]
    make(tmp_path / name)
    async with program(installation.key, installation.server.url) as driver:
        job = await transcribed(driver, tmp_path / name)
        assert job["state"] == "finished", job
        assert any(warning in told for told in job["warnings"]), job["warnings"]
        assert "fellow americans" in plain(await driver.text(job["id"]))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_twelve_hours_need_no_more_memory(
    installation: Installation, tmp_path: Path
) -> None:
    long = damage.hours_of_silence(tmp_path / "long.flac", 12)
    short = damage.hours_of_silence(tmp_path / "short.flac", 0.1)
    async with program(installation.key, installation.server.url) as driver:
        assert (await transcribed(driver, short))["state"] == "finished"
        assert installation.server.process is not None
        (engine,) = engines_of(installation.server.process)
        before = peak_memory(engine.pid)
        job = await transcribed(driver, long, 500)
        assert (job["state"], round(job["duration"])) == ("finished", 43_200)
        assert (await driver.text(job["id"])).strip() == ""
        assert peak_memory(engine.pid) < 1.1 * before


def peak_memory(pid: int) -> int:
    """The most bytes that a process has held, as the system counts them."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no peak for {pid}")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../../etc/passwd.wav", "passwd.wav"),
        ("..\\..\\boot.wav", "boot.wav"),
        ("🎙️ Besprechung «Ärzte».wav", "🎙️ Besprechung «Ärzte».wav"),
        ('say "hello"; rm -rf %2F.wav', 'say "hello"; rm -rf %2F.wav'),
        ("line\r\nSet-Cookie: a=b.wav", "lineSet-Cookie: a=b.wav"),
        ("..", "recording"),
        ("a" * 300 + ".wav", "a" * 196 + ".wav"),
    ],
)
async def test_file_name_is_only_a_name(
    installation: Installation, tmp_path: Path, given: str, kept: str
) -> None:
    spoken = clip(tmp_path, 900)
    async with program(installation.key, installation.server.url) as driver:
        media = (await upload(driver, spoken.path, given)).json()
        assert media["name"] == kept
        path = f"/api/media/{media['id']}/content"
        answer = await driver.request("GET", path, params={"download": "1"})
        assert answer.content == spoken.path.read_bytes()
        assert answer.headers["content-disposition"].endswith(
            f"; filename*=UTF-8''{quote(kept, safe='')}"
        )
        assert "set-cookie" not in answer.headers
    await store_is_whole(installation)


async def test_file_name_in_a_form(installation: Installation, tmp_path: Path) -> None:
    spoken = clip(tmp_path, 901)
    name = '🎙️ "quoted" ../talk.wav'
    async with program(installation.key, installation.server.url) as driver:
        form = {"file": (name, spoken.path.read_bytes())}
        media = await driver.json("POST", "/api/media", files=form)
        assert media["name"] == "talk.wav"


@pytest.mark.parametrize("framing", ["length", "chunks", "form"])
async def test_upload_that_breaks_off_leaves_nothing(
    installation: Installation, framing: str
) -> None:
    before = len((await _books(installation)).media)
    await asyncio.to_thread(_half_upload, installation, framing)
    async with asyncio.timeout(10):
        while True:
            found = await _books(installation)
            if found.settled():
                break
            await asyncio.sleep(0.1)
    assert len(found.media) == before
    await store_is_whole(installation)


def _half_upload(installation: Installation, framing: str) -> None:
    """Send thirty megabytes of a promised hundred, more than fits on the way, and hang up."""
    body = b"RIFF" + b"\1" * 30_000_000
    headers = {"Authorization": f"Bearer {installation.key}", "Host": "x"}
    if framing == "chunks":
        headers["Transfer-Encoding"] = "chunked"
        body = b"%x\r\n%b\r\n" % (len(body), body)
    else:
        headers["Content-Length"] = "100000000"
    if framing == "form":
        headers["Content-Type"] = "multipart/form-data; boundary=edge"
        start = b'--edge\r\nContent-Disposition: form-data; name="f"; filename="a.wav"\r\n\r\n'
        body = start + body
    lines = [
        "POST /api/media?name=half.wav HTTP/1.1",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    with socket.create_connection(("127.0.0.1", installation.server.port)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


@pytest.mark.parametrize(
    ("spec", "code", "helps"),
    [
        ({"model": "bsae"}, "unknown_model", "Did you mean 'base'?"),
        ({"engine": "slow-whisper"}, "unknown_engine", "faster-whisper"),
        ({"model": "tiny.en", "language": "de"}, "unsupported_language", "'base'"),
        ({"model": "base", "language": "xx"}, "unsupported_language", "It knows: af, am"),
    ],
)
async def test_wish_that_nothing_fulfils(
    installation: Installation, tmp_path: Path, spec: Document, code: str, helps: str
) -> None:
    async with program(installation.key, installation.server.url) as driver:
        media = await driver.upload(clip(tmp_path, 902).path)
        body = {"input": {"media_id": media["id"]}, "spec": spec}
        answer = await driver.request("POST", "/api/jobs", json=body)
        assert helps in ensure_problem(answer, 422, code)["hint"]


@pytest.mark.parametrize(
    "secret", [b"Bearer rhk_wrong", b"Bearer \xff", b"Bearer", b"Basic eA=="]
)
async def test_wrong_key(installation: Installation, secret: bytes) -> None:
    headers = {b"authorization": secret}
    url = installation.server.url
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        for path in ("/api/jobs", "/api/media", "/api/me", "/api/runners", "/metrics"):
            ensure_problem(await client.get(path), 401, "unauthenticated")
        ensure_problem(
            await client.post("/api/media", content=b"x" * 100), 401, "unauthenticated"
        )


def test_wrong_runner_token(installation: Installation, tmp_path: Path) -> None:
    runner = installation.fleet.runner("stranger", installation.server.url, "rhr_wrong")
    installation.fleet.runners.remove(runner)
    assert runner.process is not None
    assert runner.process.wait(30) == 4
    told = runner.log.read_text()
    assert told.startswith("error: The runner token is not valid.")
    assert "`rhapsode token create --runner NAME`" in told
    assert told.count("\n") == 1


async def test_all_that_left_server_and_runner_as_they_were(
    installation: Installation, tmp_path: Path
) -> None:
    """The last one of this module that uses the shared installation."""
    process = installation.server.process
    assert process is not None
    assert process.poll() is None
    async with program(installation.key, installation.server.url) as driver:
        spoken = clip(tmp_path, 903)
        job = await transcribed(driver, spoken.path)
        assert plain(await driver.text(job["id"])) == spoken.text
    assert _complaints(installation.server.log) == []
    assert len(engines_of(process)) == 1
    assert psutil.Process(process.pid).num_fds() < 100
    await store_is_whole(installation)


def _complaints(log: Path) -> list[dict[str, Any]]:
    """What the server and its runner logged as errors."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    return [entry for line in lines if (entry := json.loads(line))["level"] == "error"]


# A full disk


async def test_server_with_a_full_disk(fleet: Fleet, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        settings = fleet_settings(tmp_path, runner={"enabled": False})
        settings = settings.model_copy(update={"data": disk})
        installation = await asyncio.to_thread(install, fleet, settings)
        large = recordings.write_wav(tmp_path / "large.wav", [damage.speech()] * 150)
        async with program(installation.key, installation.server.url) as driver:
            ensure_problem(await upload(driver, large), 507, "storage_full")
            ensure_problem(await _streamed(driver, large), 507, "storage_full")
            await store_is_whole(installation)
            assert list((disk / "objects").rglob("*.*#*")) == []
            media = await driver.upload(clip(tmp_path, 1).path)
            assert media["state"] == "ready"
        await asyncio.to_thread(fleet.stop)


async def _streamed(driver: Program, path: Path) -> httpx.Response:
    """An upload whose size nobody knows beforehand."""

    async def blocks() -> Any:
        with path.open("rb") as file:
            while block := file.read(1_000_000):
                yield block

    return await driver.client.post(
        f"{driver.urls[0]}/api/media", params={"name": path.name}, content=blocks()
    )


async def test_runner_with_a_full_disk(fleet: Fleet, tmp_path: Path) -> None:
    settings = fleet_settings(tmp_path, runner={"enabled": False})
    installation = await asyncio.to_thread(install, fleet, settings)
    url = installation.server.url
    token = await asyncio.to_thread(installation.runner_token, "small")
    large = recordings.write_wav(tmp_path / "large.wav", [damage.speech()] * 60)
    with small_disk(tmp_path / "disk", 24) as disk:
        fleet.runner("small", url, token, "--scratch-dir", str(disk))
        async with program(installation.key, url) as driver:
            job = await transcribed(driver, large)
            assert (job["state"], job["attempt"]) == ("failed", job["max_attempts"])
            assert job["error"]["code"] == "runner_storage_full"
            assert job["error"]["message"].startswith("The runner's disk has no room for this")
            spoken = clip(tmp_path, 2)
            job = await transcribed(driver, spoken.path)
            assert plain(await driver.text(job["id"])) == spoken.text
        await asyncio.to_thread(fleet.stop)
