"""The queries on jobs. Every change of state is a compare-and-set on (state, attempt)."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Update, and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import jobs, media, runners
from rhapsode.domain.jobs import (
    TRANSITIONS,
    Change,
    Job,
    JobError,
    JobId,
    JobSpec,
    JobState,
    Layout,
    Notify,
    Priority,
    Progress,
    Retention,
    RunnerId,
    Source,
)
from rhapsode.domain.media import Media, MediaId
from rhapsode.domain.runners import AssignedMedia, Lease
from rhapsode.domain.speakers import SpeakerBounds
from rhapsode.domain.users import UserId

ENDS_LEASE: Mapping[str, None] = {
    "lease_expires_at": None,
    "stage": None,
    "fraction": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; `user_id` None shows everybody's."""

    user_id: UserId | None
    states: Collection[JobState] = ()
    search: str | None = None
    media_id: MediaId | None = None
    source: str | None = None
    before: JobId | None = None


def job_from_row(row: Row[Any]) -> Job:
    """The job of a row."""
    return Job(
        id=row.id,
        user_id=row.user_id,
        media_id=row.media_id,
        name=row.name,
        spec=_spec(row.spec),
        state=JobState(row.state),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        created_at=row.created_at,
        queued_at=row.queued_at,
        duration=row.duration,
        progress=None if row.stage is None else Progress(row.stage, row.fraction or 0.0),
        runner_id=row.runner_id,
        runner_name=row.runner_name,
        lease_expires_at=row.lease_expires_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        language=row.language,
        error=None if row.error_code is None else JobError(row.error_code, row.error_message),
        warnings=tuple(row.warnings),
        source=None
        if row.source_url is None
        else Source(url=row.source_url, keep=row.keep_media),
        outputs=row.outputs or {},
        notify=Notify(**(row.notify or {})),
        retention=Retention(**(row.retention or {})),
        transcribed_at=row.transcribed_at,
        transcript_deleted_at=row.transcript_deleted_at,
    )


def _unless_plain(
    value: Notify | Retention, plain: Notify | Retention
) -> dict[str, Any] | None:
    return None if value == plain else asdict(value)


def _spec(document: Mapping[str, Any]) -> JobSpec:
    return JobSpec(
        **{
            **document,
            "layout": Layout(document["layout"]),
            "priority": Priority(document["priority"]),
            "speakers": SpeakerBounds(**document.get("speakers", {})),
            "languages": tuple(document.get("languages", ())),
            "hotwords": tuple(document.get("hotwords", ())),
        }
    )


async def insert(connection: AsyncConnection, job: Job) -> None:
    """Add a new job."""
    await connection.execute(
        jobs.insert().values(
            id=job.id,
            user_id=job.user_id,
            media_id=job.media_id,
            name=job.name,
            spec=asdict(job.spec),
            requirement=job.spec.requirement,
            queue_rank=-int(job.spec.priority),
            state=job.state,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            duration=job.duration,
            created_at=job.created_at,
            queued_at=job.queued_at,
            warnings=[],
            source_url=job.source.url if job.source else None,
            keep_media=job.source.keep if job.source else False,
            outputs=dict(job.outputs) or None,
            notify=_unless_plain(job.notify, Notify()),
            retention=_unless_plain(job.retention, Retention()),
        )
    )


