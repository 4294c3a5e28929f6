"""Uploads: begun, gone on with after any break, given up.

What arrives is stored in parts: first the object, then its row. A part without a row does not
count, and goes with the upload. Any replica may take any piece.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from rhapsode.database import uploads as table
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.errors import Conflict, DomainError, Invalid, Limited, NotFound
from rhapsode.domain.uploads import (
    PART_BYTES,
    PREFIX,
    Checksum,
    Metadata,
    OffsetConflict,
    Part,
    Upload,
    UploadId,
    UploadState,
    name_in,
    parts_prefix,
)
from rhapsode.domain.users import User
from rhapsode.services import assembling, audit, idempotency, media
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once
from rhapsode.services.inflow import Inflow

MOST_OPEN = 100
"""Uploads of one user that may be under way at the same time."""

_SILENCE_SECONDS = 120.0
_SWEEP_BATCH = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes that shall follow on those that are stored.

    `length` is how many there are and `size` how long the whole will be, where the client
    says so. With a checksum all of them count or none.
    """

    offset: int
    chunks: AsyncIterator[bytes]
    length: int | None = None
    checksum: Checksum | None = None
    size: int | None = None


async def create(
    context: Context,
    user: User,
    *,
    size: int | None,
    metadata: Metadata,
    request: Once | None = None,
) -> Upload:
    """Begin an upload; `size` is None where the client does not know it yet."""
    name = name_in(metadata)
    _ensure_size(context, name, size)

    async def begin() -> Upload:
        made = Upload(
            id=UploadId(new_id()),
            user_id=user.id,
            name=name,
            metadata=metadata,
            size=size,
            received=0,
            state=UploadState.RECEIVING,
            created_at=now(),
            expires_at=_expiry(context),
        )
        async with context.database.write() as transaction:
            if await table.count_open(transaction.connection, user.id) >= MOST_OPEN:
                raise _too_many()
            await table.insert(transaction.connection, made)
            await idempotency.record(transaction, request, made.id)
        return made

    async def recall(found: UUID) -> Upload:
        return await get(context, user, UploadId(found))

    return await idempotency.create_once(context, request, begin, recall)


def _ensure_size(context: Context, name: str, size: int | None) -> None:
    """It is welcome, and there is room for it: twice, since parts are put together by copy."""
    if size == 0:
        raise Invalid("media_empty", f"'{name}' is empty: it holds no bytes at all.")
    media.ensure_welcome(context, size)
    if size is not None and size > PART_BYTES:
        context.store.ensure_room(2 * size)


def _too_many() -> Limited:
    return Limited(
        "too_many_uploads",
        f"There are {MOST_OPEN} uploads of yours under way.",
        hint="Finish them, or end them (DELETE); those that stand still expire.",
    )


def _expiry(context: Context) -> datetime:
    return now() + timedelta(seconds=context.rules.unfinished_upload_seconds)


async def get(context: Context, user: User, upload_id: UploadId) -> Upload:
    """One of a user's uploads. One that waits to be assembled is taken up by that."""
    async with context.database.read() as connection:
        found = _ensure_there(await table.get(connection, upload_id), user)
    if found.state is UploadState.ASSEMBLING:
        assembling.start(context, found.id)
    return found


def _ensure_there(found: Upload | None, user: User) -> Upload:
    if found is None or found.user_id != user.id:
        raise NotFound("upload_not_found", "There is no such upload.")
    if found.state is UploadState.RECEIVING and found.expires_at < now():
        raise NotFound(
            "upload_expired", "The upload stood still for too long.", hint="Begin it anew."
        )
    return found


async def append(context: Context, user: User, upload_id: UploadId, piece: Piece) -> Upload:
    """Take the next bytes. With the last of them the upload is assembled.

    Who sends last counts: whoever appended before, perhaps over a connection that is long
    dead, is replaced. Returns the upload as it is then; where assembling takes long, before
    its end. Raises why the recording cannot be used.
    """
    upload, holder = await _begin(context, user, upload_id, piece)
    if holder is not None:
        await _Appending(context, upload, holder, piece).run()
    found = await get(context, user, upload_id)
    if found.state is UploadState.ASSEMBLING:
        wait = context.rules.assembly_wait_seconds
        found = _ensure_there(await assembling.ended(context, upload_id, wait), user)
    return _usable(found)


