"""Retention: what was kept for long enough is deleted. Safe in every replica at once.

Recordings go the way of all media: row marked, object gone, row gone. Each deletion is
noted in the audit trail in the transaction that decides it, and counted.
"""

import asyncio
from datetime import datetime

from rhapsode.database import audit as audit_table
from rhapsode.database import retention as table
from rhapsode.database.retention import Cutoff
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.audit import Action, Reason
from rhapsode.domain.media import MediaId
from rhapsode.domain.retention import (
    READING_DAYS,
    UNDELIVERED_DAYS,
    UNUSED_DAYS,
    before,
)
from rhapsode.services import audit, orphans
from rhapsode.services import media as media_service
from rhapsode.services.context import Context, now
from rhapsode.services.sweeping import tried

BATCH = 100
_ROUNDS = 10
"""So many batches at a time: other work waits, and the next sweep comes soon."""

_CLEAN_UP_SECONDS = 600.0
_ORPHANS_SECONDS = 6 * 3600.0


async def run(context: Context) -> None:
    """Sweep for as long as the application runs; apart from leases, which must not wait."""
    due: dict[float, float] = {_CLEAN_UP_SECONDS: 0.0, _ORPHANS_SECONDS: _CLEAN_UP_SECONDS}
    work = {_CLEAN_UP_SECONDS: clean_up, _ORPHANS_SECONDS: orphans.sweep}
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        await tried(sweep(context))
        for every, step in work.items():
            if loop.time() - started >= due[every]:
                await tried(step(context))
                due[every] = loop.time() - started + every
        await asyncio.sleep(context.rules.sweep_seconds)


async def sweep(context: Context) -> int:
    """Delete the transcripts and recordings whose time is over; returns how many."""
    deleted = 0
    for _ in range(_ROUNDS):
        found = await _transcripts(context) + await _media(context)
        deleted += found
        if found < BATCH:
            break
    return deleted


async def clean_up(context: Context) -> int:
    """Delete unused recordings and old entries of the audit trail; returns how many."""
    return await _unused(context) + await _audit(context)


async def _transcripts(context: Context) -> int:
    policy, moment = context.rules.retention, now()
    cutoff = Cutoff(
        now=moment,
        ended=before(moment, policy.transcript_days, READING_DAYS),
        undelivered=before(moment, policy.transcript_days, UNDELIVERED_DAYS),
    )
    async with context.database.read() as connection:
        due = await table.due_transcripts(connection, cutoff, BATCH)
    if not due:
        return 0
    async with context.database.write() as transaction:
        deleted = await table.delete_transcripts(transaction.connection, due, cutoff)
        for item in deleted:
            await audit.deleted(
                transaction,
                Action.TRANSCRIPT_DELETED,
                item.job_id,
                Reason.RETENTION,
                owner=str(item.user_id),
            )
            changed = Signal(Topic.JOB_CHANGED, str(item.job_id), str(item.user_id))
            transaction.signal(changed)
    context.recorder.deleted("transcript", Reason.RETENTION, len(deleted))
    return len(deleted)


async def _media(context: Context) -> int:
    moment = now()
    ended = before(moment, context.rules.retention.media_days)
    cutoff = Cutoff(now=moment, ended=ended)
    async with context.database.read() as connection:
        due = await table.due_media(connection, cutoff, BATCH)

    async def gone(media_id: MediaId) -> bool:
        return await media_service.delete_if(
            context,
            media_id,
            Reason.RETENTION,
            lambda connection: table.is_free(connection, media_id, cutoff),
        )

    return sum([await gone(media_id) for media_id in due])


async def _unused(context: Context) -> int:
    since = before(now(), context.rules.retention.unused_media_days, UNUSED_DAYS)
    if since is None:
        return 0
    deleted = 0
    for _ in range(_ROUNDS):
        found = await _unused_batch(context, since)
        deleted += found
        if found < BATCH:
            break
    return deleted


async def _unused_batch(context: Context, since: datetime) -> int:
    async with context.database.read() as connection:
        due = await table.unused_media(connection, since, BATCH)

    async def gone(media_id: MediaId) -> bool:
        return await media_service.delete_if(
            context,
            media_id,
            Reason.UNUSED,
            lambda connection: table.is_unused(connection, media_id, since),
        )

    return sum([await gone(media_id) for media_id in due])


async def _audit(context: Context) -> int:
    since = before(now(), context.rules.retention.audit_days)
    if since is None:
        return 0
    forgotten = 0
    while True:
        async with context.database.write() as transaction:
            found = await audit_table.forget(transaction.connection, since, BATCH)
        forgotten += found
        if found < BATCH:
            return forgotten
