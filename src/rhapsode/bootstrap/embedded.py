"""The runner beside the server: the same program as any other, over loopback HTTP."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from uuid import uuid4

import structlog

from rhapsode.domain.environment import without_ours
from rhapsode.domain.errors import DomainError
from rhapsode.services import runners
from rhapsode.services.context import Context
from rhapsode.settings import Settings

_RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
_GRACE_SECONDS = 10.0
_LONG_LIFE_SECONDS = 60.0
"""After a life of this length it is not the start that fails."""

log = structlog.get_logger(__name__)


class EmbeddedRunner:
    """Keeps one runner process running until it is told to stop."""

    def __init__(self, settings: Settings, context: Context, port: int) -> None:
        self._settings = settings
        self._context = context
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start the runner, and start it again should it end, or should it not start."""
        short_lives = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            end = await self._one_life()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > _LONG_LIFE_SECONDS:
                short_lives = 0
            seconds = _RESTART_SECONDS[min(short_lives, len(_RESTART_SECONDS) - 1)]
            short_lives += 1
            log.error("embedded_runner.ended", **end, restart_in_seconds=seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    async def _one_life(self) -> dict[str, object]:
        """How it ended; a database that does not answer just now must not be the end of it."""
        try:
            self._process = await self._start()
        except (DomainError, OSError) as error:
            return {"error": str(error)}
        if self._stopping.is_set():  # told to while it was being started
            self._signal(signal.SIGTERM)
        return {"code": await self._process.wait()}

    async def stop(self) -> None:
        """Let it finish the job at hand, for as long as the settings allow."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.runner.drain_seconds + _GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("embedded_runner.killed")
            self.kill()

    def hurry(self) -> None:
        """Have it give its job back to the queue at once."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now, and the process with its models too."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _start(self) -> asyncio.subprocess.Process:
        name = f"embedded@{socket.gethostname()}:{self._port}"[:100]
        # By the data folder, not by the name: replicas in containers may well share that,
        # and would revoke each other's token.
        identity = _identity(self._settings.data / "embedded-runner")
        token = await runners.replace_token(self._context, f"embedded {identity}")
        return await asyncio.create_subprocess_exec(
            *self._command(name),
            # Not the server's settings, which hold its secrets.
            env={
                **without_ours(os.environ, keep="RHAPSODE_RUNNER_"),
                "RHAPSODE_RUNNER_TOKEN": token.secret,
            },
            stdin=asyncio.subprocess.PIPE,  # it closes with this process, whatever ends that
            start_new_session=True,  # Ctrl-C is for the server, which then stops the runner
        )

    def _command(self, name: str) -> list[str]:
        wanted, models = self._settings.runner, self._settings.models
        options: dict[str, object] = {
            "--server": f"http://{self._host()}:{self._port}",
            "--name": name,
            "--device": wanted.device,
            "--compute-type": wanted.compute_type or "auto",
            "--threads": wanted.threads,
            "--models-dir": models.folder,
            "--mirror-dir": models.mirror_folder,
            "--scratch-dir": self._settings.data / "runner",
            "--drain-seconds": wanted.drain_seconds,
            "--memory-budget": wanted.memory_budget and int(wanted.memory_budget),
            "--idle-seconds": wanted.idle_seconds,
            "--log-level": self._settings.logging.level,
            "--log-format": self._settings.logging.format,
        }
        flags = ["--exit-with-parent"]
        flags += [] if models.hub else ["--no-hub"]
        flags += [] if models.registry else ["--no-registry"]
        flags += [
            part
            for network in self._settings.outbound.allow_networks
            for part in ("--allow-network", network)
        ]
        flags += [part for model in wanted.models for part in ("--preload", model)]
        given = [(key, str(value)) for key, value in options.items() if value is not None]
        pairs = [part for pair in given for part in pair]
        return [sys.executable, "-m", "rhapsode", "runner", *pairs, *flags]

    def _host(self) -> str:
        """The server's own address, or loopback where it listens on every network."""
        host = self._settings.server.host
        if host in {"0.0.0.0", "::", ""}:  # noqa: S104 (compared, not bound)
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host


def _identity(file: Path) -> str:
    """What tells this server's runner from those of other replicas, across restarts."""
    if not file.exists():
        file.write_text(f"{uuid4()}\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()