async def _begin(
    context: Context, user: User, upload_id: UploadId, piece: Piece
) -> tuple[Upload, UUID | None]:
    """The upload, and the right to append to it; none where nothing is to come any more."""
    async with context.database.write() as transaction:
        connection = transaction.connection
        found = _ensure_there(await table.get(connection, upload_id, lock=True), user)
        upload = replace(_usable(found), size=_agreed_size(context, found, piece))
        if piece.offset != upload.received:
            raise OffsetConflict(upload.received)
        if upload.size is not None:
            _ensure_fits(upload, piece.length or 0, upload.size)
        if upload.state is not UploadState.RECEIVING:
            return upload, None
        holder = new_id()
        await table.take(connection, upload_id, holder, size=upload.size)
        if upload.is_complete:
            await table.complete_empty(connection, upload_id)
            return upload, None
        return upload, holder


def _usable(upload: Upload) -> Upload:
    if upload.state is UploadState.FAILED and upload.error:
        raise Invalid(upload.error.code, upload.error.message, hint=upload.error.hint)
    return upload


def _agreed_size(context: Context, upload: Upload, piece: Piece) -> int | None:
    """How long the upload will be, told before or only now."""
    if piece.size is None or piece.size == upload.size:
        return upload.size
    if upload.size is not None or piece.size < upload.received:
        raise Invalid("upload_header", "Upload-Length contradicts what is known of the upload.")
    media.ensure_welcome(context, piece.size)
    return piece.size


def _ensure_fits(upload: Upload, length: int, size: int) -> None:
    if upload.received + length > size:
        raise Invalid(
            "upload_too_long",
            f"The piece goes beyond the end: the upload was announced with {size} bytes.",
        )


@dataclass
class _Appending:
    """One request that appends to an upload."""

    context: Context
    upload: Upload
    holder: UUID
    piece: Piece
    _uncounted: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        checksum = self.piece.checksum
        self._end = self.upload.received
        self._hash = (
            hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        )

    async def run(self) -> None:
        """Store all that comes; what is stored but may not count goes again."""
        rules = self.context.rules
        inflow = Inflow(
            self.piece.chunks,
            self.context.closing,
            stall_seconds=min(_SILENCE_SECONDS, rules.abandoned_upload_seconds),
        )
        try:
            await self._take(inflow)
        except BaseException:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._drop())
            raise
        finally:
            await inflow.close()

    async def _take(self, inflow: Inflow) -> None:
        while block := await inflow.block():
            await self._store(block)
            if self._hash is None:
                await self._count()
            else:
                await asyncio.to_thread(self._hash.update, block)
                await self._stay()
        if inflow.cut is not None:
            raise inflow.cut
        if self._hash is not None:
            self._verify(self._hash.digest())
            await self._count()

    async def _store(self, block: bytes) -> None:
        if self.upload.size is None:
            if self._end + len(block) > self.context.rules.max_upload_bytes:
                raise media.too_large(self.context.rules.max_upload_bytes)
        else:
            _ensure_fits(replace(self.upload, received=self._end), len(block), self.upload.size)
        self.context.store.ensure_room(len(block))
        part = Part(self.upload.id, self._end, len(block), new_id(), digest="")
        self._uncounted.append(part)  # before it is stored: what a break leaves goes, too
        stored = await self.context.store.put_bytes(part.key, block)
        self._uncounted[-1] = replace(part, digest=stored.digest)
        self._end += len(block)

    async def _count(self) -> None:
        if not self._uncounted:
            return
        async with self.context.database.write() as transaction:
            counted = await table.append(
                transaction.connection,
                self.holder,
                self._uncounted,
                complete=self._end == self.upload.size,
                expires_at=_expiry(self.context),
            )
        if not counted:
            raise _replaced()
        self._uncounted = []

    async def _stay(self) -> None:
        """Put the end off while a piece arrives that counts only at its own end."""
        async with self.context.database.write() as transaction:
            stays = await table.extend(
                transaction.connection, self.upload.id, self.holder, _expiry(self.context)
            )
        if not stays:
            raise _replaced()

    def _verify(self, digest: bytes) -> None:
        if self.piece.checksum and digest != self.piece.checksum.digest:
            raise Invalid(
                "upload_checksum",
                "The piece arrived damaged: its checksum is another. Nothing of it was kept.",
                hint="Send it again.",
            )

    async def _drop(self) -> None:
        for part in self._uncounted:
            await self.context.store.delete(part.key)


