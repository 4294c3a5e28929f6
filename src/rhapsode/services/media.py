"""Media: received, looked into, handed out, removed.

A row precedes its object and outlives it, so that whatever is killed in between is known:
receiving → (object stored) → ready → deleting → (object gone) → row gone.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database import jobs as jobs_table
from rhapsode.database import media as table
from rhapsode.database import retention as retention_table
from rhapsode.database.engine import Transaction
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.errors import Conflict, DomainError, Invalid, Limited, NotFound
from rhapsode.domain.media import Media, MediaId, MediaProbe, MediaState, clean_name, media_key
from rhapsode.domain.users import User, UserId
from rhapsode.services import audit, idempotency
from rhapsode.services.context import Context, Rules, new_id, now
from rhapsode.services.idempotency import Once
from rhapsode.storage.objects import ObjectStore, Stored

log = structlog.get_logger(__name__)

_TOUCH_SHARE = 0.1
"""How often an upload says that it is alive, as a share of when it counts as abandoned."""

_PURGE_BATCH = 100


@dataclass(frozen=True, slots=True)
class Incoming:
    """A recording on its way in; `size` is what the client announced, if it did."""

    name: str | None
    size: int | None
    chunks: AsyncIterator[bytes]


async def receive(
    context: Context, user: User, incoming: Incoming, *, request: Once | None = None
) -> Media:
    """Store a recording and look into it; what cannot be used leaves nothing behind."""
    ensure_welcome(context, incoming.size)

    arriving = _Arriving(limited(incoming.chunks, context.rules))

    async def create() -> Media:
        return await make(
            context,
            user.id,
            clean_name(incoming.name),
            lambda key: arriving.store(context.store, key),
            lambda transaction, made: idempotency.record(transaction, request, made),
        )

    async def recall(media_id: UUID) -> Media:
        found = await get(context, user, MediaId(media_id))
        if await arriving.digest() != found.digest:
            raise idempotency.reused()
        return found

    return await idempotency.create_once(context, request, create, recall)


class _Arriving:
    """The bytes of an upload, to be stored, or else only to be compared with others.

    A key that comes again with other bytes must not pass these off as stored.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks = chunks
        self.stored: Stored | None = None

    async def store(self, store: ObjectStore, key: str) -> Stored:
        """Put them under this key."""
        self.stored = await store.put(key, self.chunks)
        return self.stored

    async def digest(self) -> str:
        """The SHA-256 of all bytes, those included that were stored meanwhile."""
        if self.stored is not None:
            return self.stored.digest
        found = hashlib.sha256()
        async for chunk in self.chunks:
            await asyncio.to_thread(found.update, chunk)
        return found.hexdigest()


def ensure_welcome(context: Context, size: int | None) -> None:
    """Limited where a recording of that size is too large, or has no room."""
    limit = context.rules.max_upload_bytes
    if size is not None and size > limit:
        raise too_large(limit)
    context.store.ensure_room(size or 0)


def too_large(limit: int) -> Limited:
    """The recording is larger than this server accepts."""
    return Limited(
        "media_too_large",
        f"The recording is larger than the {limit} bytes that this server accepts.",
    )


Fill = Callable[[str], Awaitable[Stored]]
"""Puts a recording's bytes into the object store, under this key."""

Settled = Callable[[Transaction, MediaId], Awaitable[None]]
"""What else belongs into the transaction by which a media becomes ready."""


async def make(
    context: Context, owner: UserId, name: str, fill: Fill, settled: Settled
) -> Media:
    """A media of bytes that come from somewhere; what cannot be used leaves nothing behind."""
    item = Media(
        id=MediaId(new_id()),
        user_id=owner,
        name=name,
        state=MediaState.RECEIVING,
        size=0,
        created_at=now(),
    )
    async with context.database.write() as transaction:
        await table.insert(transaction.connection, item)
    try:
        return await _fill(context, item, fill, settled)
    except BaseException:
        # Also when the client or the server goes away: shielded, since a cancelled task
        # could not await anything else. If even this fails, the sweeper does it.
        with contextlib.suppress(Exception):
            await asyncio.shield(_discard(context, item.id))
        raise


async def _fill(context: Context, item: Media, fill: Fill, settled: Settled) -> Media:
    async with _kept_alive(context, item.id):
        stored = await fill(item.key)
        probe = await _looked_into(context, item, stored)
    async with context.database.write() as transaction:
        ready = await table.settle(
            transaction.connection,
            item.id,
            size=stored.size,
            digest=stored.digest,
            probe=probe,
            now=now(),
        )
        if ready is None:
            raise Conflict("media_given_up", "The upload took too long and was given up.")
        await settled(transaction, item.id)
    context.recorder.received(stored.size)
    return ready


async def _looked_into(context: Context, item: Media, stored: Stored) -> MediaProbe:
    if stored.size == 0:
        raise Invalid("media_empty", f"'{item.name}' is empty: it holds no bytes at all.")
    return await context.probe(item.key)


