"""Results: a lease that ends with success, and the transcript that comes of it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.jobs import ENDS_LEASE, job_from_row
from rhapsode.database.tables import jobs, transcripts
from rhapsode.domain.jobs import TRANSITIONS, Change, Job
from rhapsode.domain.runners import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to; `document` is the packed transcript."""

    language: str | None
    duration: float
    warnings: Collection[str]
    document: bytes


_FINISH = (
    jobs.update()
    .where(
        jobs.c.id == bindparam("the_job_id"),
        jobs.c.state == "running",
        jobs.c.attempt == bindparam("the_attempt"),
        jobs.c.runner_id == bindparam("the_runner_id"),
    )
    .values(
        **ENDS_LEASE,
        state=TRANSITIONS[Change.RESULT].target,
        finished_at=bindparam("the_moment"),
        language=bindparam("the_language"),
        duration=bindparam("the_duration"),
        warnings=bindparam("the_warnings"),
        error_code=None,
        error_message=None,
    )
    .returning(jobs)
)
"""The compare-and-set. Made once, like all here: composing takes longer than sending."""

_NEW = {
    "job_id": bindparam("the_job_id", type_=transcripts.c.job_id.type),
    "attempt": bindparam("the_attempt", type_=transcripts.c.attempt.type),
    "document": bindparam("the_document", type_=transcripts.c.document.type),
    "created_at": bindparam("the_moment", type_=transcripts.c.created_at.type),
}


def _over_an_earlier(statement: Any) -> Any:
    """In place of the transcript of an earlier run."""
    names = [name for name in _NEW if name != "job_id"]
    return statement.on_conflict_do_update(
        index_elements=["job_id"], set_={name: statement.excluded[name] for name in names}
    )


_STORE: Executable = _over_an_earlier(sqlite.insert(transcripts).values(_NEW))


def _finish_and_store() -> Executable:
    """Both as one statement: where the update finds no lease, nothing is inserted."""
    done = _FINISH.cte("done")
    new = {**_NEW, "job_id": done.c.id}
    rows = select(*(value.label(name) for name, value in new.items()))
    stored = _over_an_earlier(postgresql.insert(transcripts).from_select(list(new), rows))
    return select(done).add_cte(stored.cte("stored"))


_FINISH_AND_STORE = _finish_and_store()


async def accept(
    connection: AsyncConnection, lease: Lease, result: Result, now: datetime
) -> Job | None:
    """Finish the job and store its transcript; None if the lease is lost.

    One statement on PostgreSQL; two on SQLite, which has none that writes to two tables.
    """
    values = {
        "the_job_id": lease.job_id,
        "the_attempt": lease.attempt,
        "the_runner_id": lease.runner_id,
        "the_moment": now,
        "the_language": result.language,
        "the_duration": result.duration,
        "the_warnings": list(result.warnings),
    }
    stored = {**values, "the_document": result.document}
    if connection.dialect.name == "postgresql":
        row = (await connection.execute(_FINISH_AND_STORE, stored)).one_or_none()
        return None if row is None else job_from_row(row)
    row = (await connection.execute(_FINISH, values)).one_or_none()
    if row is None:
        return None
    await connection.execute(_STORE, stored)
    return job_from_row(row)
