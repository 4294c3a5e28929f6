"""Assembling: the parts of a complete upload become a media, by one process at a time.

Whoever assembles holds the upload, and says so again and again. Where that ends, by a kill or
a store that does not answer, the sweeper or the next request of the client takes it up.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from rhapsode.database import uploads as table
from rhapsode.database.engine import Transaction
from rhapsode.domain.errors import Conflict, DomainError, Invalid, Limited, NotFound
from rhapsode.domain.media import MediaId
from rhapsode.domain.uploads import (
    Part,
    Upload,
    UploadError,
    UploadId,
    UploadState,
    parts_prefix,
)
from rhapsode.services import media
from rhapsode.services.context import Context, new_id, now
from rhapsode.storage.objects import Stored

HOLD_SECONDS = 30.0
_AGAIN_SECONDS = 10.0
_LOOK_SECONDS = 0.25

log = structlog.get_logger(__name__)


def start(context: Context, upload_id: UploadId) -> asyncio.Task[None] | None:
    """See to it that a complete upload is assembled, by this process or by another."""
    return context.tasks.start(upload_id, lambda: assemble(context, upload_id))


async def ended(context: Context, upload_id: UploadId, seconds: float) -> Upload | None:
    """The upload once it is assembled or has failed, or as it is after so many seconds.

    The assembly goes on when this is over or cancelled. None if the upload is gone.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    task = start(context, upload_id)
    if task is not None:
        await asyncio.wait({task}, timeout=seconds)
    while True:
        async with context.database.read() as connection:
            found = await table.get(connection, upload_id)
        over = asyncio.get_running_loop().time() >= deadline or context.closing.is_set()
        if found is None or found.state is not UploadState.ASSEMBLING or found.error or over:
            return found
        await asyncio.sleep(_LOOK_SECONDS)  # another replica is at it


async def assemble(context: Context, upload_id: UploadId) -> None:
    """Make a media of a complete upload, unless somebody does so already."""
    holder, moment = new_id(), now()
    async with context.database.write() as transaction:
        upload = await table.claim(
            transaction.connection, upload_id, holder, now=moment, until=_until(HOLD_SECONDS)
        )
    if upload is None:
        return
    try:
        async with _held(context, upload_id, holder):
            await _make(context, upload, holder)
    except DomainError as error:
        await _settle(context, upload_id, holder, error)
    except BaseException:
        with contextlib.suppress(Exception):
            await asyncio.shield(_postpone(context, upload_id, holder, None))
        raise
    await forget_parts(context, upload_id)


async def _make(context: Context, upload: Upload, holder: UUID) -> None:
    async def finish(transaction: Transaction, media_id: MediaId) -> None:
        if not await table.finish(transaction.connection, upload.id, holder, media_id):
            raise Conflict("upload_taken", "The upload was ended, or another one assembles it.")

    made = await media.make(
        context,
        upload.user_id,
        upload.name,
        lambda key: _joined(context, upload, key),
        finish,
    )
    log.info("upload.finished", upload_id=str(upload.id), media_id=str(made.id))


async def _joined(context: Context, upload: Upload, key: str) -> Stored:
    """Put all parts, one behind the other, under this key; a single one is not copied."""
    async with context.database.read() as connection:
        parts = await table.parts(connection, upload.id)
    if len(parts) == 1:
        await context.store.copy(parts[0].key, key)
        return Stored(parts[0].size, parts[0].digest)
    context.store.ensure_room(upload.received)
    stored = await context.store.put(key, _bytes_of(context, parts))
    if stored.size != upload.received:
        raise Invalid(
            "upload_damaged",
            f"Of {upload.received} bytes that were stored, {stored.size} are left.",
            hint="Send the recording again; the operator should look at the object store.",
        )
    return stored


async def _bytes_of(context: Context, parts: Sequence[Part]) -> AsyncIterator[bytes]:
    for part in parts:
        async for chunk in await context.store.stream(part.key):
            yield chunk


def _until(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


@contextlib.asynccontextmanager
async def _held(context: Context, upload_id: UploadId, holder: UUID) -> AsyncIterator[None]:
    """Tell all replicas that this one is at it, however long it takes."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(HOLD_SECONDS / 4)
            with contextlib.suppress(DomainError):
                async with context.database.write() as transaction:
                    await table.keep(
                        transaction.connection, upload_id, holder, _until(HOLD_SECONDS)
                    )

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()


async def _settle(
    context: Context, upload_id: UploadId, holder: UUID, error: DomainError
) -> None:
    """Note why it came to nothing; what may be better next time is tried again."""
    reason = UploadError(error.code, error.message, error.hint)
    log.warning("upload.not_assembled", upload_id=str(upload_id), code=error.code)
    if not _is_final(error):
        await _postpone(context, upload_id, holder, reason)
        return
    async with context.database.write() as transaction:
        await table.fail(transaction.connection, upload_id, holder, reason)


def _is_final(error: DomainError) -> bool:
    if isinstance(error, Limited):
        return error.code == "media_too_large"
    return isinstance(error, Invalid | NotFound)


async def _postpone(
    context: Context, upload_id: UploadId, holder: UUID, reason: UploadError | None
) -> None:
    """Leave it to the next one; at once where it only was called off."""
    until = _until(_AGAIN_SECONDS) if reason else now()
    async with context.database.write() as transaction:
        await table.postpone(transaction.connection, upload_id, holder, until, reason)


async def forget_parts(context: Context, upload_id: UploadId) -> None:
    """Remove the parts of an upload that has ended, counted or not; not of any other."""
    async with context.database.read() as connection:
        found = await table.get(connection, upload_id)
    if found is None or found.state not in {UploadState.FINISHED, UploadState.FAILED}:
        return
    try:
        await context.store.delete_below(parts_prefix(upload_id))
    except DomainError as error:
        log.warning("upload.purge_postponed", upload_id=str(upload_id), error=str(error))
        return
    async with context.database.write() as transaction:
        await table.forget_parts(transaction.connection, upload_id)
