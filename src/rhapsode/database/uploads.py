"""The queries on uploads and their parts.

`holder` is who may add to an upload: a request that appends, or a process that assembles.
Each change names its holder, so that whoever was replaced changes nothing any more.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Update, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import upload_parts, uploads
from rhapsode.domain.media import MediaId
from rhapsode.domain.uploads import Part, Upload, UploadError, UploadId, UploadState
from rhapsode.domain.users import UserId

_OPEN = (UploadState.RECEIVING, UploadState.ASSEMBLING)


def upload_from_row(row: Row[Any]) -> Upload:
    """The upload of a row."""
    error = None
    if row.error_code is not None:
        error = UploadError(row.error_code, row.error_message, row.error_hint)
    return Upload(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        metadata=row.metadata,
        size=row.size,
        received=row.received,
        state=UploadState(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        media_id=row.media_id,
        error=error,
    )


async def insert(connection: AsyncConnection, item: Upload) -> None:
    """Add an upload of which nothing has arrived."""
    await connection.execute(
        uploads.insert().values(
            id=item.id,
            user_id=item.user_id,
            name=item.name,
            metadata=item.metadata,
            size=item.size,
            received=item.received,
            state=item.state,
            created_at=item.created_at,
            expires_at=item.expires_at,
        )
    )


async def count_open(connection: AsyncConnection, user_id: UserId) -> int:
    """How many of a user's uploads are under way."""
    query = (
        select(func.count())
        .select_from(uploads)
        .where(uploads.c.user_id == user_id, uploads.c.state.in_(_OPEN))
    )
    return int((await connection.execute(query)).scalar_one())


async def get(
    connection: AsyncConnection, upload_id: UploadId, *, lock: bool = False
) -> Upload | None:
    """One upload that is not being deleted; with `lock`, until the commit."""
    query = select(uploads).where(
        uploads.c.id == upload_id, uploads.c.state != UploadState.DELETING
    )
    query = query.with_for_update() if lock else query
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else upload_from_row(row)


async def take(
    connection: AsyncConnection, upload_id: UploadId, holder: UUID, *, size: int | None
) -> None:
    """Let this request append from now on, and nobody else; note the size, if it said it."""
    statement = uploads.update().where(uploads.c.id == upload_id)
    await connection.execute(statement.values(holder=holder, size=size))


async def extend(
    connection: AsyncConnection, upload_id: UploadId, holder: UUID, expires_at: datetime
) -> bool:
    """Put the end off while bytes arrive; False if another one appends meanwhile."""
    statement = _held(upload_id, holder, UploadState.RECEIVING).values(expires_at=expires_at)
    return (await connection.execute(statement)).rowcount > 0


async def append(
    connection: AsyncConnection,
    holder: UUID,
    parts: Sequence[Part],
    *,
    complete: bool,
    expires_at: datetime,
) -> bool:
    """Count these parts, one behind the other; False if another one appends meanwhile.

    Where that completes the upload, it is there to be assembled.
    """
    received = parts[-1].start + parts[-1].size
    state = UploadState.ASSEMBLING if complete else UploadState.RECEIVING
    statement = (
        _held(parts[0].upload_id, holder, UploadState.RECEIVING)
        .where(uploads.c.received == parts[0].start)
        .values(received=received, state=state, expires_at=expires_at)
    )
    if (await connection.execute(statement)).rowcount == 0:
        return False
    await connection.execute(upload_parts.insert(), [_part_values(part) for part in parts])
    return True


def _part_values(part: Part) -> dict[str, Any]:
    return {
        "upload_id": part.upload_id,
        "start": part.start,
        "size": part.size,
        "object_id": part.object_id,
        "digest": part.digest,
    }


async def complete_empty(connection: AsyncConnection, upload_id: UploadId) -> None:
    """Receiving → assembling for an upload whose size, told late, has been reached."""
    statement = (
        uploads.update()
        .where(uploads.c.id == upload_id, uploads.c.state == UploadState.RECEIVING)
        .values(state=UploadState.ASSEMBLING)
    )
    await connection.execute(statement)


async def parts(connection: AsyncConnection, upload_id: UploadId) -> list[Part]:
    """The parts of an upload in their order."""
    query = select(upload_parts).where(upload_parts.c.upload_id == upload_id)
    rows = await connection.execute(query.order_by(upload_parts.c.start))
    return [Part(r.upload_id, r.start, r.size, r.object_id, r.digest) for r in rows]


