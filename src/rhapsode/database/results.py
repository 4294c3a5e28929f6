"""Results: a lease that ends with success, and the transcript that comes of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, bindparam, case, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.jobs import ENDS_LEASE, job_from_row
from rhapsode.database.tables import jobs, transcripts, webhook_endpoints
from rhapsode.domain.jobs import TRANSITIONS, Change, Job
from rhapsode.domain.runners import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run came to; `document` is the packed transcript."""

    language: str | None
    duration: float
    warnings: Collection[str]
    document: bytes


_HELD = (
    jobs.c.id == bindparam("the_job_id"),
    jobs.c.state == "running",
    jobs.c.attempt == bindparam("the_attempt"),
    jobs.c.runner_id == bindparam("the_runner_id"),
)
"""The compare: the runner holds this very lease."""

_TOLD_TO_NOBODY = (
    jobs.c.outputs.is_(None),
    jobs.c.notify.is_(None),
    jobs.c.retention.is_(None),  # its end is to be noted
    ~select(webhook_endpoints.c.id)
    .where(
        webhook_endpoints.c.user_id == jobs.c.user_id,
        webhook_endpoints.c.disabled_reason.is_(None),
    )
    .exists(),
)

_COMES_TO: Mapping[str, Any] = {
    **ENDS_LEASE,
    "transcribed_at": bindparam("the_moment"),
    "transcript_deleted_at": None,
    "language": bindparam("the_language"),
    "duration": bindparam("the_duration"),
    "warnings": bindparam("the_warnings"),
    "error_code": None,
    "error_message": None,
}

_FINISH = (
    jobs.update()
    .where(*_HELD, *_TOLD_TO_NOBODY)
    .values(
        **_COMES_TO,
        state=TRANSITIONS[Change.RESULT].target,
        finished_at=bindparam("the_moment"),
    )
    .returning(jobs)
)
"""The compare-and-set. Made once, like all here: composing takes longer than sending."""

_FINISH_OR_DELIVER = (
    jobs.update()
    .where(*_HELD)
    .values(
        **_COMES_TO,
        state=case(
            (jobs.c.outputs.is_(None), TRANSITIONS[Change.RESULT].target.value),
            else_=TRANSITIONS[Change.DELIVER].target.value,
        ),
        finished_at=case(
            (jobs.c.outputs.is_(None), bindparam("the_moment", type_=jobs.c.finished_at.type))
        ),
    )
    .returning(jobs)
)

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


_STORE: Mapping[str, Executable] = {
    "sqlite": _over_an_earlier(sqlite.insert(transcripts).values(_NEW)),
    "postgresql": _over_an_earlier(postgresql.insert(transcripts).values(_NEW)),
}
_STORED = ("the_job_id", "the_attempt", "the_document", "the_moment")


def _finish_and_store() -> Executable:
    """Both as one statement: where the update finds no lease, nothing is inserted."""
    done = _FINISH.cte("done")
    new = {**_NEW, "job_id": done.c.id}
    rows = select(*(value.label(name) for name, value in new.items()))
    stored = _over_an_earlier(postgresql.insert(transcripts).from_select(list(new), rows))
    return select(done).add_cte(stored.cte("stored"))


_FINISH_AND_STORE = _finish_and_store()


async def finish(
    connection: AsyncConnection, lease: Lease, result: Result, now: datetime
) -> Job | None:
    """Finish a job that nobody hears of, and store its transcript.

    None if the lease is lost, or where there is something to send: then `accept` it. One
    statement on PostgreSQL; two on SQLite, which has none that writes to two tables.
    """
    if connection.dialect.name == "postgresql":
        values = _values(lease, result, now)
        row = (await connection.execute(_FINISH_AND_STORE, values)).one_or_none()
        return None if row is None else job_from_row(row)
    return await _both(connection, _FINISH, lease, result, now)


async def accept(
    connection: AsyncConnection, lease: Lease, result: Result, now: datetime
) -> Job | None:
    """Finish the job or let it be delivered, and store its transcript; None if it is lost.

    What is to be sent belongs into the same transaction.
    """
    return await _both(connection, _FINISH_OR_DELIVER, lease, result, now)


async def _both(
    connection: AsyncConnection,
    statement: Executable,
    lease: Lease,
    result: Result,
    now: datetime,
) -> Job | None:
    values = _values(lease, result, now)
    stored = {name: values[name] for name in _STORED}
    ended = {name: value for name, value in values.items() if name != "the_document"}
    row = (await connection.execute(statement, ended)).one_or_none()
    if row is None:
        return None
    await connection.execute(_STORE[connection.dialect.name], stored)
    return job_from_row(row)


def _values(lease: Lease, result: Result, now: datetime) -> dict[str, Any]:
    return {
        "the_job_id": lease.job_id,
        "the_attempt": lease.attempt,
        "the_runner_id": lease.runner_id,
        "the_moment": now,
        "the_language": result.language,
        "the_duration": result.duration,
        "the_warnings": list(result.warnings),
        "the_document": result.document,
    }
