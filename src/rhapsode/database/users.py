"""The queries on users, their logins and their API keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import api_keys, logins, users
from rhapsode.domain.users import ApiKey, KeyId, Role, User, UserId


def user_from_row(row: Row[Any]) -> User:
    """The user of a row."""
    return User(id=row.id, email=row.email, role=Role(row.role), created_at=row.created_at)


async def insert(connection: AsyncConnection, user: User, password_hash: str | None) -> None:
    """Add a user."""
    await connection.execute(
        users.insert().values(
            id=user.id,
            email=user.email,
            role=user.role,
            password_hash=password_hash,
            created_at=user.created_at,
        )
    )


async def page(connection: AsyncConnection) -> list[User]:
    """All users, by address."""
    query = select(users).order_by(users.c.email)
    return [user_from_row(row) for row in await connection.execute(query)]


async def get(connection: AsyncConnection, user_id: UserId) -> User | None:
    """One user by id."""
    row = (await connection.execute(select(users).where(users.c.id == user_id))).one_or_none()
    return None if row is None else user_from_row(row)


async def by_email(connection: AsyncConnection, email: str) -> User | None:
    """One user by address, which must already be cleaned."""
    query = select(users).where(users.c.email == email)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else user_from_row(row)


async def has_admin(connection: AsyncConnection) -> bool:
    """Whether there is an administrator."""
    query = select(users.c.id).where(users.c.role == Role.ADMIN).limit(1)
    return (await connection.execute(query)).first() is not None


async def lock_admins(connection: AsyncConnection) -> set[UserId]:
    """The administrators, who stay so until the transaction is over."""
    query = select(users.c.id).where(users.c.role == Role.ADMIN)
    rows = await connection.execute(query.order_by(users.c.id).with_for_update())
    return {UserId(row.id) for row in rows}


async def password_hash(connection: AsyncConnection, user_id: UserId) -> str | None:
    """The stored hash of a user's password."""
    query = select(users.c.password_hash).where(users.c.id == user_id)
    return (await connection.execute(query)).scalar_one_or_none()


async def set_password_hash(connection: AsyncConnection, user_id: UserId, hashed: str) -> None:
    """Replace a user's password."""
    await connection.execute(
        users.update().where(users.c.id == user_id).values(password_hash=hashed)
    )


async def delete(connection: AsyncConnection, user_id: UserId) -> bool:
    """Remove a user, with logins and keys; False if there was none."""
    result = await connection.execute(users.delete().where(users.c.id == user_id))
    return result.rowcount > 0


async def insert_login(
    connection: AsyncConnection,
    *,
    login_id: UUID,
    user_id: UserId,
    secret_hash: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Add a login."""
    await connection.execute(
        logins.insert().values(
            id=login_id,
            user_id=user_id,
            secret_hash=secret_hash,
            created_at=now,
            expires_at=expires_at,
        )
    )


async def by_login(connection: AsyncConnection, secret_hash: str, now: datetime) -> User | None:
    """Whose login this is, unless it has expired."""
    query = (
        select(users)
        .join(logins, logins.c.user_id == users.c.id)
        .where(logins.c.secret_hash == secret_hash, logins.c.expires_at > now)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else user_from_row(row)


async def delete_login(connection: AsyncConnection, secret_hash: str) -> None:
    """End one login."""
    await connection.execute(logins.delete().where(logins.c.secret_hash == secret_hash))


async def delete_logins_of(connection: AsyncConnection, user_id: UserId) -> None:
    """End every login of a user."""
    await connection.execute(logins.delete().where(logins.c.user_id == user_id))


async def delete_expired_logins(connection: AsyncConnection, now: datetime) -> None:
    """Forget logins that have expired."""
    await connection.execute(logins.delete().where(logins.c.expires_at <= now))


async def insert_key(connection: AsyncConnection, key: ApiKey, secret_hash: str) -> None:
    """Add an API key."""
    await connection.execute(
        api_keys.insert().values(
            id=key.id,
            user_id=key.user_id,
            name=key.name,
            secret_hash=secret_hash,
            created_at=key.created_at,
        )
    )


async def keys_of(connection: AsyncConnection, user_id: UserId | None) -> list[ApiKey]:
    """A user's API keys, or everybody's, newest first."""
    query = select(api_keys).order_by(api_keys.c.id.desc())
    if user_id is not None:
        query = query.where(api_keys.c.user_id == user_id)
    return [
        ApiKey(id=row.id, user_id=row.user_id, name=row.name, created_at=row.created_at)
        for row in await connection.execute(query)
    ]


async def by_key(connection: AsyncConnection, secret_hash: str) -> User | None:
    """Whose API key this is."""
    query = (
        select(users)
        .join(api_keys, api_keys.c.user_id == users.c.id)
        .where(api_keys.c.secret_hash == secret_hash)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else user_from_row(row)


async def delete_key(
    connection: AsyncConnection, key_id: KeyId, user_id: UserId | None
) -> bool:
    """Revoke a key, if it is that user's (None: anybody's); False if it is not."""
    statement = api_keys.delete().where(api_keys.c.id == key_id)
    if user_id is not None:
        statement = statement.where(api_keys.c.user_id == user_id)
    return (await connection.execute(statement)).rowcount > 0
