"""The queries on webhook endpoints."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import users, webhook_endpoints
from rhapsode.domain.deliveries import Endpoint, EndpointId, Event, SigningKey
from rhapsode.domain.users import UserId
from rhapsode.domain.webhooks import is_subscribed


def endpoint_from_row(row: Row[Any]) -> Endpoint:
    """The endpoint of a row."""
    return Endpoint(
        id=row.id,
        user_id=row.user_id,
        url=row.url,
        description=row.description,
        events=tuple(Event(name) for name in row.events),
        secrets=tuple(_key(item) for item in row.secrets),
        created_at=row.created_at,
        disabled_reason=row.disabled_reason,
    )


def _key(document: Mapping[str, Any]) -> SigningKey:
    expires = document["expires_at"]
    return SigningKey(document["secret"], datetime.fromisoformat(expires) if expires else None)


def _documents(keys: Iterable[SigningKey]) -> list[dict[str, Any]]:
    return [
        {
            "secret": key.secret,
            "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        }
        for key in keys
    ]


def _values(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "events": [str(event) for event in endpoint.events],
        "secrets": _documents(endpoint.secrets),
        "disabled_reason": endpoint.disabled_reason,
    }


async def lock_owner(connection: AsyncConnection, user_id: UserId) -> None:
    """From here to the commit nobody else adds to what this user has."""
    await connection.execute(
        select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True)
    )


async def count_of(connection: AsyncConnection, user_id: UserId) -> int:
    """How many endpoints a user has."""
    query = select(func.count()).where(webhook_endpoints.c.user_id == user_id)
    found: int = (await connection.execute(query)).scalar_one()
    return found


async def insert(connection: AsyncConnection, endpoint: Endpoint) -> None:
    """Add an endpoint."""
    await connection.execute(
        webhook_endpoints.insert().values(
            id=endpoint.id,
            user_id=endpoint.user_id,
            created_at=endpoint.created_at,
            **_values(endpoint),
        )
    )


async def save(connection: AsyncConnection, endpoint: Endpoint) -> None:
    """Write what may change of an endpoint that was read under `lock`."""
    await connection.execute(
        webhook_endpoints.update()
        .where(webhook_endpoints.c.id == endpoint.id)
        .values(_values(endpoint))
    )


async def get(
    connection: AsyncConnection, endpoint_id: EndpointId, user_id: UserId | None = None
) -> Endpoint | None:
    """One endpoint; with `user_id`, only if it is that user's."""
    query = select(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)
    if user_id is not None:
        query = query.where(webhook_endpoints.c.user_id == user_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else endpoint_from_row(row)


async def lock(
    connection: AsyncConnection, endpoint_id: EndpointId, user_id: UserId
) -> Endpoint | None:
    """A user's endpoint, to be changed before the commit."""
    query = select(webhook_endpoints).where(
        webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id
    )
    row = (await connection.execute(query.with_for_update())).one_or_none()
    return None if row is None else endpoint_from_row(row)


async def all_of(connection: AsyncConnection, user_id: UserId) -> list[Endpoint]:
    """A user's endpoints, newest first."""
    found = await connection.execute(_of(user_id))
    return [endpoint_from_row(row) for row in found]


def _of(user_id: UserId) -> Select[Any]:
    return (
        select(webhook_endpoints)
        .where(webhook_endpoints.c.user_id == user_id)
        .order_by(webhook_endpoints.c.id.desc())
    )


async def subscribed(
    connection: AsyncConnection, user_id: UserId, event: Event
) -> list[Endpoint]:
    """The user's endpoints that are to be told of an event; until the commit they stay."""
    rows = await connection.execute(_of(user_id).with_for_update(read=True, key_share=True))
    found = [endpoint_from_row(row) for row in rows]
    return [endpoint for endpoint in found if is_subscribed(endpoint, event)]


async def disable(connection: AsyncConnection, endpoint: Endpoint, reason: str) -> bool:
    """Send nothing to this URL any more; False where that is so already, or it has changed."""
    statement = (
        webhook_endpoints.update()
        .where(
            webhook_endpoints.c.id == endpoint.id,
            webhook_endpoints.c.url == endpoint.url,
            webhook_endpoints.c.disabled_reason.is_(None),
        )
        .values(disabled_reason=reason)
    )
    return (await connection.execute(statement)).rowcount > 0


async def delete(connection: AsyncConnection, endpoint_id: EndpointId, user_id: UserId) -> bool:
    """Remove a user's endpoint and its deliveries; False if it was not there."""
    statement = webhook_endpoints.delete().where(
        webhook_endpoints.c.id == endpoint_id, webhook_endpoints.c.user_id == user_id
    )
    return (await connection.execute(statement)).rowcount > 0
