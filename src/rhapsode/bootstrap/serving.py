"""Runs the application under uvicorn, with the embedded runner beside it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from rhapsode.bootstrap.embedded import EmbeddedRunner
from rhapsode.bootstrap.parts import asgi
from rhapsode.domain.errors import Unavailable
from rhapsode.settings import Settings
from rhapsode.telemetry import configure_logging

GRACEFUL_SECONDS = 30
_BACKLOG = 2048

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Run the server, and a runner beside it if wanted, until SIGTERM or Ctrl-C.

    The first signal lets the embedded runner finish its job, the second has it give the
    job back, the third drops everything.
    """
    configure_logging(settings.logging.level, settings.logging.format)
    listener = _listen(settings.server.host, settings.server.port)
    app, wrapped = asgi(settings)
    config = uvicorn.Config(
        wrapped,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        proxy_headers=bool(settings.server.trusted_proxies),
        forwarded_allow_ips=settings.server.trusted_proxies or [],
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_keep_alive=75,
        backlog=_BACKLOG,
    )
    server = _Server(config, app, settings, listener)
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(1)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            "address_unavailable",
            f"The server cannot listen on {host} port {port}: {error.strerror}.",
            hint="Another program may have it; choose another with --port.",
        ) from error


class _Server(uvicorn.Server):
    """Uvicorn, which otherwise stops listening before the embedded runner is done."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        settings: Settings,
        listener: socket.socket,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._port: int = listener.getsockname()[1]
        self._runner: EmbeddedRunner | None = None
        self._signals = 0
        self._stopping: asyncio.Task[None] | None = None

    async def main_loop(self) -> None:
        """Serve; the embedded runner lives within."""
        self._announce()
        async with self._embedded():
            await super().main_loop()

    @asynccontextmanager
    async def _embedded(self) -> AsyncIterator[None]:
        if not self._settings.runner.enabled:
            yield
            return
        context = self._app.state.context
        self._runner = EmbeddedRunner(self._settings, context, self._port)
        task = asyncio.create_task(self._runner.run())
        try:
            yield
        finally:
            await self._runner.stop()
            task.cancel()
            await asyncio.wait({task})
            # Whatever became of it must not keep the server from closing in good order.
            if not task.cancelled() and (fault := task.exception()) is not None:
                log.error("embedded_runner.fault", exc_info=fault)

    def _announce(self) -> None:
        public = self._settings.server.public_url
        host = self._settings.server.host
        shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 (compared)
        log.info("serving", page=public or f"http://{shown}:{self._port}/")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish in order: the runner's job, then open answers, then the server."""
        self._signals += 1
        if self._signals == 1:
            asyncio.get_running_loop().call_soon_threadsafe(self._begin_stop)
        elif self._signals == 2 and self._runner is not None:
            self._runner.hurry()
        else:
            super().handle_exit(sig, frame)
            self.force_exit = True
            if self._runner is not None:
                self._runner.kill()

    def _begin_stop(self) -> None:
        self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        log.info("stopping")
        if self._runner is not None:
            await self._runner.stop()
        context = getattr(self._app.state, "context", None)
        if context is not None:
            context.closing.set()
        self.should_exit = True