async def claim(
    connection: AsyncConnection,
    upload_id: UploadId,
    holder: UUID,
    *,
    now: datetime,
    until: datetime,
) -> Upload | None:
    """The right to assemble an upload; None if it is not to be, or somebody does it."""
    statement = (
        uploads.update()
        .where(uploads.c.id == upload_id, uploads.c.state == UploadState.ASSEMBLING)
        .where(_is_free(now))
        .values(holder=holder, held_until=until)
        .returning(uploads)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else upload_from_row(row)


def _is_free(now: datetime) -> Any:
    return uploads.c.held_until.is_(None) | (uploads.c.held_until < now)


async def keep(
    connection: AsyncConnection, upload_id: UploadId, holder: UUID, until: datetime
) -> bool:
    """Put off when the assembly counts as lost; False if it is somebody else's."""
    statement = _held(upload_id, holder, UploadState.ASSEMBLING).values(held_until=until)
    return (await connection.execute(statement)).rowcount > 0


async def postpone(
    connection: AsyncConnection,
    upload_id: UploadId,
    holder: UUID,
    until: datetime,
    reason: UploadError | None,
) -> None:
    """Leave the assembly to whoever comes next, after that time."""
    statement = _held(upload_id, holder, UploadState.ASSEMBLING)
    await connection.execute(statement.values(held_until=until, **_error_values(reason)))


def _error_values(error: UploadError | None) -> dict[str, Any]:
    return {
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "error_hint": error.hint if error else None,
    }


async def finish(
    connection: AsyncConnection, upload_id: UploadId, holder: UUID, media_id: MediaId
) -> bool:
    """Assembling → finished; False if the assembly is somebody else's meanwhile."""
    statement = _held(upload_id, holder, UploadState.ASSEMBLING).values(
        state=UploadState.FINISHED, media_id=media_id, **_error_values(None)
    )
    return (await connection.execute(statement)).rowcount > 0


async def fail(
    connection: AsyncConnection, upload_id: UploadId, holder: UUID, error: UploadError
) -> bool:
    """Assembling → failed; False if the assembly is somebody else's meanwhile."""
    statement = _held(upload_id, holder, UploadState.ASSEMBLING).values(
        state=UploadState.FAILED, **_error_values(error)
    )
    return (await connection.execute(statement)).rowcount > 0


def _held(upload_id: UploadId, holder: UUID, state: UploadState) -> Update:
    return uploads.update().where(
        uploads.c.id == upload_id, uploads.c.holder == holder, uploads.c.state == state
    )


async def mark_deleting(connection: AsyncConnection, upload_id: UploadId) -> None:
    """Any state → deleting; its objects go next, and its row last."""
    statement = uploads.update().where(uploads.c.id == upload_id)
    await connection.execute(statement.values(state=UploadState.DELETING))


async def mark_expired(connection: AsyncConnection, now: datetime) -> list[UploadId]:
    """Any state → deleting for uploads whose time is over; not one that is being assembled."""
    statement = (
        uploads.update()
        .where(uploads.c.expires_at < now, uploads.c.state != UploadState.DELETING)
        .where(_is_free(now))
        .values(state=UploadState.DELETING)
        .returning(uploads.c.id)
    )
    return list((await connection.execute(statement)).scalars())


async def unsettled(
    connection: AsyncConnection, now: datetime, limit: int
) -> list[tuple[UploadId, UploadState]]:
    """Uploads with work left over: expired, to be deleted, or with somebody's work undone."""
    waiting = (uploads.c.state == UploadState.ASSEMBLING) & uploads.c.held_until.is_(None)
    query = (
        select(uploads.c.id, uploads.c.state)
        .where(
            (uploads.c.state == UploadState.DELETING)
            | waiting
            | (uploads.c.held_until < now)
            | ((uploads.c.expires_at < now) & _is_free(now))
        )
        .limit(limit)
    )
    return [(row.id, UploadState(row.state)) for row in await connection.execute(query)]


async def remove(connection: AsyncConnection, upload_id: UploadId) -> None:
    """Forget an upload whose objects are gone."""
    await connection.execute(
        uploads.delete().where(
            uploads.c.id == upload_id, uploads.c.state == UploadState.DELETING
        )
    )


async def forget_parts(connection: AsyncConnection, upload_id: UploadId) -> None:
    """Forget the parts of an upload that has ended; their objects are gone."""
    await connection.execute(upload_parts.delete().where(upload_parts.c.upload_id == upload_id))
    await connection.execute(
        uploads.update().where(uploads.c.id == upload_id).values(held_until=None)
    )


async def known(connection: AsyncConnection, ids: Sequence[UploadId]) -> set[UploadId]:
    """Which of these uploads there are."""
    query = select(uploads.c.id).where(uploads.c.id.in_(ids))
    return set((await connection.execute(query)).scalars())
