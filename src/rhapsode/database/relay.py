"""Carries signals between replicas over PostgreSQL's LISTEN and NOTIFY.

Notifying after the commit, on a connection of its own and several signals at a time, keeps
the commit path free of NOTIFY's database-wide lock.
"""

import asyncio
import contextlib
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import text

from rhapsode.database.engine import Database
from rhapsode.database.signals import Signal, decode, encode

CHANNEL = "rhapsode"
_BATCH = 20  # a NOTIFY carries at most 8000 bytes
_GATHER_SECONDS = 0.01
"""The first signal goes at once; what follows it so closely goes together."""

_CHECK_SECONDS = 5.0
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")

log = structlog.get_logger(__name__)


class Relay:
    """Runs while the application does; heals itself when the database goes away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._origin = uuid4().hex
        self._outgoing: asyncio.Queue[Signal] = asyncio.Queue(maxsize=10_000)

    async def run(self) -> None:
        """Send and receive until cancelled."""
        self._database.signals.relay_through(self._enqueue)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send())
                tasks.create_task(self._receive())
        finally:
            self._database.signals.relay_through(None)

    def _enqueue(self, signals: list[Signal]) -> None:
        for signal in signals:
            with contextlib.suppress(asyncio.QueueFull):  # a hint, not the truth
                self._outgoing.put_nowait(signal)

    async def _send(self) -> None:
        while True:
            batch = [await self._outgoing.get()]
            while len(batch) < _BATCH and not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            with contextlib.suppress(Exception):
                await self._notify(f"{self._origin} {encode(batch)}")
            if self._outgoing.qsize() < _BATCH:
                await asyncio.sleep(_GATHER_SECONDS)

    async def _notify(self, payload: str) -> None:
        async with self._database.write_once() as transaction:
            await transaction.connection.execute(
                _NOTIFY, {"channel": CHANNEL, "payload": payload}
            )

    async def _receive(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 (whatever broke, listening goes on)
                log.warning("signals.listening_broke", error=str(error))
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        async with self._database.apart() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.add_listener(CHANNEL, self._received)
            try:
                while True:  # a broken connection is only noticed by using it
                    await asyncio.sleep(_CHECK_SECONDS)
                    await driver.execute("SELECT 1")
            finally:
                await connection.invalidate()

    def _received(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        origin, _, signals = str(payload).partition(" ")
        if origin != self._origin:
            self._database.signals.deliver(decode(signals))