def _replaced() -> Conflict:
    return Conflict(
        "upload_taken",
        "Another request sends this upload, or has ended it.",
        hint="Ask where it goes on (HEAD), and send from there.",
    )


async def delete(context: Context, user: User, upload_id: UploadId) -> None:
    """End an upload. What arrived goes; a recording that was made of it stays."""
    async with context.database.write() as transaction:
        found = await table.get(transaction.connection, upload_id, lock=True)
        if found is None or found.user_id != user.id:
            raise NotFound("upload_not_found", "There is no such upload.")
        await table.mark_deleting(transaction.connection, upload_id)
        await audit.deleted(
            transaction,
            Action.UPLOAD_DELETED,
            upload_id,
            Reason.USER,
            actor_id=user.id,
            owner=str(user.id),
            received=found.received,
        )
    context.recorder.deleted("upload", Reason.USER)
    await _purge(context, upload_id)


async def _purge(context: Context, upload_id: UploadId) -> None:
    """Remove the objects, then the row, of an upload that is marked for it."""
    try:
        await context.store.delete_below(parts_prefix(upload_id))
    except DomainError as error:
        log.warning("upload.purge_postponed", upload_id=str(upload_id), error=str(error))
        return
    async with context.database.write() as transaction:
        await table.remove(transaction.connection, upload_id)


async def sweep(context: Context) -> int:
    """Remove what expired, go on with what was left half done; returns how many."""
    moment = now()
    async with context.database.read() as connection:
        if not await table.unsettled(connection, moment, 1):
            return 0
    async with context.database.write() as transaction:
        expired = await table.mark_expired(transaction.connection, moment)
        for upload_id in expired:
            await audit.deleted(transaction, Action.UPLOAD_DELETED, upload_id, Reason.ABANDONED)
    context.recorder.deleted("upload", Reason.ABANDONED, len(expired))
    async with context.database.read() as connection:
        found = await table.unsettled(connection, moment, _SWEEP_BATCH)
    for upload_id, state in found:
        await _settle(context, upload_id, state)
    return len(found)


async def _settle(context: Context, upload_id: UploadId, state: UploadState) -> None:
    if state is UploadState.DELETING:
        await _purge(context, upload_id)
    elif state is UploadState.ASSEMBLING:
        assembling.start(context, upload_id)  # a sweep does not wait for long copies
    else:
        await assembling.forget_parts(context, upload_id)


async def sweep_orphans(context: Context) -> int:
    """Remove parts of uploads that nobody knows any more; returns of how many."""
    ids = list(_ids_among(await context.store.folders(PREFIX)))
    async with context.database.read() as connection:
        known = await table.known(connection, ids)
    orphans = set(ids) - known
    for upload_id in orphans:
        async with context.database.write() as transaction:
            await audit.deleted(transaction, Action.UPLOAD_DELETED, upload_id, Reason.ORPHAN)
        await context.store.delete_below(parts_prefix(upload_id))
        context.recorder.deleted("upload", Reason.ORPHAN)
    return len(orphans)


def _ids_among(names: Iterable[str]) -> Iterator[UploadId]:
    """What somebody else keeps there is none of ours to remove."""
    for name in names:
        with contextlib.suppress(ValueError):
            yield UploadId(UUID(name))
