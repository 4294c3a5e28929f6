"""Orphans: objects without a row, and rows without an object.

There are none as long as both the database and the store keep what they were given: a row
precedes its object and outlives it. A restored backup or a store that lost something makes
some. What is younger than the policy says is left alone.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database import jobs as jobs_table
from rhapsode.database import retention as table
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.media import Media, MediaId, media_key
from rhapsode.domain.retention import before
from rhapsode.services import audit, media
from rhapsode.services.context import Context, now
from rhapsode.storage.objects import Entry

_PREFIX = "media"
_PAGE = 200
_AT_ONCE = 8
_MOST = 10_000
"""So many orphans are dealt with at a time; the rest comes with the next sweep."""

log = structlog.get_logger(__name__)


async def sweep(context: Context) -> int:
    """Delete what does not fit together and is old enough; returns how many."""
    since = before(now(), context.rules.retention.orphan_days)
    if since is None:
        return 0
    return await _objects(context, since) + await _rows(context, since)


@dataclass(slots=True)
class _Tally:
    """How many were looked at, and which of them are orphans."""

    seen: int = 0
    orphans: list[tuple[MediaId, int]] = field(default_factory=list)

    def is_plausible(self, what: str) -> bool:
        """Whether the lesser part is lost. Otherwise somebody mixed up stores or databases."""
        if 2 * len(self.orphans) <= self.seen:
            return True
        log.error(
            "orphans.suspicious",
            what=what,
            seen=self.seen,
            orphans=len(self.orphans),
            hint="Do database and object store belong together? Nothing was deleted.",
        )
        return False


async def _objects(context: Context, since: datetime) -> int:
    """Objects that no row knows."""
    tally = _Tally()
    async for batch in context.store.entries(_PREFIX):
        old = {found: item for item in batch if (found := _media_of(item)) is not None}
        async with context.database.read() as connection:
            known = await table.known_media(connection, list(old))
        tally.seen += len(old)
        tally.orphans += [
            (media_id, item.size)
            for media_id, item in old.items()
            if media_id not in known and item.modified < since
        ]
        if len(tally.orphans) >= _MOST:
            break
    if not tally.orphans or not tally.is_plausible("objects without a row"):
        return 0
    for media_id, size in tally.orphans:
        await _delete_object(context, media_id, size)
    return len(tally.orphans)


def _media_of(item: Entry) -> MediaId | None:
    """Whose object this is; None for what we did not put there."""
    try:
        media_id = MediaId(UUID(item.key.rpartition("/")[2]))
    except ValueError:
        return None
    return media_id if item.key == media_key(media_id) else None


async def _delete_object(context: Context, media_id: MediaId, size: int) -> None:
    async with context.database.write() as transaction:
        await audit.deleted(
            transaction,
            Action.OBJECT_DELETED,
            media_id,
            Reason.ORPHAN,
            key=media_key(media_id),
            size=size,
        )
    await context.store.delete(media_key(media_id))
    context.recorder.deleted("object", Reason.ORPHAN)


async def _rows(context: Context, since: datetime) -> int:
    """Rows whose object is gone, where no job waits for it: that one shall fail and say so."""
    tally, after = _Tally(), None
    while len(tally.orphans) < _MOST:
        async with context.database.read() as connection:
            page = await table.ready_media(connection, after, since, _PAGE)
        tally.seen += len(page)
        tally.orphans += await _without_object(context, page)
        if len(page) < _PAGE:
            break
        after = page[-1].id
    if not tally.orphans or not tally.is_plausible("recordings without their object"):
        return 0
    return sum([await _delete_row(context, media_id) for media_id, _ in tally.orphans])


async def _without_object(context: Context, page: list[Media]) -> list[tuple[MediaId, int]]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def is_there(item: Media) -> bool:
        async with limit:
            return await context.store.exists(item.key)

    there = await asyncio.gather(*map(is_there, page))
    return [(item.id, item.size) for item, found in zip(page, there, strict=True) if not found]


async def _delete_row(context: Context, media_id: MediaId) -> bool:
    async def still(connection: AsyncConnection) -> bool:
        return not await jobs_table.needs_media(connection, media_id)

    if await context.store.exists(media_key(media_id)):
        return False
    return await media.delete_if(context, media_id, Reason.ORPHAN, still)
