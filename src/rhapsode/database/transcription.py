"""The queries on the records of `/transcription/`: numbers for jobs, and who has read them."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, extract, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.jobs import job_from_row
from rhapsode.database.tables import deliveries, jobs, users
from rhapsode.database.tables import transcription_requests as table
from rhapsode.domain.deliveries import UNSETTLED, DeliveryKind, DeliveryState
from rhapsode.domain.jobs import TERMINAL, Job, JobId
from rhapsode.domain.transcription import Asked, NotificationType, Record
from rhapsode.domain.users import UserId


async def insert(connection: AsyncConnection, job: Job, asked: Asked) -> int:
    """Give a job its number."""
    statement = table.insert().values(
        job_id=job.id,
        user_id=job.user_id,
        request=asked.document,
        notification_type=asked.notification_type,
        expiration_seconds=asked.expiration_seconds,
        created_at=job.created_at,
    )
    found = (await connection.execute(statement.returning(table.c.number))).scalar_one()
    return int(found)


_HAS_ENDED = jobs.c.state.in_(sorted(TERMINAL))
# A job that was tried again after it had been read ends anew, and is to be read anew.
_IS_READ = and_(_HAS_ENDED, table.c.read_at >= jobs.c.finished_at)


def _records() -> Select[Any]:
    notified = select(deliveries.c.id).where(
        deliveries.c.job_id == table.c.job_id,
        deliveries.c.kind == DeliveryKind.NOTIFICATION.value,
        deliveries.c.state == DeliveryState.DELIVERED.value,
    )
    return (
        select(
            jobs,
            users.c.email.label("owner"),
            table.c.number,
            table.c.request,
            table.c.notification_type,
            table.c.expiration_seconds,
            table.c.read_at,
            notified.exists().label("url_notified"),
        )
        .join(table, table.c.job_id == jobs.c.id)
        .join(users, users.c.id == table.c.user_id)
    )


def _record_from_row(row: Row[Any]) -> Record:
    return Record(
        number=row.number,
        job=job_from_row(row),
        owner=row.owner,
        request=row.request,
        notification_type=NotificationType(row.notification_type),
        expiration_seconds=row.expiration_seconds,
        read_at=row.read_at,
        url_notified=bool(row.url_notified),
    )


async def get(connection: AsyncConnection, number: int) -> Record | None:
    """One record by its number."""
    row = (await connection.execute(_records().where(table.c.number == number))).one_or_none()
    return None if row is None else _record_from_row(row)


async def of_job(connection: AsyncConnection, job_id: JobId) -> Record | None:
    """The record of a job; None where the job came another way."""
    row = (await connection.execute(_records().where(table.c.job_id == job_id))).one_or_none()
    return None if row is None else _record_from_row(row)


async def page(
    connection: AsyncConnection, user_id: UserId | None, offset: int, limit: int
) -> list[Record]:
    """A user's records, or everybody's, oldest first, without those that were read once."""
    query = _records().where(or_(table.c.read_at.is_(None), ~_IS_READ))
    if user_id is not None:
        query = query.where(table.c.user_id == user_id)
    query = query.order_by(table.c.number).offset(offset).limit(limit)
    return [_record_from_row(row) for row in await connection.execute(query)]


async def mark_read(connection: AsyncConnection, number: int, now: datetime) -> None:
    """Note that a client was sent a job's end; the first time counts, and only an end."""
    ended = select(jobs.c.id).where(jobs.c.id == table.c.job_id, _HAS_ENDED)
    unread = select(jobs.c.id).where(
        jobs.c.id == table.c.job_id, table.c.read_at < jobs.c.finished_at
    )
    await connection.execute(
        table.update()
        .where(
            table.c.number == number,
            ended.exists(),
            or_(table.c.read_at.is_(None), unread.exists()),
        )
        .values(read_at=now)
    )


async def due(
    connection: AsyncConnection, now: datetime, read_before: datetime, limit: int
) -> list[Record]:
    """Records whose time is over and of whose job nothing is still on its way out."""
    query = _records().where(_HAS_ENDED, _is_over(now, read_before), ~_unsettled().exists())
    rows = await connection.execute(query.order_by(table.c.number).limit(limit))
    return [_record_from_row(row) for row in rows]


def _is_over(now: datetime, read_before: datetime) -> ColumnElement[bool]:
    ends = extract("epoch", jobs.c.finished_at) + table.c.expiration_seconds
    return or_(
        and_(table.c.read_at < read_before, _IS_READ),
        and_(or_(table.c.read_at.is_(None), ~_IS_READ), ends < now.timestamp()),
    )


def _unsettled() -> Select[Any]:
    return select(deliveries.c.id).where(
        deliveries.c.job_id == table.c.job_id,
        deliveries.c.state.in_(sorted(UNSETTLED)),
    )


async def delete(connection: AsyncConnection, number: int) -> None:
    """Forget a record, but not its job."""
    await connection.execute(table.delete().where(table.c.number == number))
