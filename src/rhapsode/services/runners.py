"""Runners: let in by a token, registered, and given jobs."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from rhapsode.database import jobs as jobs_table
from rhapsode.database import runners as table
from rhapsode.domain.errors import Conflict, Denied, DomainError, Invalid, NotFound
from rhapsode.domain.jobs import Job, JobError, JobId, RunnerId
from rhapsode.domain.runners import (
    AssignedMedia,
    Assignment,
    Capabilities,
    Lease,
    Registration,
    Runner,
    RunnerToken,
)
from rhapsode.domain.users import ensure_label
from rhapsode.services import fetching, idempotency, leases, secrets
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once
from rhapsode.services.jobs import changed

_SEEN_EVERY_SECONDS = 10.0
_MAX_REQUIREMENTS = 1000


@dataclass(frozen=True, slots=True)
class NewToken:
    """A runner token, and its secret, which exists nowhere else."""

    token: RunnerToken
    secret: str


Connected = Callable[[], Awaitable[bool]]
"""Tells whether the claiming runner still listens."""


async def create_token(context: Context, name: str, *, request: Once | None = None) -> NewToken:
    """A token with which a machine can join; its secret is returned this once."""
    ensure_label(name)
    secret = secrets.new_secret(secrets.RUNNER_TOKEN_PREFIX)
    token = RunnerToken(id=new_id(), name=name, created_at=now())
    async with context.database.write() as transaction:
        await table.insert_token(transaction.connection, token, secrets.hash_secret(secret))
        await idempotency.record(transaction, request, token.id)
    return NewToken(token, secret)


async def replace_token(context: Context, name: str) -> NewToken:
    """A fresh token in place of every earlier one of that name.

    The leases of the earlier ones' runners end now: who replaces a token knows them dead.
    """
    async with context.database.write() as transaction:
        dead = await table.ids_by_token_name(transaction.connection, name)
        await jobs_table.expire_leases(transaction.connection, dead, now())
        await table.delete_tokens_named(transaction.connection, name)
    context.known_runners.forget()
    return await create_token(context, name)


async def tokens(context: Context) -> list[RunnerToken]:
    """All runner tokens, newest first."""
    async with context.database.read() as connection:
        return await table.tokens(connection)


async def delete_token(context: Context, token_id: UUID) -> None:
    """Revoke a token: its runners are refused from now on, and their leases lapse."""
    async with context.database.write() as transaction:
        found = await table.delete_token(transaction.connection, token_id)
    context.known_runners.forget()
    if not found:
        raise NotFound("runner_token_not_found", "There is no such runner token.")


async def register(
    context: Context, secret: str, *, name: str, version: str, capabilities: Capabilities
) -> Registration:
    """Make a runner known; Denied unless the token is valid."""
    _ensure_countable(capabilities)
    moment = now()
    async with context.database.write() as transaction:
        token_id = await table.token_by_hash(
            transaction.connection, secrets.hash_secret(secret)
        )
        if token_id is None:
            raise unknown_token()
        runner = Runner(
            id=RunnerId(new_id()),
            token_id=token_id,
            name=name,
            version=version,
            capabilities=capabilities,
            registered_at=moment,
            seen_at=moment,
        )
        await table.insert(transaction.connection, runner)
    return Registration(
        runner_id=runner.id,
        heartbeat_seconds=context.rules.heartbeat_seconds,
        lease_seconds=context.rules.lease_seconds,
    )


def _ensure_countable(capabilities: Capabilities) -> None:
    """Each claim names every requirement to the database, which takes only so many."""
    count = len(capabilities.requirements())
    if count > _MAX_REQUIREMENTS:
        raise Invalid(
            "too_many_models",
            f"The runner offers {count} kinds of work; it may offer {_MAX_REQUIREMENTS}.",
        )


def unknown_token() -> Denied:
    """The runner token is not known, or no longer."""
    return Denied(
        "unauthenticated",
        "The runner token is not valid.",
        hint="An administrator makes one with `rhapsode token create --runner NAME`.",
    )


async def authenticate(context: Context, runner_id: RunnerId, secret: str) -> Runner:
    """The runner that asks; NotFound tells it to register again."""
    hashed = secrets.hash_secret(secret)
    if (known_runner := context.known_runners.find(runner_id, hashed)) is not None:
        return known_runner
    generation = context.known_runners.generation
    async with context.database.read() as connection:
        runner = await table.by_secret(connection, runner_id, hashed)
        if runner is not None:
            context.known_runners.confirmed(runner, hashed, generation)
            return runner
        known = await table.token_by_hash(connection, hashed)
    if known is None:
        raise unknown_token()
    raise NotFound("runner_not_found", "This runner is not registered here.")


async def running(context: Context) -> dict[RunnerId, JobId]:
    """Which job each busy runner is on."""
    async with context.database.read() as connection:
        return await jobs_table.running_by_runner(connection)


async def claim(
    context: Context, runner: Runner, wait_seconds: float, connected: Connected
) -> Assignment | None:
    """The next fitting job, as soon as there is one; None when the wait is over."""
    await _note_seen(context, runner)
    deadline = now() + timedelta(seconds=min(wait_seconds, context.rules.claim_wait_seconds))
    async with context.claims.waiting(runner.capabilities.requirements()) as waiter:
        while True:
            woken_for = waiter.looking()
            assignment = await _claim(context, runner)
            if assignment is not None:
                if woken_for not in {None, assignment.spec.requirement}:
                    context.claims.wake(str(woken_for))  # the job that it tells of is left
                return await _handed_over(context, runner, assignment, connected)
            woken = await waiter.wait(_seconds_until(deadline), context.closing)
            if not woken or not await connected():
                context.recorder.claimed_nothing()
                return None


async def note_loaded(context: Context, runner: Runner, loaded: tuple[str, ...]) -> Runner:
    """The runner with the models that it has in memory now; written down where it changed."""
    if loaded == runner.capabilities.loaded:
        return runner
    changed_runner = replace(runner, capabilities=replace(runner.capabilities, loaded=loaded))
    async with context.database.write_once() as transaction:
        await table.note_loaded(transaction.connection, runner.id, changed_runner.capabilities)
    context.known_runners.changed(changed_runner)
    return changed_runner


def _seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - now()).total_seconds())


async def _note_seen(context: Context, runner: Runner) -> None:
    moment = now()
    if moment - runner.seen_at < timedelta(seconds=_SEEN_EVERY_SECONDS):
        return
    async with context.database.write_once() as transaction:
        await table.touch(transaction.connection, runner.id, moment)
    context.known_runners.changed(replace(runner, seen_at=moment))


async def _claim(context: Context, runner: Runner) -> Assignment | None:
    while (claimed := await _taken(context, runner)) is not None:
        job, media = claimed
        try:
            assignment = _assigned(context, job, media)
        except DomainError as error:  # one such job must not stop the queue
            await _turned_down(context, Lease(runner.id, job.id, job.attempt), error)
            continue
        context.recorder.claimed(job, (now() - job.queued_at).total_seconds())
        return assignment
    return None


async def _turned_down(context: Context, lease: Lease, error: DomainError) -> None:
    """Fail a job that cannot be handed out, unless it was called off in this very moment."""
    with contextlib.suppress(Conflict):
        reason = JobError(error.code, str(error))
        await leases.failure(context, lease, reason, permanent=True)


async def _taken(context: Context, runner: Runner) -> tuple[Job, AssignedMedia | None] | None:
    moment = now()
    async with context.database.write_once() as transaction:
        claimed = await jobs_table.claim(
            transaction.connection,
            runner_id=runner.id,
            runner_name=runner.name,
            requirements=runner.capabilities.requirements(),
            now=moment,
            lease_expires_at=context.lease_end(),
        )
        if claimed is not None:
            transaction.signal(changed(claimed[0]))
    return claimed


def _assigned(context: Context, job: Job, media: AssignedMedia | None) -> Assignment:
    """With what is stored of a recording, else with where it is to be fetched from."""
    source = None
    if media is None:
        if job.source is None:
            raise NotFound("media_deleted", "The recording of this job was deleted.")
        source = fetching.assigned(context, job.name, job.source)
    return Assignment(
        job_id=job.id, attempt=job.attempt, spec=job.spec, media=media, source=source
    )


async def _handed_over(
    context: Context, runner: Runner, assignment: Assignment, connected: Connected
) -> Assignment | None:
    """The assignment, unless the runner hung up between asking and being served."""
    if await connected():
        return assignment
    await leases.give_back(context, Lease(runner.id, assignment.job_id, assignment.attempt))
    return None
