"""The queries on the audit trail."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import audit_events
from rhapsode.domain.audit import Action, AuditEvent, AuditId


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries a list shows; `subject` is the id of a thing."""

    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    before: AuditId | None = None


def event_from_row(row: Row[Any]) -> AuditEvent:
    """The entry of a row."""
    return AuditEvent(
        id=row.id,
        at=row.at,
        actor_id=row.actor_id,
        action=Action(row.action),
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        detail=row.detail,
    )


async def insert(connection: AsyncConnection, events: Iterable[AuditEvent]) -> None:
    """Add entries."""
    values = [asdict(event) for event in events]
    if values:
        await connection.execute(audit_events.insert(), values)


async def page(
    connection: AsyncConnection, wanted: AuditFilter, limit: int
) -> list[AuditEvent]:
    """The newest entries that fit, at most `limit`."""
    query = select(audit_events).where(*_conditions(wanted))
    rows = await connection.execute(query.order_by(audit_events.c.id.desc()).limit(limit))
    return [event_from_row(row) for row in rows]


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.action is not None:
        conditions.append(audit_events.c.action == wanted.action)
    if wanted.subject is not None:
        conditions.append(audit_events.c.subject_id == wanted.subject)
    if wanted.since is not None:
        conditions.append(audit_events.c.at >= wanted.since)
    if wanted.before is not None:
        conditions.append(audit_events.c.id < wanted.before)
    return conditions


async def forget(connection: AsyncConnection, since: datetime, limit: int) -> int:
    """Remove a batch of the entries that are older than that; returns how many."""
    batch = (
        select(audit_events.c.id)
        .where(audit_events.c.at < since)
        .order_by(audit_events.c.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    statement = audit_events.delete().where(audit_events.c.id.in_(batch))
    return (await connection.execute(statement)).rowcount
