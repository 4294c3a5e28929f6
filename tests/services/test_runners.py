"""Runners whose token is taken away while they wait."""

import asyncio

from rhapsode.domain.jobs import JobState
from rhapsode.domain.runners import Capabilities, EngineOffer
from rhapsode.services import jobs, runners
from tests.database import rows
from tests.support.server import App

OFFER = Capabilities(engines=(EngineOffer(engine="faster-whisper", models=("base",)),))


async def connected() -> bool:
    return True


async def test_a_revoked_runner_that_waits_gets_nothing(app: App) -> None:
    new = await runners.create_token(app.context, "other")
    known = await runners.register(
        app.context, new.secret, name="a", version="1", capabilities=OFFER
    )
    runner = await runners.authenticate(app.context, known.runner_id, new.secret)
    waiting = asyncio.create_task(runners.claim(app.context, runner, 0.5, connected))
    await asyncio.sleep(0)
    await runners.delete_token(app.context, new.token.id)

    job = await rows.make_job(app.context.database, app.admin)

    assert await waiting is None
    assert (await jobs.get(app.context, app.admin, job.id)).state is JobState.QUEUED
