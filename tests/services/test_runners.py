"""Runners that ask for jobs: without a token, or where jobs cannot be handed out."""

import asyncio
from typing import Any

import pytest

from rhapsode.domain.jobs import Job, JobState, Source
from rhapsode.domain.runners import Capabilities, EngineOffer, Runner
from rhapsode.services import jobs, leases, runners
from rhapsode.services.runners import NewToken
from tests.database import rows
from tests.support.server import App

OFFER = Capabilities(engines=(EngineOffer(engine="faster-whisper", models=("base",)),))


async def connected() -> bool:
    return True


async def registered(app: App) -> tuple[NewToken, Runner]:
    new = await runners.create_token(app.context, "other")
    known = await runners.register(
        app.context, new.secret, name="a", version="1", capabilities=OFFER
    )
    return new, await runners.authenticate(app.context, known.runner_id, new.secret)


async def test_a_revoked_runner_that_waits_gets_nothing(app: App) -> None:
    new, runner = await registered(app)
    waiting = asyncio.create_task(runners.claim(app.context, runner, 0.5, connected))
    await asyncio.sleep(0)
    await runners.delete_token(app.context, new.token.id)

    job = await rows.make_job(app.context.database, app.admin)

    assert await waiting is None
    assert (await jobs.get(app.context, app.admin, job.id)).state is JobState.QUEUED


async def closed(app: App, count: int = 1) -> list[Job]:
    """Jobs whose bucket nobody may read any more."""
    source = Source(url="s3://closed/talk.mp3")
    database = app.context.database
    return [
        await rows.make_job(database, app.admin, media_id=None, source=source)
        for _ in range(count)
    ]


async def test_jobs_that_cannot_be_handed_out_do_not_stop_the_queue(app: App) -> None:
    _, runner = await registered(app)
    broken = await closed(app, 5)
    good = await rows.make_job(app.context.database, app.admin)

    assignment = await runners.claim(app.context, runner, 0, connected)

    assert assignment is not None
    assert assignment.job_id == good.id
    for job in broken:
        found = await jobs.get(app.context, app.admin, job.id)
        assert (found.state, found.error and found.error.code) == (
            JobState.FAILED,
            "s3_input_off",
        )


async def test_one_that_is_called_off_as_it_is_turned_down_is_no_fault(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runner = await registered(app)
    (broken,) = await closed(app)
    good = await rows.make_job(app.context.database, app.admin)
    real = leases.failure

    async def too_late(*args: Any, **options: Any) -> None:
        await jobs.cancel(app.context, app.admin, broken.id)
        await real(*args, **options)

    monkeypatch.setattr(leases, "failure", too_late)
    assignment = await runners.claim(app.context, runner, 0, connected)

    assert assignment is not None
    assert assignment.job_id == good.id
    assert (await jobs.get(app.context, app.admin, broken.id)).state is JobState.CANCELED
