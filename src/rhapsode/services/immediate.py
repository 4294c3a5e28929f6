"""A recording in, its transcript out, within one request: a job like any other, but one
that is deleted with all that belongs to it as soon as it has been answered.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import structlog

from rhapsode.domain.audit import Reason
from rhapsode.domain.errors import DomainError, Invalid, Unavailable
from rhapsode.domain.jobs import TERMINAL, Job, JobId, JobSpec, JobState, Notify, Retention
from rhapsode.domain.media import Media
from rhapsode.domain.transcripts import Segment, Transcript
from rhapsode.domain.users import User
from rhapsode.services import events, jobs, media, offers, partials
from rhapsode.services.context import Context
from rhapsode.services.jobs import JobOrder

log = structlog.get_logger(__name__)

Connected = Callable[[], Awaitable[bool]]
"""Tells whether whoever asked still listens."""

_LISTENING_SECONDS = 1.0
_AT_ONCE = Retention(media_days=0, transcript_days=0)
"""Should the server be killed before it can clean up, the sweeper does."""


@asynccontextmanager
async def asked(
    context: Context, user: User, recording: Media, spec: JobSpec
) -> AsyncIterator[Job]:
    """A job on that recording; both are gone after the block, also in the middle of a run."""
    quiet = Notify(webhooks=False)  # the answer tells its end
    order = JobOrder(spec=spec, media_id=recording.id, retention=_AT_ONCE, notify=quiet)
    job: Job | None = None
    try:
        await ensure_taken(context, spec)
        job = await jobs.create(context, user, order)
        yield job
    finally:
        await asyncio.shield(_forget(context, user, recording, job))


async def _forget(context: Context, user: User, recording: Media, job: Job | None) -> None:
    try:
        if job is None:
            await media.delete(context, user, recording.id)
        else:
            await jobs.delete(context, user, job.id, keep_media=False, reason=Reason.RETENTION)
    except DomainError as error:
        log.warning("immediate.kept", media_id=str(recording.id), error=str(error))


async def ensure_taken(context: Context, spec: JobSpec) -> None:
    """Unavailable where no runner is there to take it: the asker would wait in vain."""
    await offers.ensure_possible(context, spec)
    runners = await offers.online(context)
    if not any(spec.requirement in runner.capabilities.requirements() for runner in runners):
        raise Unavailable(
            "no_runner",
            f"No runner that is online offers {spec.requirement}.",
            hint="Start one, or choose another model.",
        )


async def ended(
    context: Context, user: User, job: Job, connected: Connected
) -> Transcript | None:
    """The transcript as soon as there is one; None where the asker has left meanwhile.

    Raises what the job failed of, Unavailable where it was called off.
    """
    last = await _last(context, user, job.id, connected)
    if last is None:
        return None
    if last.state is not JobState.FINISHED:
        raise _failed(last)
    _, transcript = await jobs.transcript(context, user, job.id)
    return transcript


async def heard(
    context: Context, user: User, job: Job, connected: Connected
) -> AsyncGenerator[Segment | Transcript, None]:
    """The segments as they come, then the whole; it ends early where the asker has left.

    Raises as `ended` does.
    """
    following = partials.follow(context, user, job.id)
    async with aclosing(following):
        async for item in following:
            if not await connected():
                return
            if isinstance(item, Segment):
                yield item
            elif item.state is not JobState.FINISHED:
                raise _failed(item)
            else:
                _, transcript = await jobs.transcript(context, user, job.id)
                yield transcript


async def _last(
    context: Context, user: User, job_id: JobId, connected: Connected
) -> Job | None:
    """The job at its end."""
    watching = asyncio.ensure_future(_end(context, user, job_id))
    try:
        while not watching.done():
            await asyncio.wait({watching}, timeout=_LISTENING_SECONDS)
            if not watching.done() and not await connected():
                return None
        return watching.result()
    finally:
        watching.cancel()


async def _end(context: Context, user: User, job_id: JobId) -> Job:
    async for item in events.watch_one(context, user, job_id):
        if isinstance(item, Job) and item.state in TERMINAL:
            return item
    raise Unavailable("server_stopping", "The server is being stopped.", hint="Send it again.")


def _failed(job: Job) -> DomainError:
    if job.error is None:
        return Unavailable("job_ended", f"The job was {job.state} before it was done.")
    blameless = job.error.code.startswith(("engine_", "runner_", "attempts_", "model_"))
    kind = Unavailable if blameless else Invalid
    return kind(job.error.code, job.error.message)
