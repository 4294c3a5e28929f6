"""Recordings by URL: what their runner is told, and what it may ask of the server."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rhapsode.database import jobs as jobs_table
from rhapsode.database import media as media_table
from rhapsode.database.engine import Transaction
from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import Job, Source
from rhapsode.domain.media import Media, MediaId
from rhapsode.domain.runners import AssignedSource, Lease
from rhapsode.domain.urls import shown
from rhapsode.outbound.answers import opened
from rhapsode.outbound.http import Outbound
from rhapsode.services import leases
from rhapsode.services import media as media_service
from rhapsode.services.context import Context
from rhapsode.services.jobs import changed
from rhapsode.services.media import Incoming
from rhapsode.services.sources import fetched_from

_ASKED = {"range", "if-range"}
_TOLD = {
    "accept-ranges",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
}


def assigned(context: Context, name: str, source: Source) -> AssignedSource:
    """What a runner must know to fetch it. Raises where an `s3://` URL cannot be signed."""
    url = fetched_from(context, source)
    rules = context.rules
    return AssignedSource(
        name=name,
        shown=shown(source.url),
        url=None if rules.fetch_by_server else url,
        keep=source.keep,
        max_bytes=rules.max_upload_bytes,
        max_redirects=rules.max_redirects,
        connect_seconds=rules.connect_seconds,
        read_seconds=rules.read_seconds,
        fetch_seconds=rules.fetch_seconds,
    )


@dataclass(frozen=True, slots=True)
class Passing:
    """An answer on its way through: nothing of it is kept. Closed once `blocks` end."""

    status: int
    headers: Mapping[str, str]
    blocks: AsyncIterator[bytes]


async def passed_on(context: Context, job: Job, headers: Mapping[str, str]) -> Passing:
    """The recording of a job by URL, for a runner that cannot reach it itself.

    `headers` are the runner's, of which Range and If-Range are passed on. Raises what
    `outbound.answers.opened` raises, Conflict where runners fetch by themselves.
    """
    if job.source is None or not context.rules.fetch_by_server:
        raise leases.lease_lost()
    asked = {name: value for name, value in headers.items() if name.lower() in _ASKED}
    stack = AsyncExitStack()
    try:
        outbound = await stack.enter_async_context(_outbound(context))
        url = fetched_from(context, job.source)
        answer = await stack.enter_async_context(opened(outbound, url, asked))
    except BaseException:
        await stack.aclose()
        raise
    told = {name: value for name, value in answer.headers.items() if name in _TOLD}
    return Passing(answer.status, told, _closing(stack, answer.blocks))


def _outbound(context: Context) -> Outbound:
    return Outbound(
        context.policy,
        connect_seconds=context.rules.connect_seconds,
        read_seconds=context.rules.read_seconds,
        max_redirects=context.rules.max_redirects,
    )


async def _closing(stack: AsyncExitStack, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with stack:
        async for block in blocks:
            yield block


async def keep(context: Context, lease: Lease, incoming: Incoming) -> Media:
    """Store what a runner fetched as its job's media, like an upload of the job's owner.

    Sent again, because the answer got lost, it is what was stored before. Conflict where
    the lease is lost, or the job does not ask for it.
    """
    job, stored = await leases.leased_recording(context, lease)
    chunks = media_service.limited(incoming.chunks, context.rules)
    if stored is not None:
        async for _ in chunks:  # who is answered in the middle of sending may not hear it
            pass
        return stored
    if job.source is None or not job.source.keep:
        raise Conflict("media_not_wanted", "This job's recording is not to be kept.")

    async def become(transaction: Transaction, media_id: MediaId) -> None:
        item = await media_table.get(transaction.connection, media_id)
        if item is None:
            raise leases.lease_lost()
        kept = await jobs_table.keep(transaction.connection, lease, item)
        if kept is None:
            raise leases.lease_lost()
        transaction.signal(changed(kept))

    media_service.ensure_welcome(context, incoming.size)
    return await media_service.make(
        context, job.user_id, job.name, lambda key: context.store.put(key, chunks), become
    )
