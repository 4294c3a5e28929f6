"""The runner's main loop: register, claim, execute, and leave in good order."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from rhapsode import __version__
from rhapsode.client import Backoff, Http, RunnerApi
from rhapsode.domain.errors import Denied, DomainError, NotFound
from rhapsode.domain.runners import Assignment, Registration
from rhapsode.runner.config import RunnerConfig
from rhapsode.runner.execution import Equipment, Execution
from rhapsode.runner.handle import Child
from rhapsode.runner.heart import Stop
from rhapsode.runner.preload import preload
from rhapsode.runner.scratch import Scratch

REFUSED_SECONDS = 20.0
"""Between tries while the server refuses a token that it once took."""

_LAST_WORD_SECONDS = 0.5
"""A job that is on its way to us as we leave would be nobody's until its lease lapses."""

log = structlog.get_logger()
T = TypeVar("T")


class Supervisor:
    """One runner. `run` returns after `leave` was called and the job is done or given back."""

    def __init__(self, config: RunnerConfig, http: Http) -> None:
        self._config = config
        self._api = RunnerApi(http)
        self._server = http.server
        self._child = Child(config.child, config.hang_seconds)
        self._leaving = asyncio.Event()
        self._execution: Execution | None = None
        self._backoff = Backoff()
        self._registered_before = False

    @property
    def child_pid(self) -> int | None:
        """The process id of the child that holds the models."""
        return self._child.pid

    def leave(self, *, at_once: bool = False) -> None:
        """Claim nothing more. Drain first; at the second call, or at once, give back."""
        if self._leaving.is_set() or at_once:
            self._leaving.set()
            self._give_back()
            return
        self._leaving.set()
        log.info("leaving", busy=self._execution is not None)
        if self._execution is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._config.drain_seconds, self._give_back)

    def _give_back(self) -> None:
        if self._execution is not None:
            self._execution.drop(Stop.LEAVING)

    async def run(self) -> None:
        """Work until told to leave. Denied where the token is refused at the start."""
        try:
            with Scratch(self._config.scratch) as scratch:
                await self._work(scratch)
        finally:
            await self._child.close()
        log.info("left")

    async def _work(self, scratch: Scratch) -> None:
        registration: Registration | None = None
        preloaded = False
        while not self._leaving.is_set():
            try:
                if registration is None:
                    registration = await self._or_leave(self._register())
                elif not preloaded:
                    preloaded = True
                    await self._or_leave(preload(self._child, self._config.preload))
                else:
                    await self._child.ensure()
                    await self._one_job(registration, scratch)
                self._backoff.reset()
            except NotFound as error:
                log.warning("server forgot this runner", error=error.message)
                registration = await self._after(error, None)
            except DomainError as error:
                registration = await self._after(error, registration)
            except Exception:  # a fault of ours costs its job an attempt, not us the runner
                log.exception("fault in the runner")
                await self._pause(self._backoff.seconds())

    async def _after(
        self, error: DomainError, registration: Registration | None
    ) -> Registration | None:
        """Wait before the next try; end the runner only where it was never let in."""
        if isinstance(error, Denied):
            if not self._registered_before:
                raise error
            log.error("server refuses this runner's token", error=str(error), code=error.code)
            await self._pause(REFUSED_SECONDS)
        else:
            seconds = self._backoff.seconds()
            log.warning("trying again", error=str(error), seconds=round(seconds, 1))
            await self._pause(seconds)
        return registration

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    async def _or_leave(self, asked: Coroutine[Any, Any, T], patience: float = 0.0) -> T | None:
        """The answer, or None where it is time to leave before there is one.

        For an answer that is on its way, `patience` is how many seconds leaving can wait.
        """
        asking = asyncio.create_task(asked)
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({asking, leaving}, return_when="FIRST_COMPLETED")
            if patience and not asking.done():
                await asyncio.wait({asking}, timeout=patience)
            return asking.result() if asking.done() else None
        finally:
            for task in (asking, leaving):
                task.cancel()
            await asyncio.wait({asking, leaving})

    async def _register(self) -> Registration:
        offer = await self._child.ensure()
        registration = await self._api.register(self._config.name, __version__, offer)
        self._registered_before = True
        log.info(
            "registered",
            server=self._server,
            name=self._config.name,
            runner_id=str(registration.runner_id),
            device=offer.device,
            engines={engine.engine: len(engine.models) for engine in offer.engines},
        )
        return registration

    async def _one_job(self, registration: Registration, scratch: Scratch) -> None:
        claim = self._api.claim(
            registration.runner_id, self._config.claim_seconds, self._child.loaded
        )
        asked = time.monotonic()
        assignment = await self._or_leave(claim, _LAST_WORD_SECONDS)
        if assignment is None:
            if time.monotonic() - asked < 1:  # the server lets nobody wait: it may be closing
                await self._pause(1)
            return
        names = {"job_id": str(assignment.job_id), "attempt": assignment.attempt}
        with bound_contextvars(**names):
            await self._execute(registration, scratch, assignment)

    async def _execute(
        self, registration: Registration, scratch: Scratch, assignment: Assignment
    ) -> None:
        equipment = Equipment(
            config=self._config, registration=registration, child=self._child, scratch=scratch
        )
        lease = self._api.lease(registration.runner_id, assignment)
        self._execution = Execution(equipment, lease, assignment)
        if self._leaving.is_set():
            self._give_back()
        log.info("job claimed", needs=assignment.spec.requirement, **_recording(assignment))
        started = time.monotonic()
        try:
            await self._execution.run()
        finally:
            self._execution = None
            log.debug("job over", seconds=round(time.monotonic() - started, 3))


def _recording(assignment: Assignment) -> dict[str, object]:
    if assignment.media is not None:
        return {"media": assignment.media.name, "bytes": assignment.media.size}
    return {"media": assignment.name, "source": assignment.source and assignment.source.shown}
