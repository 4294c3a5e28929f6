"""Segments that are told of while their job runs."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import Job, JobSpec
from rhapsode.domain.runners import Lease
from rhapsode.domain.transcripts import Segment
from rhapsode.services import jobs, leases, partials
from tests.database.rows import claim, make_job, make_runner
from tests.support.server import App

HEARD = [Segment(0.0, 1.0, "Sing to me"), Segment(1.0, 2.5, "of the man, Muse,")]


async def running(app: App, **spec: bool) -> tuple[Job, Lease]:
    job = await make_job(app.context.database, app.admin, spec=JobSpec(**spec))
    runner = await make_runner(app.context.database)
    claimed = await claim(app.context.database, runner.id)
    assert claimed is not None
    return job, Lease(runner.id, job.id, claimed.attempt)


async def gathered(app: App, job: Job) -> list[Segment | Job]:
    found: AsyncIterator[Segment | Job] = partials.follow(app.context, app.admin, job.id)
    return [item async for item in found]


async def test_who_follows_hears_each_segment_and_the_end(app: App) -> None:
    job, lease = await running(app, partials=True)
    following = asyncio.create_task(gathered(app, job))

    await partials.tell(app.context, lease, 0, HEARD[:1])
    await partials.tell(app.context, lease, 1, HEARD[1:])
    await partials.tell(app.context, lease, 1, HEARD[1:])  # its answer got lost
    canceled = await jobs.cancel(app.context, app.admin, job.id)

    assert await asyncio.wait_for(following, 10) == [*HEARD, canceled]


async def test_another_attempt_tells_only_what_is_new(app: App) -> None:
    job, first = await running(app, partials=True)
    await partials.tell(app.context, first, 0, HEARD[:1])
    await leases.give_back(app.context, first)
    runner = await make_runner(app.context.database)
    again = await claim(app.context.database, runner.id)
    assert again is not None
    await partials.tell(app.context, Lease(runner.id, job.id, again.attempt), 0, HEARD)
    await jobs.cancel(app.context, app.admin, job.id)

    assert (await gathered(app, job))[:-1] == HEARD


async def test_nothing_is_kept_for_who_did_not_ask(app: App) -> None:
    job, lease = await running(app)
    await partials.tell(app.context, lease, 0, HEARD)
    await jobs.cancel(app.context, app.admin, job.id)

    assert len(await gathered(app, job)) == 1


async def test_a_lost_lease_tells_nothing(app: App) -> None:
    job, lease = await running(app, partials=True)
    await jobs.cancel(app.context, app.admin, job.id)

    with pytest.raises(Conflict) as refusal:
        await partials.tell(app.context, lease, 0, HEARD)

    assert refusal.value.code == "lease_lost"