async def get(
    connection: AsyncConnection, job_id: JobId, user_id: UserId | None = None
) -> Job | None:
    """One job; with `user_id`, only if it is that user's."""
    query = select(jobs).where(jobs.c.id == job_id)
    if user_id is not None:
        query = query.where(jobs.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else job_from_row(row)


async def page(connection: AsyncConnection, wanted: JobFilter, limit: int) -> list[Job]:
    """The newest jobs that fit, at most `limit`."""
    query = select(jobs).where(*_conditions(wanted)).order_by(jobs.c.id.desc()).limit(limit)
    return [job_from_row(row) for row in await connection.execute(query)]


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.user_id is not None:
        conditions.append(jobs.c.user_id == wanted.user_id)
    if wanted.states:
        conditions.append(jobs.c.state.in_(sorted(wanted.states)))
    if wanted.search:
        conditions.append(jobs.c.name.icontains(wanted.search, autoescape=True))
    if wanted.media_id is not None:
        conditions.append(jobs.c.media_id == wanted.media_id)
    if wanted.source:  # no LIKE: on SQLite that does not tell `A` from `a`
        beginning = func.substr(jobs.c.source_url, 1, len(wanted.source))
        conditions.append(beginning == wanted.source)
    if wanted.before is not None:
        conditions.append(jobs.c.id < wanted.before)
    return conditions


def _claim_statement() -> Executable:
    head = (
        select(jobs.c.id)
        .where(
            jobs.c.state == "queued",
            jobs.c.requirement.in_(bindparam("the_requirements", expanding=True)),
        )
        .order_by(jobs.c.queue_rank, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        jobs.update()
        .where(
            jobs.c.id == head,
            jobs.c.state == "queued",
            # Gone with its token, perhaps while it waited.
            select(runners.c.id).where(runners.c.id == bindparam("the_runner_id")).exists(),
        )
        .values(
            state=TRANSITIONS[Change.CLAIM].target,
            runner_id=bindparam("the_runner_id"),
            runner_name=bindparam("the_runner_name"),
            started_at=bindparam("the_moment"),
            lease_expires_at=bindparam("the_lease_end"),
        )
        .returning(jobs, _of_media(media.c.size), _of_media(media.c.digest))
    )


def _of_media(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of a job's recording, for RETURNING, which knows no joins."""
    found = select(column).where(media.c.id == jobs.c.media_id, media.c.state == "ready")
    return found.correlate(jobs).scalar_subquery().label(f"media_{column.key}")


_CLAIM = _claim_statement()
"""Made once: composing it takes longer than sending it."""


async def claim(
    connection: AsyncConnection,
    *,
    runner_id: RunnerId,
    runner_name: str,
    requirements: Collection[str],
    now: datetime,
    lease_expires_at: datetime,
) -> tuple[Job, AssignedMedia | None] | None:
    """Hand the most urgent, then oldest, fitting job to this runner: one statement.

    With it comes what the runner must know of the recording; None where that is gone.
    """
    values = {
        "the_requirements": sorted(requirements),
        "the_runner_id": runner_id,
        "the_runner_name": runner_name,
        "the_moment": now,
        "the_lease_end": lease_expires_at,
    }
    row = (await connection.execute(_CLAIM, values)).one_or_none()
    return None if row is None else (job_from_row(row), _assigned_media(row))


def _assigned_media(row: Row[Any]) -> AssignedMedia | None:
    if row.media_size is None:
        return None
    return AssignedMedia(
        name=row.name, size=row.media_size, digest=row.media_digest or "", duration=row.duration
    )


def _leased(lease: Lease) -> Update:
    """The compare of every report by a runner: it still holds this very lease."""
    return jobs.update().where(
        jobs.c.id == lease.job_id,
        jobs.c.state == "running",
        jobs.c.attempt == lease.attempt,
        jobs.c.runner_id == lease.runner_id,
    )


async def _applied(connection: AsyncConnection, statement: Update) -> Job | None:
    row = (await connection.execute(statement.returning(jobs))).one_or_none()
    return None if row is None else job_from_row(row)


async def renew(
    connection: AsyncConnection,
    lease: Lease,
    *,
    lease_expires_at: datetime,
    progress: Progress | None,
) -> Job | None:
    """Extend a lease and note its progress; None if the lease is lost."""
    values: dict[str, Any] = {"lease_expires_at": lease_expires_at}
    if progress is not None:
        values |= {"stage": progress.stage, "fraction": progress.fraction}
    return await _applied(connection, _leased(lease).values(values))


async def fail(
    connection: AsyncConnection,
    lease: Lease,
    *,
    now: datetime,
    error: JobError,
) -> Job | None:
    """End a lease with failure; None if the lease is lost."""
    values = _ended(TRANSITIONS[Change.FAIL].target, now, error)
    return await _applied(connection, _leased(lease).values(values))


async def expire(
    connection: AsyncConnection,
    lease: Lease,
    *,
    now: datetime,
    error: JobError,
) -> Job | None:
    """End a lease because a URL does not work any more; None if the lease is lost."""
    values = _ended(TRANSITIONS[Change.EXPIRE].target, now, error)
    return await _applied(connection, _leased(lease).values(values))


async def keep(connection: AsyncConnection, lease: Lease, item: Media) -> Job | None:
    """Make a stored recording the job's own; None if the lease is lost."""
    values = {"media_id": item.id, "duration": item.duration}
    return await _applied(connection, _leased(lease).values(values))


async def give_back(
    connection: AsyncConnection,
    lease: Lease,
    *,
    now: datetime,
    costs_attempt: bool,
    error: JobError | None = None,
) -> Job | None:
    """Return a leased job to the queue under a new attempt number; None if the lease is lost.

    Attempt numbers never repeat, so a return that shall not count raises the limit with it.
    """
    values: dict[str, Any] = {
        **ENDS_LEASE,
        "state": TRANSITIONS[Change.GIVE_BACK].target,
        "queued_at": now,
        "attempt": jobs.c.attempt + 1,
        "runner_id": None,
        "runner_name": None,
    }
    if not costs_attempt:
        values["max_attempts"] = jobs.c.max_attempts + 1
    if error is not None:
        values |= {"error_code": error.code, "error_message": error.message}
    return await _applied(connection, _leased(lease).values(values))


def _ended(state: JobState, now: datetime, error: JobError | None) -> dict[str, Any]:
    return {
        **ENDS_LEASE,
        "state": state,
        "finished_at": now,
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
    }


async def cancel(connection: AsyncConnection, job_id: JobId, now: datetime) -> Job | None:
    """Cancel a job that has not ended; None if it has. From then on every lease is lost."""
    transition = TRANSITIONS[Change.CANCEL]
    statement = (
        jobs.update()
        .where(jobs.c.id == job_id, jobs.c.state.in_(sorted(transition.sources)))
        .values(_ended(transition.target, now, None))
    )
    return await _applied(connection, statement)


async def retry(
    connection: AsyncConnection,
    job_id: JobId,
    attempts: int,
    now: datetime,
    *,
    source_url: str | None = None,
    outputs: Mapping[str, str] | None = None,
) -> Job | None:
    """Queue an ended job once more, with this many fresh attempts; None if it may not be.

    Where given, `source_url` and `outputs` take the place of what the job had.
    """
    transition = TRANSITIONS[Change.RETRY]
    values: dict[str, Any] = {
        "state": transition.target,
        "attempt": jobs.c.attempt + 1,
        "max_attempts": jobs.c.attempt + attempts,
        "queued_at": now,
        "runner_id": None,
        "runner_name": None,
        "started_at": None,
        "finished_at": None,
        "error_code": None,
        "error_message": None,
    }
    if source_url is not None:
        values["source_url"] = source_url
    if outputs is not None:
        values["outputs"] = dict(outputs)
    statement = (
        jobs.update()
        .where(jobs.c.id == job_id, jobs.c.state.in_(sorted(transition.sources)))
        .values(values)
    )
    return await _applied(connection, statement)


async def delete(connection: AsyncConnection, job_id: JobId) -> bool:
    """Remove a job and its transcript; False if it was not there."""
    result = await connection.execute(jobs.delete().where(jobs.c.id == job_id))
    return result.rowcount > 0


async def expire_leases(
    connection: AsyncConnection, runner_ids: Collection[RunnerId], now: datetime
) -> None:
    """Let the leases of these runners lapse now."""
    await connection.execute(
        jobs.update()
        .where(jobs.c.state == "running", jobs.c.runner_id.in_(list(runner_ids)))
        .values(lease_expires_at=now)
    )


def _lapsed(now: datetime, limit: int) -> ColumnElement[bool]:
    """A batch of expired leases that no other sweeper is working on."""
    batch = (
        select(jobs.c.id)
        .where(jobs.c.state == "running", jobs.c.lease_expires_at < now)
        .order_by(jobs.c.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return and_(jobs.c.id.in_(batch), jobs.c.state == "running", jobs.c.lease_expires_at < now)


async def has_lapsed(connection: AsyncConnection, now: datetime) -> bool:
    """Whether any lease has expired."""
    query = select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_expires_at < now)
    return (await connection.execute(query.limit(1))).first() is not None


async def extend_lapsed(
    connection: AsyncConnection, now: datetime, lease_expires_at: datetime
) -> int:
    """Renew every lease that has expired; returns how many."""
    statement = (
        jobs.update()
        .where(jobs.c.state == "running", jobs.c.lease_expires_at < now)
        .values(lease_expires_at=lease_expires_at)
    )
    return (await connection.execute(statement)).rowcount


async def requeue_lapsed(connection: AsyncConnection, now: datetime, limit: int) -> list[Job]:
    """Return jobs whose lease lapsed to the queue, where attempts are left."""
    statement = (
        jobs.update()
        .where(_lapsed(now, limit), jobs.c.attempt < jobs.c.max_attempts)
        .values(
            **ENDS_LEASE,
            state=TRANSITIONS[Change.LAPSE].target,
            queued_at=now,
            attempt=jobs.c.attempt + 1,
            runner_id=None,
            runner_name=None,
        )
        .returning(jobs)
    )
    return [job_from_row(row) for row in await connection.execute(statement)]


async def fail_lapsed(
    connection: AsyncConnection, now: datetime, limit: int, error: JobError
) -> list[Job]:
    """Fail jobs whose lease lapsed on their last attempt."""
    statement = (
        jobs.update()
        .where(_lapsed(now, limit), jobs.c.attempt >= jobs.c.max_attempts)
        .values(_ended(TRANSITIONS[Change.EXHAUST].target, now, error))
        .returning(jobs)
    )
    return [job_from_row(row) for row in await connection.execute(statement)]


async def queued_requirements(connection: AsyncConnection, limit: int) -> list[str]:
    """What the head of the queue needs, one entry a job."""
    query = (
        select(jobs.c.requirement)
        .where(jobs.c.state == "queued")
        .order_by(jobs.c.queue_rank, jobs.c.id)
        .limit(limit)
    )
    return list((await connection.execute(query)).scalars())


async def count_ahead(connection: AsyncConnection, spec: JobSpec, most: int) -> int:
    """How many jobs of its kind would be claimed before a new one; counts no further."""
    waiting = (
        select(jobs.c.id)
        .where(
            jobs.c.state == "queued",
            jobs.c.queue_rank <= -int(spec.priority),
            jobs.c.requirement == spec.requirement,
        )
        .limit(most)
    )
    query = select(func.count()).select_from(waiting.subquery())
    return int((await connection.execute(query)).scalar_one())


async def count_by_state(connection: AsyncConnection) -> dict[JobState, int]:
    """How many jobs wait and run; ended ones are not counted, they may be millions."""
    counts: dict[JobState, int] = {}
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING):
        query = select(func.count()).where(jobs.c.state == state.value)
        counts[state] = (await connection.execute(query)).scalar_one()
    return counts


async def needs_media(connection: AsyncConnection, media_id: MediaId) -> bool:
    """Whether a job that has not ended still needs this media."""
    query = select(jobs.c.id).where(
        jobs.c.media_id == media_id, jobs.c.state.in_(["queued", "running", "delivering"])
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def uses_media(connection: AsyncConnection, media_id: MediaId) -> bool:
    """Whether any job, ended or not, was made for this media."""
    query = select(jobs.c.id).where(jobs.c.media_id == media_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def running_by_runner(connection: AsyncConnection) -> dict[RunnerId, JobId]:
    """Which job each busy runner is on."""
    query = select(jobs.c.runner_id, jobs.c.id).where(jobs.c.state == "running")
    return {row.runner_id: row.id for row in await connection.execute(query)}
