"""Runs a runner in this process: signals, its parent's death, and the event loop."""

import asyncio
import os
import signal
import stat
from collections.abc import Callable

import structlog

from rhapsode.client import Http
from rhapsode.runner.config import RunnerConfig
from rhapsode.runner.supervisor import Supervisor

_PARENT_SECONDS = 0.5

log = structlog.get_logger()


def run_runner(config: RunnerConfig) -> None:
    """Work until SIGTERM or SIGINT. Denied where the token is refused at the start.

    The first signal lets the job at hand end within `config.drain_seconds`; the second
    gives it back at once.
    """
    asyncio.run(_run(config))


async def _run(config: RunnerConfig) -> None:
    async with Http(config.server, config.token) as http:
        supervisor = Supervisor(config, http)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.leave)
        watching = asyncio.create_task(_watch_parent(config, supervisor))
        try:
            await supervisor.run()
        finally:
            watching.cancel()


async def _watch_parent(config: RunnerConfig, supervisor: Supervisor) -> None:
    """Leave at once when the process that started this one is gone, if that is wanted."""
    if not config.exit_with_parent:
        return
    is_orphan = orphan_check()
    while not is_orphan():  # noqa: ASYNC110 (no event tells of a parent's death)
        await asyncio.sleep(_PARENT_SECONDS)
    log.warning("parent process is gone")
    supervisor.leave(at_once=True)


def orphan_check() -> Callable[[], bool]:
    """Tells whether this process's parent has died since.

    A parent that died even earlier shows where standard input is a pipe: it is closed then.
    """
    parent = os.getppid()
    kind = os.fstat(0).st_mode
    piped = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
    if piped:
        os.set_blocking(0, False)

    def check() -> bool:
        return os.getppid() != parent or (piped and _closed(0))

    return check


def _closed(descriptor: int) -> bool:
    try:
        return os.read(descriptor, 4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
