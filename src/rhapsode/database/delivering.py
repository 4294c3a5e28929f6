"""The queries on jobs that are being delivered. Their row is locked before their deliveries."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.jobs import job_from_row
from rhapsode.database.tables import jobs
from rhapsode.domain.deliveries import Ending
from rhapsode.domain.jobs import TRANSITIONS, Change, Job, JobId


async def lock(connection: AsyncConnection, job_id: JobId) -> Job | None:
    """A job that nobody else changes until the transaction ends; None if it is gone.

    On SQLite, a write transaction is alone anyhow.
    """
    query = select(jobs).where(jobs.c.id == job_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else job_from_row(row)


async def end(
    connection: AsyncConnection, job_id: JobId, ending: Ending, now: datetime
) -> Job | None:
    """End a job that is being delivered; None if it is not."""
    error = ending.error
    statement = (
        jobs.update()
        .where(jobs.c.id == job_id, jobs.c.state == "delivering")
        .values(
            state=TRANSITIONS[ending.change].target,
            finished_at=now,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
        )
        .returning(jobs)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else job_from_row(row)


async def deliver_again(connection: AsyncConnection, job_id: JobId) -> Job | None:
    """Take an ended job up again for delivering only; None if it has not ended."""
    transition = TRANSITIONS[Change.REDELIVER]
    statement = (
        jobs.update()
        .where(jobs.c.id == job_id, jobs.c.state.in_(sorted(transition.sources)))
        .values(state=transition.target, finished_at=None, error_code=None, error_message=None)
        .returning(jobs)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else job_from_row(row)


async def set_outputs(
    connection: AsyncConnection, job_id: JobId, outputs: dict[str, str]
) -> None:
    """Where a job's artifacts go from now on."""
    await connection.execute(jobs.update().where(jobs.c.id == job_id).values(outputs=outputs))
