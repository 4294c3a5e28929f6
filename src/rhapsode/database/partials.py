"""The queries on segments that are told of while a job runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import jobs
from rhapsode.database.tables import partial_segments as table
from rhapsode.domain.jobs import JobId
from rhapsode.domain.transcripts import Segment


@dataclass(frozen=True, slots=True)
class Partial:
    """A segment of one run, and how many of that run came before it."""

    attempt: int
    number: int
    segment: Segment


async def insert(
    connection: AsyncConnection,
    job_id: JobId,
    attempt: int,
    first: int,
    segments: Sequence[Segment],
) -> None:
    """Add segments; those that are there already stay as they are."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [
        {
            "job_id": job_id,
            "attempt": attempt,
            "number": number,
            "document": {"start": it.start, "end": it.end, "text": it.text},
        }
        for number, it in enumerate(segments, start=first)
    ]
    await connection.execute(dialect.insert(table).values(rows).on_conflict_do_nothing())


async def since(
    connection: AsyncConnection, job_id: JobId, attempt: int, number: int
) -> list[Partial]:
    """What was told of a job beyond this segment of this attempt, in order."""
    later = (table.c.attempt > attempt) | (
        (table.c.attempt == attempt) & (table.c.number >= number)
    )
    query = select(table).where(table.c.job_id == job_id, later)
    rows = await connection.execute(query.order_by(table.c.attempt, table.c.number))
    return [Partial(row.attempt, row.number, Segment(**row.document)) for row in rows]


async def forget(connection: AsyncConnection, since: datetime) -> None:
    """Remove those of jobs that ended before that: whoever followed has heard them."""
    over = select(jobs.c.id).where(jobs.c.id == table.c.job_id, jobs.c.finished_at < since)
    await connection.execute(table.delete().where(over.exists()))
