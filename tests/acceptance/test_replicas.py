"""Two servers over one database and one object store; either may be asked, one may die."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.books import books
from tests.acceptance.clips import SPEC, clip
from tests.acceptance.conftest import install
from tests.acceptance.fleet import QUICK_QUEUE, Fleet, fleet_settings
from tests.acceptance.program import Program, program
from tests.support.postgres import Postgres
from tests.support.s3 import S3
from tests.support.speech import plain

_COUNT = 20


@pytest.fixture
async def replicas(
    fleet: Fleet, postgres_server: Postgres, s3_server: S3, tmp_path: Path
) -> AsyncIterator[Program]:
    """Each with an external runner; what one hears the other can only know by NOTIFY."""
    url, store = postgres_server.create(), s3_server.create()
    queue = {**QUICK_QUEUE, "sweep_seconds": 5, "max_attempts": 10}
    settings = fleet_settings(
        tmp_path, database_url=url, store=store, queue=queue, runner={"enabled": False}
    )
    first = await asyncio.to_thread(install, fleet, settings)
    second = await asyncio.to_thread(fleet.server, settings, "second")
    for name, server in (("one", first.server), ("two", second)):
        token = await asyncio.to_thread(first.runner_token, name)
        fleet.runner(name, server.url, token, "--drain-seconds", "1")
    async with program(first.key, first.server.url, second.url) as driver:
        yield driver
        found = await books(settings, store)
        assert {job.state for job in found.jobs} == {"finished"}
        assert len(found.transcripts) == len(found.jobs) == len(found.media)
        assert (found.orphans(), found.lost()) == (set(), [])
    await asyncio.to_thread(fleet.stop)
    postgres_server.drop(url)


async def test_a_job_reaches_a_runner_at_the_other_replica(
    fleet: Fleet, replicas: Program, tmp_path: Path
) -> None:
    assert await asyncio.to_thread(fleet.runners[0].stop) == 0
    fleet.runners.pop(0)
    spoken = clip(tmp_path, 1)
    async with program(replicas.key, replicas.urls[0]) as first:
        job = await first.submit(spoken.path, SPEC)
        states = await asyncio.wait_for(_states(first, job["id"]), 30)
        assert states[-1] == "finished"
        job = await first.json("GET", f"/api/jobs/{job['id']}")
        assert job["runner_name"] == "two"
        assert plain(await first.text(job["id"])) == spoken.text


async def _states(driver: Program, job_id: str) -> list[str]:
    """The states that the events of a job tell of, up to their end."""
    url = f"{driver.urls[0]}/api/jobs/{job_id}/events"
    async with driver.client.stream("GET", url) as stream:
        lines = [line async for line in stream.aiter_lines()]
    news = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    return [json.loads(document)["state"] for document in news]


async def test_one_replica_dies(fleet: Fleet, replicas: Program, tmp_path: Path) -> None:
    clips = [clip(tmp_path, number) for number in range(_COUNT)]
    jobs = []
    for number, spoken in enumerate(clips):
        if number == _COUNT // 2:
            fleet.servers[0].kill()
        jobs.append(await replicas.submit(spoken.path, SPEC))
    for job, spoken in zip(jobs, clips, strict=True):
        ended = await replicas.ended(job["id"], 120)
        assert ended["state"] == "finished"
        assert plain(await replicas.text(job["id"])) == spoken.text
