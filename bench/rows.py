"""Fills a database with jobs, a million in seconds, and puts used ones back into the queue."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from bench.bare import lite
from bench.fleet import MODEL, packed_transcript
from rhapsode.domain.jobs import JobSpec

_SHARED_MEDIA = 1000
_JOB_COLUMNS = (
    *("id", "user_id", "media_id", "name", "spec", "requirement", "queue_rank", "state"),
    *("attempt", "max_attempts", "created_at", "queued_at", "warnings"),
)
_MEDIA_COLUMNS = (
    *("id", "user_id", "name", "state", "size", "digest", "probe", "created_at"),
    "touched_at",
)
_TRANSCRIPT_COLUMNS = ("job_id", "attempt", "document", "created_at")

_RESET = """
UPDATE jobs SET state = 'queued', runner_id = NULL, runner_name = NULL, started_at = NULL,
    finished_at = NULL, lease_expires_at = NULL, language = NULL, duration = NULL, attempt = 1
WHERE id >= {first} AND state <> 'queued'"""
_EMPTY = "UPDATE jobs SET state = 'finished' WHERE state IN ('queued', 'running')"
_FORGET = "DELETE FROM transcripts WHERE job_id >= {first}"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Content:
    """What a table holds: old jobs that are finished, and newer ones that wait."""

    user_id: UUID
    finished: int
    queued: int

    def media(self) -> Iterator[tuple[UUID, Row]]:
        """Recordings that exist as rows only: no one fetches them here."""
        probe = json.dumps(
            {
                "container": "wav",
                "codec": "pcm_s16le",
                "channels": 1,
                "sample_rate": 16000,
                "duration": 2.5,
                "has_video": False,
            }
        )
        now = datetime.now(UTC)
        for number in range(_SHARED_MEDIA):
            key = uuid7()
            name, digest = f"bench-{number}.wav", f"{number:064x}"
            yield key, (key, self.user_id, name, "ready", 80_044, digest, probe, now, now)

    def jobs(self, media: list[UUID], ids: list[UUID]) -> Iterator[Row]:
        """One job for each id, the first of them finished."""
        spec = JobSpec(model=MODEL, language="en")
        document, now = json.dumps(asdict(spec)), datetime.now(UTC)
        for number, key in enumerate(ids):
            state = "finished" if number < self.finished else "queued"
            about = (document, spec.requirement, -int(spec.priority), state)
            owner = (self.user_id, media[number % len(media)], f"bench-{number}.wav")
            yield (key, *owner, *about, 1, 3, now, now, "[]")

    def transcripts(self, ids: list[UUID]) -> Iterator[Row]:
        """The transcripts of the finished ones."""
        document, now = packed_transcript(), datetime.now(UTC)
        return ((key, 1, document, now) for key in ids[: self.finished])


class Rows(Protocol):
    """A database as the benchmark sees it, past the server."""

    async def fill(self, finished: int, queued: int) -> None:
        """Insert jobs of the administrator's."""

    async def renew(self) -> None:
        """Put what was claimed back into the queue, and tidy up as after a quiet night."""

    async def empty_queue(self) -> None:
        """Let nothing wait and nothing run, without any rows less."""


class PostgresRows:
    """By COPY."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._first = UUID(int=0)

    async def fill(self, finished: int, queued: int) -> None:
        """See `Rows`."""
        connection = await asyncpg.connect(self._url)
        content = Content(
            await connection.fetchval("SELECT id FROM users LIMIT 1"), finished, queued
        )
        ids = [uuid7() for _ in range(finished + queued)]
        self._first = ids[finished]
        media = dict(content.media())
        copy = connection.copy_records_to_table
        await copy("media", records=media.values(), columns=_MEDIA_COLUMNS)
        await copy("jobs", records=content.jobs(list(media), ids), columns=_JOB_COLUMNS)
        await copy("transcripts", records=content.transcripts(ids), columns=_TRANSCRIPT_COLUMNS)
        await self._tidy(connection)
        await connection.close()

    async def renew(self) -> None:
        """See `Rows`."""
        connection = await asyncpg.connect(self._url)
        await connection.execute(_RESET.format(first="$1"), self._first)
        await connection.execute(_FORGET.format(first="$1"), self._first)
        await self._tidy(connection)
        await connection.close()

    async def empty_queue(self) -> None:
        """See `Rows`."""
        connection = await asyncpg.connect(self._url)
        await connection.execute(_EMPTY)
        await self._tidy(connection)
        await connection.close()

    async def _tidy(self, connection: Any) -> None:
        for table in ("jobs", "transcripts", "media"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
        await connection.execute("CHECKPOINT")


class SqliteRows:
    """By executemany, in one transaction a table."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")
        self._first = ""

    async def fill(self, finished: int, queued: int) -> None:
        """See `Rows`."""
        connection = lite(self._path)
        user = connection.execute("SELECT id FROM users LIMIT 1").fetchone()[0]
        content = Content(UUID(user), finished, queued)
        ids = [uuid7() for _ in range(finished + queued)]
        self._first = ids[finished].hex
        media = dict(content.media())
        with _once(connection):
            _insert(connection, "media", _MEDIA_COLUMNS, iter(media.values()))
            _insert(connection, "jobs", _JOB_COLUMNS, content.jobs(list(media), ids))
            _insert(connection, "transcripts", _TRANSCRIPT_COLUMNS, content.transcripts(ids))
        self._tidy(connection)
        connection.close()

    async def renew(self) -> None:
        """See `Rows`."""
        connection = lite(self._path)
        with _once(connection):
            connection.execute(_RESET.format(first="?"), (self._first,))
            connection.execute(_FORGET.format(first="?"), (self._first,))
        self._tidy(connection)
        connection.close()

    async def empty_queue(self) -> None:
        """See `Rows`."""
        connection = lite(self._path)
        connection.execute(_EMPTY)
        self._tidy(connection)
        connection.close()

    def _tidy(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


class _once:  # noqa: N801 (reads as a statement)
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *exc: object) -> None:
        self._connection.execute("COMMIT")


def _insert(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterator[Row]
) -> None:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    connection.executemany(statement, (tuple(map(_plain, row)) for row in rows))


def _plain(value: Any) -> Any:
    """As SQLAlchemy stores it in SQLite."""
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


def rows_of(url: str) -> Rows:
    """The way past the server into the database of this URL."""
    return SqliteRows(url) if url.startswith("sqlite") else PostgresRows(url)
