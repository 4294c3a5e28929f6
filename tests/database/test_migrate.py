"""Migrations lead to exactly the tables, on each database."""

from rhapsode.database.engine import open_database
from rhapsode.database.migrate import differences, migrate


async def test_migrations_equal_the_tables(database_url: str) -> None:
    database = open_database(database_url)

    reached = await migrate(database)

    assert (reached, await differences(database)) == ("0001", [])
    await database.close()


async def test_migrations_go_down_and_up_again(database_url: str) -> None:
    database = open_database(database_url)
    await migrate(database)

    assert await migrate(database, "base") == "base"
    assert await migrate(database) == "0001"
    await database.close()
