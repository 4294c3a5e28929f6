"""Uploads to a real server, killed at either end: what arrives is what was sent."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rhapsode.client import Client, Notes
from rhapsode.storage.objects import StoreConfig, open_store
from tests.support.recordings import noise_sound, write_wav
from tests.support.server import Server, running_server, settings_for

PROGRAM = Path(__file__).parent / "tus_program.py"


@pytest.fixture
def server(store_config: StoreConfig, tmp_path: Path) -> Iterator[Server]:
    settings = settings_for(
        tmp_path,
        store=store_config,
        queue={"sweep_seconds": 0.5, "abandoned_upload_seconds": 4},
    )
    with running_server(settings, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some minutes of noise: 38 MB of which no two parts are the same."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    return write_wav(path, (noise_sound(60, seed=minute) for minute in range(20)))


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def media_of(server: Server, key: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
        answer = await client.get(f"{server.url}/api/media")
    found: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
    return found


async def until_clean(store: StoreConfig) -> list[str]:
    """The objects, once no part of an upload and no half media is among them."""
    opened = open_store(store)
    async with asyncio.timeout(30):
        while await opened.keys("uploads") or len(await opened.keys("media")) > 1:
            await asyncio.sleep(0.1)
    return await opened.keys("media")


def tuspy(server: Server, key: str, file: Path, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, PROGRAM, server.url, key, file, folder / "notes.json"],
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_at(process: "subprocess.Popen[str]", offset: int) -> int:
    """Kill the program once the server has so many bytes; how many it knows of."""
    at = 0
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            at = int(line.split()[1])
            if at >= offset:
                break
        process.kill()
    return at


@pytest.mark.timeout(180)
async def test_tuspy_killed_in_the_middle_and_run_again(
    server: Server, store_config: StoreConfig, recording: Path, tmp_path: Path
) -> None:
    key = await asyncio.to_thread(server.secret, "--api-key", "tests")
    at = 0
    for offset in (5_000_000, 20_000_000):
        program = tuspy(server, key, recording, tmp_path)
        at = await asyncio.to_thread(killed_at, program, offset)
    last = tuspy(server, key, recording, tmp_path)
    output, _ = await asyncio.to_thread(last.communicate)

    lines = output.splitlines()
    assert last.returncode == 0
    assert int(lines[0].split()[1]) >= at >= 20_000_000
    (media,) = await media_of(server, key)
    assert (lines[-1], media["name"]) == (f"media {media['id']}", "talk.wav")
    assert media["digest"] == digest_of(recording)
    assert await until_clean(store_config) == [f"media/{media['id']}"]


@pytest.mark.timeout(180)
async def test_tuspy_goes_on_when_the_server_was_killed(
    server: Server, store_config: StoreConfig, recording: Path, tmp_path: Path
) -> None:
    key = await asyncio.to_thread(server.secret, "--api-key", "tests")
    program = tuspy(server, key, recording, tmp_path)
    assert program.stdout is not None
    for line in program.stdout:
        if int(line.split()[1]) >= 10_000_000:
            break
    server.kill()
    await asyncio.to_thread(server.start)
    output, _ = await asyncio.to_thread(program.communicate)

    (media,) = await media_of(server, key)
    assert output.splitlines()[-1] == f"media {media['id']}"
    assert media["digest"] == digest_of(recording)
    assert await until_clean(store_config) == [f"media/{media['id']}"]


@pytest.mark.timeout(180)
async def test_our_client_while_the_server_is_killed_again_and_again(
    server: Server, store_config: StoreConfig, recording: Path, tmp_path: Path
) -> None:
    """Also while it puts the recording together, or just answered."""
    key = await asyncio.to_thread(server.secret, "--api-key", "tests")
    size = recording.stat().st_size
    marks = [0, size // 2, size]
    reached, progress = asyncio.Event(), list[int]()

    def report(done: int) -> None:
        progress.append(done)
        if marks and done >= marks[0]:
            reached.set()

    async with Client(server.url, key) as client:
        sending = asyncio.create_task(client.upload(recording, report=report))
        while marks:
            await asyncio.wait_for(reached.wait(), 60)
            server.kill()
            del marks[0]
            reached.clear()
            await asyncio.to_thread(server.start)
        media = await sending

    assert (media.digest, media.size) == (digest_of(recording), size)
    assert [item["id"] for item in await media_of(server, key)] == [str(media.id)]
    assert await until_clean(store_config) == [f"media/{media.id}"]


@pytest.mark.timeout(180)
async def test_a_stop_in_the_middle_keeps_what_came_and_is_quick(
    server: Server, recording: Path, tmp_path: Path
) -> None:
    key = await asyncio.to_thread(server.secret, "--api-key", "tests")
    notes, reached = Notes(tmp_path / "notes"), asyncio.Event()

    def report(done: int) -> None:
        if done > 10_000_000:
            reached.set()

    async with Client(server.url, key) as client:
        sending = asyncio.create_task(client.upload(recording, report=report, notes=notes))
        await asyncio.wait_for(reached.wait(), 60)
        async with asyncio.timeout(20):
            code = await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        media = await sending

    assert (code, media.digest) == (0, digest_of(recording))


@pytest.mark.timeout(180)
async def test_submit_killed_in_the_middle_and_run_again(
    server: Server, recording: Path, tmp_path: Path
) -> None:
    key = await asyncio.to_thread(server.secret, "--api-key", "tests")
    file = tmp_path / "talk.wav"
    os.link(recording, file)
    command = [sys.executable, "-m", "rhapsode", "submit", "--no-wait", str(file)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RHAPSODE_SERVER": server.url,
        "RHAPSODE_API_KEY": key,
    }

    first = subprocess.Popen(command, env=environment)
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
        await asyncio.wait_for(_received(client, server, tmp_path, 4_000_000), 60)
        first.kill()
        first.wait()
        again = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True
        )
        jobs = (await client.get(f"{server.url}/api/jobs")).json()["items"]

    (media,) = await media_of(server, key)
    assert (again.returncode, again.stdout.split()) == (0, [job["id"] for job in jobs])
    assert (media["digest"], [job["media_id"] for job in jobs]) == (
        digest_of(recording),
        [media["id"]],
    )
    assert list((tmp_path / ".local/state/rhapsode/uploads").iterdir()) == []


async def _received(
    client: httpx.AsyncClient, server: Server, home: Path, least: int
) -> dict[str, Any]:
    """The upload that the command noted, once so much of it has arrived."""
    folder = home / ".local/state/rhapsode/uploads"
    while True:
        for note in [Notes(folder).recall(path.stem) for path in folder.glob("*.json")]:
            answer = await client.get(f"{server.url}/api/uploads/{note}")
            found: dict[str, Any] = answer.json()
            if answer.is_success and found["received"] >= least:
                return found
        await asyncio.sleep(0.01)
