"""The queries on idempotency keys: which request a key stood for, and what it made."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import idempotency_keys
from rhapsode.domain.users import UserId


@dataclass(frozen=True, slots=True)
class Used:
    """An idempotency key that was used: by which request, and what came of it."""

    fingerprint: str
    resource_id: UUID


class KeyTaken(Exception):
    """The key was used by another request that committed first."""


async def get(connection: AsyncConnection, user_id: UserId, key: str) -> Used | None:
    """How a user's key was used."""
    query = select(idempotency_keys.c.fingerprint, idempotency_keys.c.resource_id).where(
        idempotency_keys.c.user_id == user_id, idempotency_keys.c.key == key
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Used(row.fingerprint, row.resource_id)


async def insert(
    connection: AsyncConnection, user_id: UserId, key: str, used: Used, now: datetime
) -> None:
    """Note the use of a key; KeyTaken if another request was first."""
    try:
        await connection.execute(
            idempotency_keys.insert().values(
                user_id=user_id,
                key=key,
                fingerprint=used.fingerprint,
                resource_id=used.resource_id,
                created_at=now,
            )
        )
    except IntegrityError as error:
        raise KeyTaken from error


async def forget(connection: AsyncConnection, since: datetime) -> None:
    """Remove keys older than that."""
    await connection.execute(
        idempotency_keys.delete().where(idempotency_keys.c.created_at < since)
    )
