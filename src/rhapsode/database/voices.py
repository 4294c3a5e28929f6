"""The queries on enrolled voices."""

from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import voices
from rhapsode.domain.users import UserId
from rhapsode.domain.voices import Voice, VoiceId


def _voice(row: Row[Any]) -> Voice:
    return Voice(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        model=row.model,
        vector=tuple(row.vector),
        created_at=row.created_at,
    )


async def insert(connection: AsyncConnection, voice: Voice) -> None:
    """Add a voice."""
    await connection.execute(
        voices.insert().values(
            id=voice.id,
            user_id=voice.user_id,
            name=voice.name,
            model=voice.model,
            vector=list(voice.vector),
            created_at=voice.created_at,
        )
    )


async def of_user(connection: AsyncConnection, user_id: UserId) -> list[Voice]:
    """A user's voices, by name."""
    query = select(voices).where(voices.c.user_id == user_id).order_by(voices.c.name)
    return [_voice(row) for row in await connection.execute(query)]


async def count_of(connection: AsyncConnection, user_id: UserId) -> int:
    """How many voices a user enrolled."""
    query = select(func.count()).select_from(voices).where(voices.c.user_id == user_id)
    return int((await connection.execute(query)).scalar_one())


async def delete(connection: AsyncConnection, voice_id: VoiceId, user_id: UserId) -> bool:
    """Remove one of a user's voices; whether it was there."""
    query = voices.delete().where(voices.c.id == voice_id, voices.c.user_id == user_id)
    return (await connection.execute(query)).rowcount == 1
