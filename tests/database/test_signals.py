"""Signals: told after the commit, in this process and, by PostgreSQL, in the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from rhapsode.database.engine import Database
from rhapsode.database.relay import Relay
from rhapsode.database.signals import Signal, Topic, decode, encode
from tests.database.rows import empty_database
from tests.support.postgres import Postgres

CHANGED = Signal(Topic.JOB_CHANGED, "job", "user")
QUEUED = Signal(Topic.JOB_QUEUED, "job", "user", "engine/ünïcode")


def test_signals_survive_their_text() -> None:
    assert decode(encode([CHANGED, QUEUED])) == [CHANGED, QUEUED]


async def test_a_commit_tells_its_signals(database: Database) -> None:
    heard: list[Signal] = []
    database.signals.listen(heard.append)

    async with database.write() as transaction:
        transaction.signal(CHANGED, QUEUED)
        before = list(heard)

    assert (before, heard) == ([], [CHANGED, QUEUED])


async def test_what_is_rolled_back_is_not_told(database: Database) -> None:
    heard: list[Signal] = []
    database.signals.listen(heard.append)

    with suppress(ZeroDivisionError):
        async with database.write() as transaction:
            transaction.signal(CHANGED)
            raise ZeroDivisionError

    assert heard == []


async def test_who_stops_listening_hears_nothing(database: Database) -> None:
    heard: list[Signal] = []
    stop = database.signals.listen(heard.append)
    stop()

    async with database.write() as transaction:
        transaction.signal(CHANGED)

    assert heard == []


@asynccontextmanager
async def replicas(
    server: Postgres, pool_size: int = 10
) -> AsyncIterator[tuple[Database, Database]]:
    """Two replicas over one database, each with its relay."""
    url = server.create()
    both = [await empty_database(url, pool_size=pool_size) for _ in range(2)]
    tasks = [asyncio.create_task(Relay(database).run()) for database in both]
    try:
        yield both[0], both[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for database in both:
            await database.close()
        server.drop(url)


async def told(sender: Database, receiver: Database, signal: Signal) -> Signal:
    """The first signal that the receiver hears while the sender repeats it."""
    heard: asyncio.Queue[Signal] = asyncio.Queue()
    stop = receiver.signals.listen(heard.put_nowait)
    try:
        async with asyncio.timeout(20):
            while True:
                async with sender.write() as transaction:
                    transaction.signal(signal)
                with suppress(TimeoutError):
                    return await asyncio.wait_for(heard.get(), 0.2)
    finally:
        stop()


async def test_replicas_hear_each_other(postgres_server: Postgres) -> None:
    async with replicas(postgres_server) as (one, other):
        assert await told(one, other, QUEUED) == QUEUED
        assert await told(other, one, CHANGED) == CHANGED


async def test_listening_takes_nothing_from_the_pool(postgres_server: Postgres) -> None:
    async with replicas(postgres_server, pool_size=1) as (one, other):
        assert await told(one, other, QUEUED) == QUEUED


async def test_a_replica_hears_itself_once(postgres_server: Postgres) -> None:
    async with replicas(postgres_server) as (one, other):
        await told(one, other, QUEUED)
        heard: list[Signal] = []
        one.signals.listen(heard.append)

        async with one.write() as transaction:
            transaction.signal(CHANGED)
        await told(other, one, QUEUED)  # by then an echo would have come

        assert heard.count(CHANGED) == 1


async def test_a_relay_heals_when_its_connections_are_cut(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhapsode.database.relay._CHECK_SECONDS", 0.1)
    async with replicas(postgres_server) as (one, other):
        await told(one, other, QUEUED)

        postgres_server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{one.engine.url.database}'",
            "postgres",
        )

        assert await told(one, other, CHANGED) == CHANGED
