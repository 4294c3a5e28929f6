"""Jobs with outputs, brought to the point from which they are delivered."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rhapsode.database import deliveries as table
from rhapsode.database import jobs as jobs_table
from rhapsode.domain.deliveries import Delivery
from rhapsode.domain.jobs import Job, JobId, JobState
from rhapsode.domain.runners import Lease
from rhapsode.domain.transcripts import Segment, Transcript
from rhapsode.domain.users import User
from rhapsode.services import leases
from rhapsode.services.context import Context, now
from rhapsode.settings import Settings
from tests.database import rows
from tests.support.server import settings_for

TRANSCRIPT = Transcript(
    language="en",
    duration=2.0,
    segments=(Segment(start=0.0, end=2.0, text="Sing, O goddess."),),
)
TEXT = b"Sing, O goddess.\n"

QUICK: dict[str, Any] = {"first_seconds": 0.05, "most_seconds": 0.2, "timeout_seconds": 1.0}
LOCAL: dict[str, Any] = {"allow_networks": ["127.0.0.0/8"]}


def delivering_settings(folder: Path, database_url: str | None, **sections: Any) -> Settings:
    """Settings of a server that reaches receivers on this machine, and tries again at once."""
    own = {
        "outbound": LOCAL,
        "deliveries": {**QUICK, **sections.pop("deliveries", {})},
        "queue": {"sweep_seconds": 0.3, **sections.pop("queue", {})},
    }
    return settings_for(folder, database_url=database_url, **own, **sections)


async def running(
    context: Context, user: User, outputs: Mapping[str, str], **changes: Any
) -> Lease:
    """A job that a runner has taken, and keeps for a minute."""
    await rows.make_job(context.database, user, outputs=outputs, **changes)
    runner = await rows.make_runner(context.database)
    async with context.database.write_once() as transaction:
        taken = await jobs_table.claim(
            transaction.connection,
            runner_id=runner.id,
            runner_name=runner.name,
            requirements=rows.ANY_MODEL,
            now=now(),
            lease_expires_at=now() + timedelta(minutes=1),
        )
    assert taken is not None
    return Lease(runner.id, taken[0].id, taken[0].attempt)


async def transcribed(
    context: Context, user: User, outputs: Mapping[str, str], **changes: Any
) -> JobId:
    """A job whose transcript has just been stored."""
    lease = await running(context, user, outputs, **changes)
    await leases.result(context, lease, TRANSCRIPT, ())
    return lease.job_id


async def ended(context: Context, job_id: JobId, seconds: float = 20) -> Job:
    """The job once it has reached its end."""
    return await job_until(
        context, job_id, lambda job: job.state is not JobState.DELIVERING, seconds
    )


async def job_until(
    context: Context, job_id: JobId, holds: Callable[[Job], bool], seconds: float = 20
) -> Job:
    async with asyncio.timeout(seconds):
        while not holds(job := await rows.find(context.database, job_id)):
            await asyncio.sleep(0.02)
    return job


async def sent(context: Context, job_id: JobId) -> dict[str, Delivery]:
    """The deliveries of a job by subject; later ones in place of earlier ones."""
    async with context.database.read() as connection:
        return {item.subject: item for item in await table.of_job(connection, job_id)}


async def sent_until(
    context: Context, job_id: JobId, subject: str, holds: Callable[[Delivery], bool]
) -> Delivery:
    async with asyncio.timeout(20):
        while not holds(found := (await sent(context, job_id))[subject]):
            await asyncio.sleep(0.02)
    return found
