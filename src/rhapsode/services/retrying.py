"""Jobs that are wanted again: transcribed once more, or only delivered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rhapsode.database import jobs as table
from rhapsode.database import media as media_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.engine import Transaction
from rhapsode.domain.errors import Conflict, Invalid
from rhapsode.domain.jobs import Change, Job, JobId, Source, ensure_allowed
from rhapsode.domain.users import User
from rhapsode.services import deliveries, sources
from rhapsode.services.context import Context, now
from rhapsode.services.jobs import changed, not_found, queued, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """URLs in place of those that stopped working; what is not named stays as it was."""

    input_url: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


async def retry(context: Context, user: User, job_id: JobId, fresh: Fresh) -> Job:
    """Queue a job again that failed, expired or was canceled, with fresh attempts.

    A job that has its transcript is not transcribed again: what was not delivered is sent
    again, and that is all.
    """
    async with context.database.read() as connection:
        job = await table.get(connection, job_id, user.id)
        stored = await transcripts_table.attempt_of(connection, job_id)
    if job is None:
        raise not_found()
    if stored is not None and (job.outputs or fresh.outputs):
        return await deliveries.resend(context, user, job_id, fresh.outputs)
    ensure_allowed(job.state, Change.RETRY)
    source, outputs = _fresh_source(job, fresh), {**job.outputs, **fresh.outputs}
    fetched = source if job.media_id is None or fresh.input_url is not None else None
    await sources.ensure_usable(context, job.spec, fetched, outputs)
    return await _queue_again(context, job, source, outputs)


def _fresh_source(job: Job, fresh: Fresh) -> Source | None:
    if fresh.input_url is None:
        return job.source
    if job.source is None:
        raise Invalid(
            "input_not_by_url",
            "The recording of this job was uploaded; it is not fetched by URL.",
            hint="Retry without a URL for the input, or make a new job for it.",
        )
    return replace(job.source, url=fresh.input_url)


async def _queue_again(
    context: Context, job: Job, source: Source | None, outputs: Mapping[str, str]
) -> Job:
    async with context.database.write() as transaction:
        await _ensure_recording(transaction, job)
        again = await table.retry(
            transaction.connection,
            job.id,
            context.rules.max_attempts,
            now(),
            source_url=None if source is None else source.url,
            outputs=outputs or None,
        )
        if again is None:
            raise refusal(job, Change.RETRY)
        transaction.signal(queued(again), changed(again))
    context.recorder.changed(Change.RETRY, again)
    return again


async def _ensure_recording(transaction: Transaction, job: Job) -> None:
    """Conflict unless it is here or can be fetched; from now to the commit it stays."""
    if job.media_id is None and job.source is not None:
        return
    if job.media_id is None or not await media_table.lock(transaction.connection, job.media_id):
        raise Conflict(
            "media_deleted",
            "The recording of this job was deleted.",
            hint="Upload it again and make a new job.",
        )
