"""The child as a job sees it: it takes one run at a time, and a new one replaces a dead one."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.runners import Capabilities
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.messages import (
    FETCHING_MODEL,
    Advanced,
    Answer,
    Cancel,
    Command,
    Failed,
    Final,
    Heard,
    Holding,
    Loaded,
    Logged,
    Perform,
    Prepare,
    Ready,
)
from rhapsode.runner.process import ChildProcess, Death
from rhapsode.runner.vitals import Vitals

START_SECONDS = 120.0
_HUNG = "hung"

log = structlog.get_logger()
OnProgress = Callable[[Progress], None]
OnHeard = Callable[[Heard], None]


def ignore(_: Heard) -> None:
    """An OnHeard of nobody's."""


class Work:
    """One run in the child: `loaded` when its model is there, `over` with the last word."""

    def __init__(self, run: str, on_progress: OnProgress, on_heard: OnHeard) -> None:
        loop = asyncio.get_running_loop()
        self.run = run
        self.on_progress = on_progress
        self.on_heard = on_heard
        self.loaded: asyncio.Future[float] = loop.create_future()
        self.over: asyncio.Future[Final] = loop.create_future()

    async def until_loaded(self) -> Final | None:
        """Wait for the model; the last word where that comes first, None where it is there."""
        futures: set[asyncio.Future[Any]] = {self.loaded, self.over}
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        return self.over.result() if self.over.done() else None

    def hear(self, message: Any) -> None:
        """Take a message about this run; a second last word does not count."""
        if isinstance(message, Advanced):
            self.on_progress(message.progress)
        elif isinstance(message, Heard):
            self.on_heard(message)
        elif isinstance(message, Loaded):
            if not self.loaded.done():
                self.loaded.set_result(message.seconds)
        elif not self.over.done():
            self.over.set_result(message)


class Child:
    """The runner's child, whichever process that is at the moment.

    `loaded` names the models that it has in memory, the last used last.
    """

    def __init__(self, settings: ChildSettings, hang_seconds: float) -> None:
        self._settings = settings
        self._hang_seconds = hang_seconds
        self._process: ChildProcess | None = None
        self._vitals: Vitals | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Capabilities] | None = None
        self._work: Work | None = None
        self.loaded: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """The living child's process id."""
        return self._process.pid if self._process else None

    async def ensure(self) -> Capabilities:
        """The capabilities of a living child; starts one where there is none.

        Unavailable (`child_start`) where it dies or says nothing.
        """
        if self._process is None or self._ready is None:
            ready = await self._start()
        else:
            ready = self._ready
        try:
            return await asyncio.wait_for(asyncio.shield(ready), START_SECONDS)
        except TimeoutError:
            await self._kill("it did not start in time")
            return await ready

    async def _start(self) -> asyncio.Future[Capabilities]:
        started = time.monotonic()
        self._process = process = await ChildProcess.spawn(self._settings, self._hear)
        self._vitals = Vitals(process.pid)
        self._ready = ready = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(process, self._vitals, ready))
        ready.add_done_callback(
            lambda _: log.debug(
                "child started", pid=process.pid, seconds=round(time.monotonic() - started, 3)
            )
        )
        return ready

    def prepare(
        self, run: str, spec: JobSpec, on_progress: OnProgress, on_heard: OnHeard = ignore
    ) -> Work:
        """Begin a run by loading its model."""
        self._work = work = Work(run, on_progress, on_heard)
        if self._process is None:
            work.hear(_gone(run))
        self._send(Prepare(run, spec), owes=True)
        return work

    def perform(self, command: Perform) -> None:
        """Go on with the run that was prepared, now that its recording is there."""
        self._send(command, owes=True)

    async def abandon(self, work: Work, patience: float) -> None:
        """Stop a run: by asking, and by force after `patience` seconds."""
        if not work.over.done():
            self._send(Cancel(work.run))
            await asyncio.wait({work.over}, timeout=patience)
        if not work.over.done():
            log.info("child killed", reason="it did not stop when asked", pid=self.pid)
            await self._kill("it did not stop when asked")

    async def close(self) -> None:
        """End the child for good."""
        if self._process is not None:
            await self._process.close()
        if self._keeper is not None:
            await self._keeper

    async def _kill(self, reason: str) -> None:
        if self._process is not None and self._keeper is not None:
            self._process.kill(reason)
            await asyncio.shield(self._keeper)

    def _send(self, command: Command, *, owes: bool = False) -> None:
        if self._process is None or self._vitals is None:
            return
        if owes:
            self._vitals.expect()
        self._process.send(command)

    def _hear(self, message: Answer) -> None:
        if self._vitals is not None:
            self._vitals.moved()
        if isinstance(message, Logged):
            self._relog(message)
        elif isinstance(message, Holding):
            self.loaded = message.models
        elif isinstance(message, Ready):
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(message.capabilities)
        elif self._work is not None and message.run == self._work.run:
            self._note_debt(message)
            self._work.hear(message)

    def _note_debt(self, message: Advanced | Heard | Loaded | Final) -> None:
        """A fetch has time-outs of its own, and may wait for another process's."""
        if self._vitals is None:
            return
        fetches = isinstance(message, Advanced) and message.progress.stage == FETCHING_MODEL
        if isinstance(message, Advanced | Heard) and not fetches:
            self._vitals.expect()
        else:
            self._vitals.rest()

    def _relog(self, message: Logged) -> None:
        method = getattr(log, message.level, log.info)
        fields = {"run": self._work.run} if self._work else {}
        method(message.event, **{**message.fields, **fields})

    async def _keep(
        self, process: ChildProcess, vitals: Vitals, ready: asyncio.Future[Capabilities]
    ) -> None:
        """Watch one process until it is gone, then say so to whom it concerns."""
        interval = min(5.0, self._hang_seconds / 5)
        while not (await asyncio.wait({process.death}, timeout=interval))[0]:
            if vitals.is_still(self._hang_seconds):
                log.error("child hangs", pid=process.pid, seconds=self._hang_seconds)
                process.kill(_HUNG)
        death = process.death.result()
        self._process = self._vitals = None
        self.loaded = ()
        if death.reason in {None, _HUNG}:
            log.error("child died", pid=process.pid, how=death.how, said=process.last_words)
            # It may be a damaged model, or an engine whose import kills.
            self._settings = replace(self._settings, careful=True)
        if not ready.done():
            ready.set_exception(_no_start(death))
            ready.exception()  # it may be that nobody waits for it any more
        if self._work is not None:
            self._work.hear(self._obituary(self._work.run, death))

    def _obituary(self, run: str, death: Death) -> Failed:
        if death.reason == _HUNG:
            limit = f"{self._hang_seconds:g} s"
            message = f"The engine stood still for {limit}, so its process was ended."
            return Failed(run, "engine_hung", message)
        if death.reason is not None:
            return Failed(run, "engine_stopped", f"The engine was ended: {death.reason}.")
        return Failed(run, "engine_crashed", f"The engine's process crashed: {death.how}.")


def _gone(run: str) -> Failed:
    return Failed(run, "engine_crashed", "The engine's process had died before the job.")


def _no_start(death: Death) -> Unavailable:
    why = death.reason or death.how
    return Unavailable(
        "child_start",
        f"The runner's engine process did not start: {why}.",
        hint="Its log lines say more; check that the engines are installed properly.",
    )
