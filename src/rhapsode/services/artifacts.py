"""The channel of artifacts: rendered as they are sent, and put to the job's URLs."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rhapsode.database import deliveries as table
from rhapsode.database import jobs as jobs_table
from rhapsode.database import transcription as transcription_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.domain import transcription, whisper_formats
from rhapsode.domain.deliveries import META, Delivery, ending, latest
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import TRANSITIONS, Job, JobId, JobState
from rhapsode.outbound.http import Outbound
from rhapsode.services.channels import Outcome, dead
from rhapsode.services.context import Context
from rhapsode.services.puts import put

Record = Callable[[Job, list[Delivery]], dict[str, Any]]
"""The record of a job as a JSON document, with the deliveries of its artifacts."""

_RENDERED_AT_ONCE = 2
"""A long transcript takes memory while it is rendered, and the processor for itself."""


class Artifacts:
    """Sends what jobs put out; `record` makes the document that is called `meta`."""

    def __init__(self, outbound: Outbound, record: Record) -> None:
        self._outbound = outbound
        self._record = record
        self._rendering = asyncio.Semaphore(_RENDERED_AT_ONCE)

    async def send(self, context: Context, delivery: Delivery) -> Outcome:
        """One attempt."""
        if delivery.job_id is None:
            return dead("The job of this artifact is gone.")
        if delivery.subject == META:
            body = await self._meta(context, delivery.job_id)
            media_type = Format.JSON.media_type
        else:
            wanted = Format(delivery.subject)
            body = await self._rendered(context, delivery.job_id, wanted)
            media_type = wanted.media_type
        if body is None:
            return dead("The transcript was deleted before it could be sent.")
        return await put(self._outbound, delivery, body, media_type)

    async def _rendered(self, context: Context, job_id: JobId, wanted: Format) -> bytes | None:
        async with self._rendering:
            async with context.database.read() as connection:
                job = await jobs_table.get(connection, job_id)
                packed = await transcripts_table.get(connection, job_id) if job else None
                theirs = await transcription_table.of_job(connection, job_id)
            if job is None or packed is None:
                return None
            return await asyncio.to_thread(_text, packed, wanted, job, theirs)

    async def _meta(self, context: Context, job_id: JobId) -> bytes | None:
        async with context.database.read() as connection:
            job = await jobs_table.get(connection, job_id)
            sent = await table.of_job(connection, job_id) if job else []
            theirs = await transcription_table.of_job(connection, job_id)
        if job is None:
            return None
        others = [item for name, item in latest(sent).items() if name != META]
        told = as_it_will_be(job, others)
        if theirs is not None:
            document = transcription.document(replace(theirs, job=told), with_secrets=False)
        else:
            document = self._record(told, others)
        return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


def _text(
    packed: bytes, wanted: Format, job: Job, theirs: transcription.Record | None
) -> bytes:
    """In our format; for a job of `/transcription/`, as the engine asked for writes it."""
    transcript = transcripts_table.unpack(packed)
    if theirs is not None and wanted in whisper_formats.FORMATS:
        engine, model = theirs.asked_engine, theirs.asked_model
        return whisper_formats.render(transcript, wanted, engine, model).encode()
    return render(transcript, wanted, layout=job.spec.layout).encode()


def as_it_will_be(job: Job, others: Sequence[Delivery]) -> Job:
    """The job as it is once its record has arrived too: the record shall tell the end."""
    if job.state is not JobState.DELIVERING:
        return job
    comes_to = ending(others)
    return job.evolve(
        state=TRANSITIONS[comes_to.change].target,
        error=comes_to.error,
        finished_at=_last_moment(job, others),
    )


def _last_moment(job: Job, others: Sequence[Delivery]) -> datetime | None:
    """When the last of the others arrived: the record says the same at every attempt."""
    settled = [item.settled_at for item in others if item.settled_at is not None]
    return max(settled, default=job.transcribed_at)
