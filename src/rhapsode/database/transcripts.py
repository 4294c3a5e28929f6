"""The queries on transcripts: one canonical document a job."""

import json
import zlib

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import transcripts
from rhapsode.domain.jobs import JobId
from rhapsode.domain.transcripts import Transcript


def pack(transcript: Transcript) -> bytes:
    """Compressed JSON: a tenth of the size, since word times repeat their keys."""
    return zlib.compress(
        json.dumps(transcript.to_stored(), ensure_ascii=False).encode(), level=3
    )


def unpack(document: bytes) -> Transcript:
    """The transcript that was packed."""
    return Transcript.from_dict(json.loads(zlib.decompress(document)))


async def get(connection: AsyncConnection, job_id: JobId) -> bytes | None:
    """A job's packed transcript; unpack it off the event loop, it may be long."""
    query = select(transcripts.c.document).where(transcripts.c.job_id == job_id)
    document: bytes | None = (await connection.execute(query)).scalar_one_or_none()
    return document


async def attempt_of(connection: AsyncConnection, job_id: JobId) -> int | None:
    """Which attempt made the stored transcript."""
    query = select(transcripts.c.attempt).where(transcripts.c.job_id == job_id)
    return (await connection.execute(query)).scalar_one_or_none()


async def locked(connection: AsyncConnection, job_id: JobId) -> bytes | None:
    """A job's packed transcript, which nobody else changes before the commit."""
    query = select(transcripts.c.document).where(transcripts.c.job_id == job_id)
    found = await connection.execute(query.with_for_update())
    document: bytes | None = found.scalar_one_or_none()
    return document


async def replace(connection: AsyncConnection, job_id: JobId, document: bytes) -> None:
    """Store another packed transcript in place of a job's."""
    query = transcripts.update().where(transcripts.c.job_id == job_id)
    await connection.execute(query.values(document=document))
