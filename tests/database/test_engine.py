"""Connections and transactions, on both databases."""

import asyncio

import pytest
from sqlalchemy import text

from rhapsode.database.engine import Database, open_database
from rhapsode.database.signals import Signal, Topic
from tests.support.postgres import Postgres

SIGNAL = Signal(Topic.JOB_CHANGED, "job", "user")


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int(
            (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one()
        )


async def opened(url: str) -> Database:
    database = open_database(url)
    async with database.write() as transaction:
        await transaction.connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    return database


INSERT = text("INSERT INTO numbers VALUES (1)")


async def test_a_single_statement_is_its_own_transaction(database_url: str) -> None:
    database, heard = await opened(database_url), list[Signal]()
    database.signals.listen(heard.append)
    async with database.write_once() as transaction:
        await transaction.connection.execute(INSERT)
        transaction.signal(SIGNAL)
        assert await count(database) == 1
        assert heard == []
    assert heard == [SIGNAL]
    await database.close()


async def test_a_transaction_is_undone_by_an_error(database_url: str) -> None:
    database, heard = await opened(database_url), list[Signal]()
    database.signals.listen(heard.append)

    async def fail() -> None:
        async with database.write() as transaction:
            await transaction.connection.execute(INSERT)
            transaction.signal(SIGNAL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (await count(database), heard) == (0, [])
    await database.close()


async def test_writes_at_the_same_time_all_arrive(database_url: str) -> None:
    database = await opened(database_url)

    async def write(number: int) -> None:
        way = database.write if number % 2 else database.write_once
        async with way() as transaction:
            await transaction.connection.execute(INSERT)

    await asyncio.gather(*(write(number) for number in range(40)))
    assert await count(database) == 40
    await database.close()


async def test_a_connection_that_was_closed_is_replaced(postgres_server: Postgres) -> None:
    url = postgres_server.create()
    database = await opened(url)
    assert await count(database) == 0
    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{url.rpartition('/')[2]}'",
        "postgres",
    )
    await asyncio.sleep(0.1)  # until the driver has read the end of the connection
    assert await count(database) == 0
    await database.close()
    postgres_server.drop(url)
