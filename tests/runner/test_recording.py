"""Recordings by URL in a runner whose server reports every call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty import TOKEN, FaultyServer
from tests.support.misbehaving import Misbehaving, drip, endless, file, misbehaving, status
from tests.support.runners import config, running

LOCAL = ("127.0.0.0/8",)


@pytest.fixture
async def web() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as server:
        yield server


def settings(faulty: FaultyServer, folder: Path) -> Any:
    return config(faulty.url, TOKEN, folder, allow_networks=LOCAL)


@pytest.mark.parametrize("declared", [True, False])
async def test_no_room_on_the_disk(
    faulty: FaultyServer,
    web: Misbehaving,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    declared: bool,
) -> None:
    monkeypatch.setattr("rhapsode.runner.recording.free_bytes", lambda _: 17_000_000)
    url = web.at("/a", file(bytes(10_000_000)) if declared else endless())
    async with running(settings(faulty, tmp_path)):
        failure = await faulty.final(await faulty.add_by_url(url))
    assert failure.body == {
        "code": "runner_storage_full",
        "message": "The runner's disk has no room for this recording "
        f"(in {tmp_path / 'scratch'}).",
        "permanent": False,
    }
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_progress_in_percent(
    faulty: FaultyServer, web: Misbehaving, tmp_path: Path, speech: bytes
) -> None:
    url = web.at("/a", drip(speech, 0.1, step=len(speech) // 20))
    async with running(settings(faulty, tmp_path)):
        job = await faulty.add_by_url(url)
        assert (await faulty.final(job)).kind == "result"
    told = [r.body["progress"] for r in faulty.reports if (r.job, r.kind) == (job, "heartbeat")]
    shares = [p["fraction"] for p in told if p and p["stage"] == "fetching media"]
    assert shares == sorted(shares)
    assert any(0.1 < share < 0.9 for share in shares)


async def test_an_expired_url_is_reported_as_such(
    faulty: FaultyServer, web: Misbehaving, tmp_path: Path
) -> None:
    url = web.at("/a", status(410))
    async with running(settings(faulty, tmp_path)):
        failure = await faulty.final(await faulty.add_by_url(url))
    assert (failure.kind, failure.body) == (
        "failure",
        {
            "code": "input_expired",
            "message": f"{url} does not work any more: it answers 410 Gone. "
            "Submit the job again with a fresh URL.",
            "permanent": True,
            "expired": True,
        },
    )


async def test_a_lost_lease_ends_a_fetch(
    faulty: FaultyServer, web: Misbehaving, tmp_path: Path, speech: bytes
) -> None:
    async with running(settings(faulty, tmp_path)):
        job = await faulty.add_by_url(web.at("/slow", drip(speech, 0.1)))
        async with asyncio.timeout(10):
            while not web.requests:
                await asyncio.sleep(0.02)
        faulty.lost.add(job)
        following = await faulty.add_by_url(web.at("/a", file(speech)))
        assert (await faulty.final(following)).kind == "result"
