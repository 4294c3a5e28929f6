"""The queries on flags: switches that hold for every replica, and over restarts."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import flags


async def get(connection: AsyncConnection, name: str) -> Any:
    """What a flag was set to; None if it never was."""
    query = select(flags.c.value).where(flags.c.name == name)
    return (await connection.execute(query)).scalar_one_or_none()


async def put(connection: AsyncConnection, name: str, value: Any, now: datetime) -> None:
    """Set a flag."""
    insert: Any = (
        postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    )
    statement = insert(flags).values(name=name, value=value, changed_at=now)
    changed = {key: statement.excluded[key] for key in ("value", "changed_at")}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_=changed)
    )
