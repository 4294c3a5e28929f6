"""Killed at any moment it recovers: every job is done once, nothing is lost or left over."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from rhapsode.settings import Settings
from rhapsode.storage.objects import StoreConfig
from tests.acceptance.books import Books, books, media_states
from tests.acceptance.chaos import Storm
from tests.acceptance.fleet import Fleet, fleet_in, fleet_settings, gone, scratch_files
from tests.acceptance.program import program
from tests.support.s3 import S3

_CALM = 0.8
"""The mean time between two kills, as a share of the time that the server takes to start."""


@pytest.fixture
def store(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> StoreConfig:
    """The store that goes with the database: SQLite with a folder, PostgreSQL with S3."""
    if database_url.startswith("sqlite"):
        return StoreConfig(url=str(tmp_path / "objects"))
    server: S3 = request.getfixturevalue("s3_server")
    return server.create()


async def _storm(folder: Path, url: str, store: StoreConfig, **storm: int) -> None:
    settings = fleet_settings(
        folder, database_url=url, store=store, queue={"max_attempts": 100}
    )
    with fleet_in(folder) as fleet:
        started = time.monotonic()
        server = fleet.server(settings)
        calm = _CALM * (time.monotonic() - started)
        key = await asyncio.to_thread(server.secret, "--api-key", "tests")
        for name in ("one", "two"):
            token = await asyncio.to_thread(server.secret, "--runner", name)
            fleet.runner(name, server.url, token)
        raging = Storm(fleet, folder, calm_seconds=calm, **storm)
        print(f"\nseed {raging.seed}, a kill every {calm:.1f} s")
        async with program(key, server.url) as driver:
            await raging.rage(driver)
            wrong = await raging.texts(driver)
        await _until_settled(settings)
        found = await books(settings, store)
        print(raging.report(url.partition(":")[0], driver, [job.attempt for job in found.jobs]))
        assert wrong == {}
        _ensure_whole(found, raging.count)
        await _ensure_clean_end(fleet, settings)


async def _until_settled(settings: Settings) -> None:
    async with asyncio.timeout(30):
        while await media_states(settings) != {"ready"}:
            await asyncio.sleep(0.3)


def _ensure_whole(found: Books, count: int) -> None:
    assert [job.name for job in found.jobs if job.state != "finished"] == []
    assert (len(found.jobs), len(found.transcripts), len(found.media)) == (count,) * 3
    assert len({job.name for job in found.jobs}) == count
    by_job = {job.id: job.attempt for job in found.jobs}
    assert {t.job_id: t.attempt for t in found.transcripts} == by_job
    assert found.lost() == []
    assert found.orphans() == set()


async def _ensure_clean_end(fleet: Fleet, settings: Settings) -> None:
    codes = await asyncio.to_thread(fleet.stop)
    assert codes == [0] * len(codes)
    await asyncio.to_thread(gone, fleet)
    folders = [settings.data / "runner", *(runner.scratch for runner in fleet.runners)]
    assert scratch_files(*folders) == []


@pytest.mark.timeout(300)
async def test_a_few_kills(database_url: str, store: StoreConfig, tmp_path: Path) -> None:
    await _storm(tmp_path, database_url, store, count=20, seed=7, most_kills=6)


@pytest.mark.chaos
@pytest.mark.timeout(900)  # a few minutes where nothing else runs
async def test_many_kills(database_url: str, store: StoreConfig, tmp_path: Path) -> None:
    seed = int(os.environ.get("RHAPSODE_TEST_SEED") or random.randrange(1_000_000))
    await _storm(tmp_path, database_url, store, count=200, seed=seed, most_kills=60)
