"""The queries on media."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import media
from rhapsode.domain.media import Media, MediaId, MediaProbe, MediaState
from rhapsode.domain.users import UserId


def media_from_row(row: Row[Any]) -> Media:
    """The media of a row."""
    return Media(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        state=MediaState(row.state),
        size=row.size,
        created_at=row.created_at,
        digest=row.digest,
        probe=None if row.probe is None else MediaProbe(**row.probe),
    )


async def insert(connection: AsyncConnection, item: Media) -> None:
    """Add a media that is about to be received."""
    await connection.execute(
        media.insert().values(
            id=item.id,
            user_id=item.user_id,
            name=item.name,
            state=item.state,
            size=item.size,
            created_at=item.created_at,
            touched_at=item.created_at,
        )
    )


async def touch(connection: AsyncConnection, media_id: MediaId, now: datetime) -> bool:
    """Note that its bytes still arrive; False if it was given up meanwhile."""
    statement = (
        media.update()
        .where(media.c.id == media_id, media.c.state == MediaState.RECEIVING)
        .values(touched_at=now)
    )
    return (await connection.execute(statement)).rowcount > 0


async def used(connection: AsyncConnection, media_id: MediaId, now: datetime) -> None:
    """Note that it was put to some use until now."""
    await connection.execute(
        media.update().where(media.c.id == media_id).values(touched_at=now)
    )


async def settle(
    connection: AsyncConnection,
    media_id: MediaId,
    *,
    size: int,
    digest: str,
    probe: MediaProbe,
    now: datetime,
) -> Media | None:
    """Receiving → ready; None if it was given up meanwhile."""
    statement = (
        media.update()
        .where(media.c.id == media_id, media.c.state == MediaState.RECEIVING)
        .values(
            state=MediaState.READY,
            size=size,
            digest=digest,
            probe=asdict(probe),
            touched_at=now,
        )
        .returning(media)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else media_from_row(row)


async def get(
    connection: AsyncConnection, media_id: MediaId, user_id: UserId | None = None
) -> Media | None:
    """One media that is ready; with `user_id`, only if it is that user's."""
    query = select(media).where(media.c.id == media_id, media.c.state == MediaState.READY)
    if user_id is not None:
        query = query.where(media.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else media_from_row(row)


async def lock(connection: AsyncConnection, media_id: MediaId) -> Media | None:
    """One ready media, locked so that it cannot begin to be deleted before the commit."""
    query = select(media).where(media.c.id == media_id, media.c.state == MediaState.READY)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else media_from_row(row)


async def page(
    connection: AsyncConnection,
    user_id: UserId,
    *,
    before: MediaId | None,
    digest: str | None,
    limit: int,
) -> list[Media]:
    """A user's newest media, at most `limit`."""
    query = select(media).where(media.c.user_id == user_id, media.c.state == MediaState.READY)
    if before is not None:
        query = query.where(media.c.id < before)
    if digest is not None:
        query = query.where(media.c.digest == digest)
    rows = await connection.execute(query.order_by(media.c.id.desc()).limit(limit))
    return [media_from_row(row) for row in rows]


async def mark_deleting(connection: AsyncConnection, media_id: MediaId, now: datetime) -> bool:
    """Any state → deleting; its object goes next, and its row last."""
    statement = (
        media.update()
        .where(media.c.id == media_id)
        .values(state=MediaState.DELETING, touched_at=now)
    )
    return (await connection.execute(statement)).rowcount > 0


async def give_up(connection: AsyncConnection, media_id: MediaId, now: datetime) -> bool:
    """Receiving → deleting; False if it was not being received."""
    statement = (
        media.update()
        .where(media.c.id == media_id, media.c.state == MediaState.RECEIVING)
        .values(state=MediaState.DELETING, touched_at=now)
    )
    return (await connection.execute(statement)).rowcount > 0


async def mark_abandoned(
    connection: AsyncConnection, since: datetime, now: datetime
) -> list[Media]:
    """Receiving → deleting for uploads of which nothing was heard since then."""
    statement = (
        media.update()
        .where(media.c.state == MediaState.RECEIVING, media.c.touched_at < since)
        .values(state=MediaState.DELETING, touched_at=now)
        .returning(media)
    )
    return [media_from_row(row) for row in await connection.execute(statement)]


async def has_unsettled(connection: AsyncConnection, since: datetime) -> bool:
    """Whether an upload is abandoned since then, or a removal unfinished."""
    query = select(media.c.id).where(
        media.c.state != MediaState.READY,
        (media.c.state == MediaState.DELETING) | (media.c.touched_at < since),
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def deleting(connection: AsyncConnection, limit: int) -> list[MediaId]:
    """Media whose object has to go."""
    query = select(media.c.id).where(media.c.state == MediaState.DELETING).limit(limit)
    return list((await connection.execute(query)).scalars())


async def remove(connection: AsyncConnection, media_id: MediaId) -> None:
    """Forget a media whose object is gone."""
    await connection.execute(
        media.delete().where(media.c.id == media_id, media.c.state == MediaState.DELETING)
    )
