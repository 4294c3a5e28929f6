"""The queries on deliveries. A sender claims what is due, and only it may settle that."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Row,
    Update,
    and_,
    case,
    func,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import deliveries
from rhapsode.domain.deliveries import (
    UNSETTLED,
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    EndpointId,
)
from rhapsode.domain.jobs import JobId
from rhapsode.domain.users import UserId

_WINDOW = 500
"""So many of the longest due are looked at to share a batch fairly among destinations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which of a user's deliveries a list shows."""

    user_id: UserId
    states: Collection[DeliveryState] = ()
    job_id: JobId | None = None
    endpoint_id: EndpointId | None = None
    before: DeliveryId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a delivery is after an attempt, and what the attempt told."""

    state: DeliveryState
    next_at: datetime
    settled_at: datetime | None
    status: int | None
    latency: float | None
    error: str | None
    response: str | None


def delivery_from_row(row: Row[Any]) -> Delivery:
    """The delivery of a row."""
    return Delivery(
        id=row.id,
        user_id=row.user_id,
        job_id=row.job_id,
        endpoint_id=row.endpoint_id,
        kind=DeliveryKind(row.kind),
        subject=row.subject,
        destination=row.destination,
        url=row.url,
        payload=row.payload,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        created_at=row.created_at,
        settled_at=row.settled_at,
        status=row.status,
        latency=row.latency,
        error=row.error,
        response=row.response,
    )


async def _all(connection: AsyncConnection, statement: Executable) -> list[Delivery]:
    return [delivery_from_row(row) for row in await connection.execute(statement)]


async def insert(connection: AsyncConnection, made: Sequence[Delivery]) -> None:
    """Add new deliveries."""
    if made:
        await connection.execute(deliveries.insert(), [asdict(item) for item in made])


async def get(
    connection: AsyncConnection, delivery_id: DeliveryId, user_id: UserId | None = None
) -> Delivery | None:
    """One delivery; with `user_id`, only if it is that user's."""
    query = select(deliveries).where(deliveries.c.id == delivery_id)
    if user_id is not None:
        query = query.where(deliveries.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else delivery_from_row(row)


async def of_job(connection: AsyncConnection, job_id: JobId) -> list[Delivery]:
    """All deliveries of a job, the oldest first."""
    query = select(deliveries).where(deliveries.c.job_id == job_id).order_by(deliveries.c.id)
    return await _all(connection, query)


async def page(
    connection: AsyncConnection, wanted: DeliveryFilter, limit: int
) -> list[Delivery]:
    """The newest deliveries that fit, at most `limit`."""
    query = select(deliveries).where(*_conditions(wanted))
    return await _all(connection, query.order_by(deliveries.c.id.desc()).limit(limit))


def _conditions(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    conditions = [deliveries.c.user_id == wanted.user_id]
    if wanted.states:
        conditions.append(deliveries.c.state.in_(sorted(wanted.states)))
    if wanted.job_id is not None:
        conditions.append(deliveries.c.job_id == wanted.job_id)
    if wanted.endpoint_id is not None:
        conditions.append(deliveries.c.endpoint_id == wanted.endpoint_id)
    if wanted.before is not None:
        conditions.append(deliveries.c.id < wanted.before)
    return conditions


# Sending


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(deliveries.c.state == "pending", deliveries.c.next_at <= now)


def _fair(now: datetime, share: int, room: Mapping[str, int]) -> Any:
    """Ids of due deliveries, no more of a destination than it has room for."""
    full = sorted(destination for destination, left in room.items() if left <= 0)
    head = (
        select(deliveries.c.id, deliveries.c.destination, deliveries.c.next_at)
        .where(_is_due(now), deliveries.c.destination.not_in(full))
        .order_by(deliveries.c.next_at, deliveries.c.id)
        .limit(_WINDOW)
        .subquery()
    )
    place = func.row_number().over(
        partition_by=head.c.destination, order_by=(head.c.next_at, head.c.id)
    )
    partly = {name: left for name, left in room.items() if left > 0}
    most = case(partly, value=head.c.destination, else_=share) if partly else literal(share)
    ranked = select(head.c.id, place.label("place"), most.label("most")).subquery()
    return select(ranked.c.id).where(ranked.c.place <= ranked.c.most)


async def claim_due(
    connection: AsyncConnection,
    *,
    sender: UUID,
    now: datetime,
    until: datetime,
    limit: int,
    share: int,
    room: Mapping[str, int],
) -> list[Delivery]:
    """Take what is due, the longest due first: one statement, safe among many senders.

    What is not settled by `until` is due once more: its sender is taken for lost. At most
    `share` go to one destination, or as many as `room` says where it names it.
    """
    batch = (
        select(deliveries.c.id)
        .where(deliveries.c.id.in_(_fair(now, share, room)), _is_due(now))
        .order_by(deliveries.c.next_at, deliveries.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # Below IN, PostgreSQL may run it once a row, and then the limit limits nothing.
        .cte("batch")
    )
    statement = (
        deliveries.update()
        .where(deliveries.c.id.in_(select(batch.c.id)), _is_due(now))
        .values(next_at=until, claimed_by=sender, attempts=deliveries.c.attempts + 1)
        .returning(deliveries)
    )
    return sorted(await _all(connection, statement), key=lambda item: item.id)


def _claimed(sender: UUID, ids: Collection[DeliveryId]) -> Update:
    """The compare of every report by a sender: these are still its own."""
    return deliveries.update().where(
        deliveries.c.id.in_(list(ids)),
        deliveries.c.claimed_by == sender,
        deliveries.c.state == "pending",
    )


def _under_way(sender: UUID, ids: Collection[DeliveryId]) -> Update:
    """The same for several at once. What is being settled or called off meanwhile is left
    out: who waits for the locks of many rows in any order may wait crosswise.
    """
    free = (
        select(deliveries.c.id)
        .where(deliveries.c.id.in_(list(ids)), deliveries.c.claimed_by == sender)
        .with_for_update(skip_locked=True)
    )
    return _claimed(sender, ids).where(deliveries.c.id.in_(free))


async def extend(
    connection: AsyncConnection, sender: UUID, ids: Collection[DeliveryId], until: datetime
) -> None:
    """Keep what is still being sent."""
    await connection.execute(_under_way(sender, ids).values(next_at=until))


async def give_back(
    connection: AsyncConnection, sender: UUID, ids: Collection[DeliveryId], now: datetime
) -> int:
    """Return what was not sent, at no cost to it; returns how many."""
    values = {
        "next_at": now,
        "claimed_by": None,
        "attempts": deliveries.c.attempts - 1,
    }
    return (await connection.execute(_under_way(sender, ids).values(values))).rowcount


async def note(
    connection: AsyncConnection, sender: UUID, delivery_id: DeliveryId, attempt: Attempt
) -> Delivery | None:
    """Write down what an attempt came to; None if the delivery is no longer this sender's."""
    statement = _claimed(sender, [delivery_id]).values(**asdict(attempt), claimed_by=None)
    row = (await connection.execute(statement.returning(deliveries))).one_or_none()
    return None if row is None else delivery_from_row(row)


async def next_due(connection: AsyncConnection, full: Collection[str]) -> datetime | None:
    """When the next delivery is due that goes to none of these destinations."""
    query = select(func.min(deliveries.c.next_at)).where(
        deliveries.c.state == "pending", deliveries.c.destination.not_in(sorted(full))
    )
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


async def count_unsettled(connection: AsyncConnection) -> dict[DeliveryState, int]:
    """How many wait to be sent, and how many were given up."""
    counts: dict[DeliveryState, int] = {}
    for state in (DeliveryState.PENDING, DeliveryState.DEAD):
        query = select(func.count()).where(deliveries.c.state == state.value)
        counts[state] = (await connection.execute(query)).scalar_one()
    return counts


# By request, or as the job goes on. Who calls these holds the job's lock.


async def send_again(
    connection: AsyncConnection,
    ids: Collection[DeliveryId],
    now: datetime,
    state: DeliveryState = DeliveryState.PENDING,
) -> None:
    """Make these due now, or held, with all their attempts before them."""
    values = {
        "state": state,
        "attempts": 0,
        "next_at": now,
        "settled_at": None,
        "claimed_by": None,
    }
    await connection.execute(
        deliveries.update().where(deliveries.c.id.in_(list(ids))).values(values)
    )


async def hurry(connection: AsyncConnection, delivery_id: DeliveryId, now: datetime) -> None:
    """Make one due that waits for its next attempt; one that is being sent stays as it is."""
    await connection.execute(
        deliveries.update()
        .where(
            deliveries.c.id == delivery_id,
            deliveries.c.state == "pending",
            deliveries.c.claimed_by.is_(None),
        )
        .values(next_at=now)
    )


async def cancel(
    connection: AsyncConnection, ids: Collection[DeliveryId], now: datetime, reason: str
) -> None:
    """Call off those of them that are not settled."""
    await connection.execute(
        _unsettled(deliveries.c.id.in_(list(ids))).values(
            state=DeliveryState.CANCELED, settled_at=now, error=reason, claimed_by=None
        )
    )


async def supersede(
    connection: AsyncConnection, ids: Collection[DeliveryId], now: datetime, reason: str
) -> None:
    """Call off those of them that did not arrive, whatever became of them before."""
    states = [*UNSETTLED, DeliveryState.DEAD, DeliveryState.EXPIRED]
    await connection.execute(
        deliveries.update()
        .where(deliveries.c.id.in_(list(ids)), deliveries.c.state.in_(sorted(states)))
        .values(state=DeliveryState.CANCELED, settled_at=now, error=reason, claimed_by=None)
    )


async def forget_but_webhooks(connection: AsyncConnection, job_id: JobId) -> None:
    """Remove the deliveries of a job that is to be deleted; webhooks carry all they need."""
    await connection.execute(
        deliveries.delete().where(
            deliveries.c.job_id == job_id, deliveries.c.kind != DeliveryKind.WEBHOOK
        )
    )


async def cancel_artifacts(
    connection: AsyncConnection, job_id: JobId, now: datetime, reason: str
) -> None:
    """Call off what of a job's artifacts is not settled; events go on."""
    await connection.execute(
        _unsettled(deliveries.c.job_id == job_id, deliveries.c.kind == "artifact").values(
            state=DeliveryState.CANCELED, settled_at=now, error=reason, claimed_by=None
        )
    )


def _unsettled(*conditions: ColumnElement[bool]) -> Update:
    return deliveries.update().where(*conditions, deliveries.c.state.in_(sorted(UNSETTLED)))
