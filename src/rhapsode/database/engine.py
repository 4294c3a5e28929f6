"""Connections and transactions: one way to read, one way to write, on both databases."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rhapsode.database.signals import Signal, Signals
from rhapsode.domain.errors import Invalid, Limited, Unavailable

BUSY_SECONDS = 30
TRUSTED_SECONDS = 5.0
"""A connection that was used so lately is not asked first whether it still works."""

_CONNECT = {"timeout": 10}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OPTIONS = {
    "host",
    "passfile",
    "port",
    "prepared_statement_cache_size",
    "ssl",
    "sslmode",
    "target_session_attrs",
}
"""What can stand behind the `?` of a PostgreSQL URL."""

_BEGIN = "rhapsode_begin"
_WRITE, _SINGLE, _REBUILD = "write", "single", "rebuild"


@dataclass(slots=True)
class Transaction:
    """An open write transaction; its signals are emitted once it has been committed."""

    connection: AsyncConnection
    signals: list[Signal] = field(default_factory=list)

    def signal(self, *signals: Signal) -> None:
        """Tell these after the commit; nobody hears of what was rolled back."""
        self.signals.extend(signals)


class Database:
    """A database and the signals that its commits raise."""

    def __init__(self, engine: AsyncEngine, signals: Signals) -> None:
        self.engine = engine
        self.signals = signals
        # On PostgreSQL each statement has a view of its own, within a transaction or not:
        # where one statement is all there is, BEGIN and its end are two round trips in vain.
        self._plain = (
            engine if self.is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        # SQLite has one writer at a time. Waiting for it here, in order, costs microseconds;
        # waiting inside SQLite means sleeping and trying again.
        self._writer: AbstractAsyncContextManager[Any] = (
            asyncio.Lock() if self.is_sqlite else nullcontext()
        )

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite; otherwise it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read from; on SQLite all of it sees the same state."""
        with _told_apart():
            async with self._plain.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """A transaction: committed at the end, rolled back on any error."""
        with _told_apart():
            async with self._writer, self.engine.connect() as connection:
                await connection.execution_options(**{_BEGIN: _WRITE})
                async with connection.begin():
                    transaction = Transaction(connection)
                    yield transaction
        self.signals.emit(transaction.signals)

    @asynccontextmanager
    async def write_once(self) -> AsyncIterator[Transaction]:
        """For one single statement, which is a transaction by itself and commits itself."""
        with _told_apart():
            async with self._writer, self._plain.connect() as connection:
                await connection.execution_options(**{_BEGIN: _SINGLE})
                transaction = Transaction(connection)
                yield transaction
        self.signals.emit(transaction.signals)

    @asynccontextmanager
    async def rebuild(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for migrations, alone in this process.

        SQLite alters a table by making another in its place. With foreign keys enforced, to
        drop the old one would delete whatever refers to it; so they are checked at the end.
        """
        async with self.write() if not self.is_sqlite else self._rebuilding() as transaction:
            yield transaction.connection

    @asynccontextmanager
    async def _rebuilding(self) -> AsyncIterator[Transaction]:
        with _told_apart():
            async with self._writer, self.engine.connect() as connection:
                await connection.execution_options(**{_BEGIN: _REBUILD})
                async with connection.begin():
                    yield Transaction(connection)
                    broken = (
                        await connection.exec_driver_sql("PRAGMA foreign_key_check")
                    ).all()
                    if broken:
                        raise RuntimeError(f"the migration broke references: {broken[:5]}")
                await connection.invalidate()  # the next connection enforces them again

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[AsyncConnection]:
        """A connection beside the pool, for who keeps it: the pool is for the others."""
        engine = create_async_engine(
            self.engine.url,
            poolclass=NullPool,
            connect_args=dict(_CONNECT),
            hide_parameters=True,
        )
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    def write_briefly(self) -> AbstractAsyncContextManager[Transaction]:
        """For what is one statement on PostgreSQL, and on SQLite takes several."""
        return self.write() if self.is_sqlite else self.write_once()

    async def check(self) -> None:
        """Unavailable unless the database answers."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Give back all connections."""
        await self.engine.dispose()


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """A database by URL: `sqlite:///path` or `postgresql://…`; Invalid for anything else.

    Nothing is connected before the first use.
    """
    address = _with_driver(url)
    if address.get_backend_name() == "sqlite":
        engine = create_async_engine(
            address,
            connect_args={"timeout": BUSY_SECONDS},
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            hide_parameters=True,  # in errors, which are logged: keys and presigned URLs
        )
        _set_up_sqlite(engine)
    else:
        engine = create_async_engine(
            address,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            connect_args=_CONNECT,
            hide_parameters=True,
        )
        _check_stale_connections(engine)
    return Database(engine, Signals())


def _with_driver(url: str) -> URL:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    address = make_url(url)
    driver = drivers.get(address.get_backend_name())
    if driver is None:
        raise Invalid(
            "database_url",
            f"'{address.get_backend_name()}' is not a database that Rhapsode knows.",
            hint="Use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        )
    address = address.set(drivername=driver)
    return address if driver.startswith("sqlite") else _with_options(address)


def _with_options(address: URL) -> URL:
    """The options of a PostgreSQL URL, as people know them, in the words of the driver."""
    options = dict(address.query)
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise Invalid(
            "database_url",
            f"The database's URL has options that are not known: {', '.join(unknown)}.",
            hint=f"It knows {', '.join(sorted(_OPTIONS))}.",
        )
    mode = options.pop("sslmode", None)
    if mode is None:
        return address
    if mode not in _SSL_MODES:
        raise Invalid(
            "database_url",
            "The option sslmode of the database's URL is none of PostgreSQL's.",
            hint=f"There are {', '.join(_SSL_MODES)}.",
        )
    return address.set(query={**options, "ssl": mode})


def _check_stale_connections(engine: AsyncEngine) -> None:
    """What `pool_pre_ping` does, without its three round trips before every query.

    A server that went away has closed the connection, which the driver knows at once. Only
    a network that drops connections silently needs to be asked, and it drops idle ones.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def used(_connection: object, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def check(connection: Any, record: Any, _proxy: object) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError("the server closed this connection")
        now = time.monotonic()
        if now - record.info.setdefault("used", now) < TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError("this connection is dead") from error


def _set_up_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def pragmas(connection: Any, _record: object) -> None:
        # The driver must not open transactions on its own: `begin` below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        # busy_timeout first: setting the journal mode itself may have to wait.
        for pragma in (
            f"busy_timeout = {BUSY_SECONDS * 1000}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A read that upgrades to a write fails at once under contention, busy_timeout or
        # not; so who means to write says so from the start.
        mode = connection.get_execution_options().get(_BEGIN)
        if mode == _SINGLE:
            return
        statement = "BEGIN IMMEDIATE" if mode in {_WRITE, _REBUILD} else "BEGIN"
        if mode == _REBUILD:
            statement = f"PRAGMA foreign_keys = OFF; {statement}"
        # Straight to the driver: each step of a cursor's life is a visit to its thread.
        driver: Any = connection.connection.dbapi_connection
        driver.run_async(lambda sqlite: _in_turn(sqlite, statement))


async def _in_turn(sqlite: Any, statements: str) -> None:
    for statement in statements.split(";"):
        await sqlite.execute(statement)


class _told_apart:  # noqa: N801 (reads as a statement)
    """Turns a database that does not answer, or is full, into an error for people."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and _is_outage(error):
            raise _reason(error) from error


_OUTAGES = {"08", "28", "3D", "40", "53", "57", "58"}
"""PostgreSQL's classes of errors for which the query is not to blame, but the moment is."""

_OUTAGE_KINDS = (
    *(OSError, PoolTimeout, OperationalError, InterfaceError),
    sqlite3.OperationalError,
)
_DISK_FULL = "53100"


def _is_outage(error: Exception) -> bool:
    if isinstance(error, _OUTAGE_KINDS):
        return True
    return _sql_state(error)[:2] in _OUTAGES


def _sql_state(error: Exception) -> str:
    """PostgreSQL's code; asyncpg's own errors, raised while connecting, carry it as well."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")


def _reason(error: Exception) -> Limited | Unavailable:
    cause = error.orig if isinstance(error, DBAPIError) else error
    full = isinstance(cause, sqlite3.OperationalError) and "full" in str(cause)
    if full or _sql_state(error) == _DISK_FULL:
        return Limited("storage_full", "The disk that holds the database is full.")
    return Unavailable(
        "database_unavailable",
        "The database does not answer.",
        hint="Try again in a moment; the operator finds the reason in the server's log.",
    )
