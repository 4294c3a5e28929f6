"""The transcription service's jobs under `/transcription/`: ours, with a number and an expiry.

A record lives until its client has read the end (`poll`) or until it expires, and its job
goes with it. Only a transcript that did not reach where it should go stays behind.
"""

from datetime import timedelta

import structlog

from rhapsode.database import flags as flags_table
from rhapsode.database import transcription as table
from rhapsode.database import users as users_table
from rhapsode.database.engine import Transaction
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.errors import Denied, DomainError, NotFound, Unavailable
from rhapsode.domain.jobs import Job, JobSpec, JobState, Notify, Source
from rhapsode.domain.runners import Runner
from rhapsode.domain.transcription import (
    LOCK_FLAG,
    MAX_NUMBER,
    STAND_IN_ENGINE,
    Asked,
    NotificationType,
    Record,
    plain_model,
)
from rhapsode.domain.users import Role, User, UserId
from rhapsode.services import audit, jobs, offers, secrets, sources, users
from rhapsode.services.context import Context, now
from rhapsode.services.idempotency import Once

BATCH = 100
_CANCELED_BY_DELETE = {JobState.RUNNING, JobState.DELIVERING}

log = structlog.get_logger(__name__)


async def asker(context: Context, credentials: str) -> User:
    """Who sends `user:token`, or an API key alone; Denied unless both fit.

    The token is an API key. The user is its owner's e-mail address, or what stands before
    the `@` there.
    """
    name, _, key = credentials.rpartition(":")
    found = None
    if not key.startswith(secrets.RUNNER_TOKEN_PREFIX):
        found = await users.by_key(context, key)
    if found is None or (name and not _is_called(found, name)):
        raise Denied("unauthenticated", "Invalid authorization token.", hint=_KEY_HINT)
    return found


_KEY_HINT = (
    "Send `Bearer USER:KEY`: an account's e-mail address, or what stands before the @, and "
    "an API key of that account."
)


def _is_called(user: User, name: str) -> bool:
    return name.strip().lower() in {user.email, user.email.rpartition("@")[0]}


async def submit(
    context: Context, user: User, asked: Asked, *, request: Once | None = None
) -> Record:
    """Queue what was asked for; Unavailable while submissions are locked."""
    await _ensure_unlocked(context)
    spec = await _spec(context, asked)
    order = jobs.JobOrder(
        spec=spec,
        source=Source(url=asked.input),
        outputs=asked.outputs,
        notify=_notify(context, asked),
    )

    async def number(transaction: Transaction, job: Job) -> None:
        await table.insert(transaction.connection, job, asked)

    job = await jobs.create(context, user, order, request=request, alongside=number)
    async with context.database.read() as connection:
        record = await table.of_job(connection, job.id)
    if record is None:
        raise not_found()
    return record


def _notify(context: Context, asked: Asked) -> Notify:
    if asked.notification_type is not NotificationType.URL or asked.notification_url is None:
        return Notify()
    sources.ensure_spoken_to(context, asked.notification_url)
    return Notify(put_url=asked.notification_url)


async def _spec(context: Context, asked: Asked) -> JobSpec:
    engine, model = await _engine_and_model(context, asked)
    return JobSpec(engine=engine, model=model, language=asked.language, priority=asked.priority)


async def _engine_and_model(context: Context, asked: Asked) -> tuple[str, str]:
    """What was asked for where a runner has it, or else what stands in for it.

    While no runner is online, those that were here lately tell what there will be.
    """
    wanted = (str(asked.engine), asked.model)
    if asked.engine == STAND_IN_ENGINE or not context.rules.transcription_stand_in:
        return wanted
    stand_in = (STAND_IN_ENGINE, plain_model(asked.model))
    for runners in (await offers.online(context), await offers.lately(context)):
        for choice in (wanted, stand_in):
            if any(_offers(runner, *choice) for runner in runners):
                return choice
    return stand_in


def _offers(runner: Runner, engine: str, model: str) -> bool:
    return any(
        offer.engine == engine and model in offer.models
        for offer in runner.capabilities.engines
    )


async def page(context: Context, user: User, *, offset: int, limit: int) -> list[Record]:
    """A user's records, an administrator's everybody's, oldest first."""
    async with context.database.read() as connection:
        return await table.page(connection, _whose(user), offset, limit)


def _whose(user: User) -> UserId | None:
    return None if user.role is Role.ADMIN else user.id


async def get(context: Context, user: User, number: int) -> Record:
    """One record; NotFound where there is none, Denied where it is somebody else's."""
    record = None
    if 0 < number <= MAX_NUMBER:
        async with context.database.read() as connection:
            record = await table.get(connection, number)
    if record is None:
        raise not_found()
    if user.role is not Role.ADMIN and record.job.user_id != user.id:
        raise Denied("not_your_job", f"Unauthorized: job {number} is somebody else's.")
    return record


def not_found() -> NotFound:
    """There is no such record, or no longer."""
    return NotFound("job_not_found", "Job not found.")


async def received(context: Context, number: int) -> None:
    """Note that a client has been sent the end of a job whole."""
    async with context.database.write() as transaction:
        await table.mark_read(transaction.connection, number, now())


async def remove(context: Context, user: User, number: int) -> None:
    """Call a job off that is being worked on; remove any other."""
    record = await get(context, user, number)
    owner = await _owner(context, record)
    if record.job.state in _CANCELED_BY_DELETE:
        await jobs.cancel(context, owner, record.job.id)
    else:
        await jobs.delete(context, owner, record.job.id, keep_media=False, actor=user)


async def _owner(context: Context, record: Record) -> User:
    async with context.database.read() as connection:
        found = await users_table.by_email(connection, record.owner)
    if found is None:
        raise not_found()
    return found


async def lock(context: Context, user: User, *, locked: bool) -> None:
    """Refuse submissions in every replica from now on, or take them again."""
    if user.role is not Role.ADMIN:
        raise Denied("lock_denied", "Unauthorized: only an administrator may do this.")
    async with context.database.write() as transaction:
        await flags_table.put(transaction.connection, LOCK_FLAG, locked, now())
        await audit.record(
            transaction, Action.FLAG_CHANGED, LOCK_FLAG, actor_id=user.id, value=locked
        )


async def _ensure_unlocked(context: Context) -> None:
    async with context.database.read() as connection:
        locked = await flags_table.get(connection, LOCK_FLAG)
    if locked:
        raise Unavailable(
            "submissions_locked",
            "Submitting new jobs is prohibited.",
            hint="An administrator locked submissions; GET /transcription/unlock allows them.",
        )


async def sweep(context: Context) -> int:
    """Remove records that were read or have expired, with their jobs; returns how many."""
    moment = now()
    grace = timedelta(seconds=context.rules.transcription_grace_seconds)
    async with context.database.read() as connection:
        records = await table.due(connection, moment, moment - grace, BATCH)
    for record in records:
        await _expire(context, record)
    return len(records)


async def _expire(context: Context, record: Record) -> None:
    if record.leaves_transcript_behind:
        async with context.database.write() as transaction:
            await table.delete(transaction.connection, record.number)
        return
    try:
        owner = await _owner(context, record)
        await jobs.delete(
            context,
            owner,
            record.job.id,
            keep_media=False,
            reason=Reason.RETENTION,
            only_ended=True,
        )
    except NotFound:  # another replica was first, or the owner, who perhaps wants it again
        return
    except DomainError as error:
        log.warning("transcription.removal_postponed", number=record.number, code=error.code)
