"""Real servers over real databases, each in a folder of its own."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.rows import Rows, rows_of
from bench.wire import Wire
from bench.worker import Worker, worker
from tests.support.postgres import Postgres, postgres
from tests.support.server import Server, running_server, settings_for

SQLITE, POSTGRESQL = "sqlite", "postgresql"
DATABASES = (SQLITE, POSTGRESQL)


@dataclass
class World:
    """A server process, its database, and the secrets to talk to it."""

    server: Server
    database_url: str
    rows: Rows
    key: str
    token: str

    def wire(self) -> Wire:
        """A connection as the administrator's program."""
        return Wire(self.server.url, self.key)

    @asynccontextmanager
    async def fleet(self, runners: int) -> AsyncIterator[Worker]:
        """So many bench runners, registered, in a process of their own."""
        async with worker(
            "bench.fleet", url=self.server.url, token=self.token, runners=runners
        ) as fleet:
            yield fleet

    @asynccontextmanager
    async def bare(self, workers: int) -> AsyncIterator[Worker]:
        """So many connections that do the same by bare SQL."""
        async with worker("bench.bare", url=self.database_url, workers=workers) as bare:
            yield bare


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one measurement."""
    with TemporaryDirectory(prefix="rhapsode-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def world(
    kind: str,
    postgres_server: Postgres | None = None,
    sections: dict[str, dict[str, Any]] | None = None,
) -> Iterator[World]:
    """A server over an empty database of this kind; `sections` are settings."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        url = f"sqlite:///{folder / 'bench.db'}"
        if kind == POSTGRESQL:
            if postgres_server is None:
                postgres_server = stack.enter_context(postgres())
            url = postgres_server.create()
            stack.callback(postgres_server.drop, url)
        settings = settings_for(folder, database_url=url, store=None, **(sections or {}))
        server = stack.enter_context(running_server(settings, folder))
        key = server.secret("--api-key", "bench")
        token = server.secret("--runner", "bench")
        yield World(server, url, rows_of(url), key, token)
