"""An empty database of each kind."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from rhapsode.database.engine import Database
from rhapsode.database.tables import metadata
from tests.database.rows import empty_database
from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        database = await empty_database(f"sqlite:///{tmp_path / 'test.db'}")
    else:
        database = await empty_database(request.getfixturevalue("postgres_url"))
        await _empty(database)
    yield database
    await database.close()


async def _empty(database: Database) -> None:
    names = ", ".join(table.name for table in metadata.sorted_tables)
    async with database.engine.begin() as connection:
        await connection.execute(text(f"TRUNCATE {names}"))
