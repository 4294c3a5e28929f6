"""What database and object store hold in the end, read past the API."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from rhapsode.database.engine import Database, open_database
from rhapsode.database.tables import jobs, media, transcripts
from rhapsode.settings import Settings
from rhapsode.storage.objects import ObjectStore, StoreConfig, open_store


@dataclass(frozen=True)
class Books:
    """Every row that matters, and every object with its digest."""

    jobs: list[Any]
    transcripts: list[Any]
    media: list[Any]
    objects: dict[str, str]

    def lost(self) -> list[str]:
        """Media without their bytes."""
        return [m.name for m in self.media if self.objects.get(f"media/{m.id}") != m.digest]

    def orphans(self) -> set[str]:
        """Objects that no media owns."""
        return set(self.objects) - {f"media/{m.id}" for m in self.media}

    def settled(self) -> bool:
        """Whether no upload is open and nothing waits to be removed."""
        return {m.state for m in self.media} <= {"ready"}


async def books(settings: Settings, store: StoreConfig) -> Books:
    """Read them all."""
    database = open_database(settings.database_url)
    try:
        return Books(
            jobs=await _rows(database, jobs),
            transcripts=await _rows(database, transcripts),
            media=await _rows(database, media),
            objects=await _objects(open_store(store)),
        )
    finally:
        await database.close()


async def media_states(settings: Settings) -> set[str]:
    database = open_database(settings.database_url)
    try:
        return {row.state for row in await _rows(database, media)}
    finally:
        await database.close()


async def _rows(database: Database, table: Any) -> list[Any]:
    async with database.read() as connection:
        return list(await connection.execute(select(table)))


async def _objects(store: ObjectStore) -> dict[str, str]:
    found = {}
    for key in await store.keys("media"):
        digest = hashlib.sha256()
        async for chunk in await store.stream(key):
            digest.update(chunk)
        found[key] = digest.hexdigest()
    return found