async def limited(chunks: AsyncIterator[bytes], rules: Rules) -> AsyncIterator[bytes]:
    """The chunks, up to the size that is accepted, each within the time that one may take."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(rules.abandoned_upload_seconds):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise Invalid("upload_cut", "The upload stood still and was given up.") from None
        if chunk is None:
            return
        size += len(chunk)
        if size > rules.max_upload_bytes:
            raise too_large(rules.max_upload_bytes)
        yield chunk


@contextlib.asynccontextmanager
async def _kept_alive(context: Context, media_id: MediaId) -> AsyncIterator[None]:
    """Tell the sweepers of all replicas that this upload goes on, however long it takes."""

    async def touch() -> None:
        while True:
            await asyncio.sleep(context.rules.abandoned_upload_seconds * _TOUCH_SHARE)
            with contextlib.suppress(DomainError):
                async with context.database.write() as transaction:
                    await table.touch(transaction.connection, media_id, now())

    task = asyncio.create_task(touch())
    try:
        yield
    finally:
        task.cancel()


async def get(context: Context, user: User, media_id: MediaId) -> Media:
    """One of a user's media; NotFound if it is not theirs."""
    async with context.database.read() as connection:
        found = await table.get(connection, media_id, user.id)
    if found is None:
        raise not_found()
    return found


def not_found() -> NotFound:
    """There is no such media, or the asker may not know of it."""
    return NotFound("media_not_found", "There is no such recording.")


async def page(
    context: Context, user: User, *, before: MediaId | None, digest: str | None, limit: int
) -> list[Media]:
    """A user's newest media, at most `limit`."""
    async with context.database.read() as connection:
        return await table.page(connection, user.id, before=before, digest=digest, limit=limit)


async def delete(context: Context, user: User, media_id: MediaId) -> None:
    """Remove a recording; Conflict while a job still needs it."""
    async with context.database.write() as transaction:
        found = await table.lock(transaction.connection, media_id)
        if found is None or found.user_id != user.id:
            raise not_found()
        if await jobs_table.needs_media(transaction.connection, media_id):
            raise Conflict(
                "media_in_use",
                "A job that has not ended still needs this recording.",
                hint="Cancel or delete the job first.",
            )
        await condemn(transaction, found, Reason.USER, actor_id=user.id)
    context.recorder.deleted("media", Reason.USER)
    await purge(context, media_id)


Still = Callable[[AsyncConnection], Awaitable[bool]]
"""Whether a media is still to be deleted, asked once it is locked."""


async def delete_if(context: Context, media_id: MediaId, reason: Reason, still: Still) -> bool:
    """Delete a media for which `still` holds once it is locked; False where it does not.

    From the lock to the commit no job can be made for it.
    """
    async with context.database.write() as transaction:
        found = await table.lock(transaction.connection, media_id)
        if found is None or not await still(transaction.connection):
            return False
        await condemn(transaction, found, reason)
    context.recorder.deleted("media", reason)
    await purge(context, media_id)
    return True


async def condemn(
    transaction: Transaction, item: Media, reason: Reason, *, actor_id: UserId | None = None
) -> None:
    """Mark a media for its removal, and note why; `purge` it after the commit."""
    await table.mark_deleting(transaction.connection, item.id, now())
    await retention_table.forget_media_expiry(transaction.connection, item.id)
    await _note_deleted(transaction, item, reason, actor_id=actor_id)


async def _note_deleted(
    transaction: Transaction, item: Media, reason: Reason, *, actor_id: UserId | None = None
) -> None:
    await audit.deleted(
        transaction,
        Action.MEDIA_DELETED,
        item.id,
        reason,
        actor_id=actor_id,
        owner=str(item.user_id),
        size=item.size,
    )


async def _discard(context: Context, media_id: MediaId) -> None:
    async with context.database.write() as transaction:
        # Not what is ready: the answer to its last commit may have got lost, not the commit.
        found = await table.give_up(transaction.connection, media_id, now())
    if found:
        await purge(context, media_id)


async def purge(context: Context, media_id: MediaId) -> None:
    """Remove the object, then the row, of a media that is marked for it.

    Where the store does not answer, the sweeper tries again.
    """
    try:
        await context.store.delete(media_key(media_id))
    except DomainError as error:
        log.warning("media.purge_postponed", media_id=str(media_id), error=str(error))
        return
    async with context.database.write() as transaction:
        await table.remove(transaction.connection, media_id)


async def sweep(context: Context) -> int:
    """Remove abandoned uploads and finish interrupted removals; returns how many."""
    since = now() - timedelta(seconds=context.rules.abandoned_upload_seconds)
    async with context.database.read() as connection:
        unsettled = await table.has_unsettled(connection, since)
    if not unsettled:
        return 0
    async with context.database.write() as transaction:
        abandoned = await table.mark_abandoned(transaction.connection, since, now())
        for item in abandoned:
            await _note_deleted(transaction, item, Reason.ABANDONED)
    context.recorder.deleted("media", Reason.ABANDONED, len(abandoned))
    async with context.database.read() as connection:
        doomed = await table.deleting(connection, _PURGE_BATCH)
    for media_id in doomed:
        await purge(context, media_id)
    return len(doomed)
