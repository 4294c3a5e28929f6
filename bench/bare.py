"""The same transactions as bare SQL, without a server: what the database alone can do.

A process of its own (`python -m bench.bare`). On PostgreSQL each worker is a coroutine with
an asyncpg connection; on SQLite a thread with a connection of its own, where one lock admits
one writer at a time, since waiting within SQLite would make the baseline slower.
"""

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import uvloop

from bench.fleet import ENGINE, MODEL, packed_transcript
from bench.worker import Orders

_REQUIREMENT = f"{ENGINE}/{MODEL}"
_COLUMNS = "id, media_id, name, spec, state, attempt, max_attempts, duration, created_at"

_CLAIM = f"""
UPDATE jobs SET state = 'running', runner_id = {{runner}}, runner_name = 'bare',
    started_at = {{now}}, lease_expires_at = {{lease}}
WHERE id = (
    SELECT id FROM jobs WHERE state = 'queued' AND requirement IN ('{_REQUIREMENT}')
    ORDER BY queue_rank, id LIMIT 1 {{lock}}
) AND state = 'queued' RETURNING {_COLUMNS}"""

_MEDIA = "SELECT * FROM media WHERE id = {media} AND state = 'ready'"

_FINISH = f"""
UPDATE jobs SET state = 'finished', finished_at = {{now}}, language = 'en', duration = 2.5,
    warnings = '[]', lease_expires_at = NULL, stage = NULL, fraction = NULL,
    error_code = NULL, error_message = NULL
WHERE id = {{job}} AND state = 'running' AND attempt = {{attempt}} AND runner_id = {{runner}}
RETURNING {_COLUMNS}"""

_STORE = """
INSERT INTO transcripts (job_id, attempt, document, created_at)
VALUES ({job}, {attempt}, {document}, {now})"""


# PostgreSQL


_PG_CLAIM = _CLAIM.format(runner="$1", now="$2", lease="$3", lock="FOR UPDATE SKIP LOCKED")
_PG_MEDIA = _MEDIA.format(media="$1")
_PG_FINISH = _FINISH.format(now="$1", job="$2", attempt="$3", runner="$4")
_PG_STORE = _STORE.format(job="$1", attempt="$2", document="$3", now="$4")


async def _pg_pair(connection: Any, runner: Any, document: bytes) -> bool:
    now = datetime.now(UTC)
    async with connection.transaction():
        job = await connection.fetchrow(_PG_CLAIM, runner, now, now + timedelta(seconds=60))
        if job is None:
            return False
        await connection.fetchrow(_PG_MEDIA, job["media_id"])
    async with connection.transaction():
        await connection.fetchrow(_PG_FINISH, now, job["id"], job["attempt"], runner)
        await connection.execute(_PG_STORE, job["id"], job["attempt"], document, now)
    return True


class PostgresWorkers:
    """Coroutines, each with a connection."""

    async def open(self, url: str, count: int) -> None:
        self._connections = [await asyncpg.connect(url) for _ in range(count)]

    async def drain(self, jobs: int) -> float:
        """The seconds that so many claims and finishes take."""
        from uuid_utils.compat import uuid7

        document = packed_transcript()
        left = jobs

        async def work(connection: Any) -> None:
            nonlocal left
            runner = uuid7()
            while left > 0:
                left -= 1
                assert await _pg_pair(connection, runner, document), "the queue ran empty"

        started = time.monotonic()
        await asyncio.gather(*(work(connection) for connection in self._connections))
        return time.monotonic() - started


# SQLite


_LITE_CLAIM = _CLAIM.format(runner=":runner", now=":now", lease=":lease", lock="")
_LITE_MEDIA = _MEDIA.format(media=":media")
_LITE_FINISH = _FINISH.format(now=":now", job=":job", attempt=":attempt", runner=":runner")
_LITE_STORE = _STORE.format(job=":job", attempt=":attempt", document=":document", now=":now")


def lite(path: str) -> sqlite3.Connection:
    """A connection with the pragmas of the server's."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _lite_pair(
    connection: sqlite3.Connection, lock: threading.Lock, values: dict[str, Any]
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    values = {**values, "now": str(now), "lease": str(now + timedelta(seconds=60))}
    with lock:
        connection.execute("BEGIN IMMEDIATE")
        claimed = connection.execute(_LITE_CLAIM, values).fetchone()
        if claimed is None:
            connection.execute("ROLLBACK")
            raise LookupError("the queue ran empty")
        job, media, _, _, _, attempt, *_ = claimed
        connection.execute(_LITE_MEDIA, {"media": media}).fetchone()
        connection.execute("COMMIT")
    values |= {"job": job, "attempt": attempt}
    with lock:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_LITE_FINISH, values).fetchone()
        connection.execute(_LITE_STORE, values)
        connection.execute("COMMIT")


class SqliteWorkers:
    """Threads, each with a connection."""

    async def open(self, url: str, count: int) -> None:
        path = url.removeprefix("sqlite:///")
        self._connections = [lite(path) for _ in range(count)]

    async def drain(self, jobs: int) -> float:
        """The seconds that so many claims and finishes take."""
        return await asyncio.to_thread(self._drain, jobs)

    def _drain(self, jobs: int) -> float:
        lock, tickets = threading.Lock(), iter(range(jobs))
        document = packed_transcript()

        def work(number: int) -> Callable[[], None]:
            def body() -> None:
                values = {"runner": f"{number:032x}", "document": document}
                while next(tickets, None) is not None:
                    _lite_pair(self._connections[number], lock, values)

            return body

        threads = [threading.Thread(target=work(n)) for n in range(len(self._connections))]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - started


async def main() -> None:
    orders = Orders()
    await orders.open()
    setup = await orders.next()
    assert setup is not None
    is_sqlite = setup["url"].startswith("sqlite")
    workers = SqliteWorkers() if is_sqlite else PostgresWorkers()
    await workers.open(setup["url"], setup["workers"])
    orders.answer(ready=True)
    while command := await orders.next():
        orders.answer(seconds=await workers.drain(command["jobs"]))


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
