"""One job, from its assignment to the server's receipt, whatever happens in between."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from rhapsode.client import Backoff, Lease, LeaseLost, ServerFault
from rhapsode.domain.errors import Denied, DomainError, Invalid, Limited, NotFound, Unavailable
from rhapsode.domain.jobs import JobError, Progress
from rhapsode.domain.runners import Assignment, Registration
from rhapsode.runner.config import RunnerConfig
from rhapsode.runner.handle import Child, Work
from rhapsode.runner.heart import Heart, Stop
from rhapsode.runner.messages import LOADING, Done, Failed, Perform, Stopped
from rhapsode.runner.recording import Recording
from rhapsode.runner.scratch import Scratch
from rhapsode.runner.telling import Telling

_FAULT_TRIES = 3
_TOO_LARGE = {"result_too_large", "body_too_large", "http_413"}
_GIVE_BACK_SECONDS = 5.0
_LOG_SECONDS = 5.0
_FAULT = JobError("runner_fault", "The runner failed by a fault of its own; its log has more.")

log = structlog.get_logger()


class Dropped(Exception):
    """The job is not ours any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a job is done with."""

    config: RunnerConfig
    registration: Registration
    child: Child
    scratch: Scratch


class Execution:
    """One run of one job. `drop` makes `run` return soon, whatever it is waiting for."""

    def __init__(self, equipment: Equipment, lease: Lease, assignment: Assignment) -> None:
        self._config = equipment.config
        self._child = equipment.child
        self._scratch = equipment.scratch
        self._lease = lease
        self._assignment = assignment
        self._run = f"{assignment.job_id}/{assignment.attempt}"
        self._heart = Heart(
            lease, equipment.registration.heartbeat_seconds, self._config.progress_seconds
        )
        self._recording = Recording(
            self._config, lease, assignment, equipment.scratch.root, self._fetch_progress
        )
        self._telling = Telling(lease)
        self._work: Work | None = None
        self._child_is_loud = False
        self._logged = ("", 0.0)
        # Progress arrives in tasks that do not know which job they work for.
        self._log = log.bind(job_id=str(assignment.job_id), attempt=assignment.attempt)

    def drop(self, reason: Stop) -> None:
        """Stop working on it; with LEAVING it goes back to the queue."""
        self._heart.drop(reason)

    async def run(self) -> None:
        """Do the job and report; returns when the child is free again."""
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        working = asyncio.create_task(self._to_the_end(), name="job")
        try:
            await _first(working, self._heart.stop)
            if not working.done():
                await self._stop_working(working)
            else:
                working.result()
        finally:
            await _canceled(beating)

    async def _beat(self) -> None:
        """A job without beats would be somebody else's soon, and ours still: it ends here."""
        try:
            await self._heart.live()
        except Exception:  # whatever it is, the lease is not renewed any more
            log.exception("fault in the heartbeat")
            self._heart.drop(Stop.FAULT)

    async def _stop_working(self, working: asyncio.Task[None]) -> None:
        reason = self._heart.stop.result()
        log.info("job dropped", reason=reason.value)
        started = time.monotonic()
        returning = asyncio.create_task(self._return(reason))
        await _canceled(working)
        if self._work is not None:
            await self._child.abandon(self._work, self._config.cancel_seconds)
        log.debug("work stopped", seconds=round(time.monotonic() - started, 3))
        await returning

    async def _return(self, reason: Stop) -> None:
        """The job goes back to the queue at once; after a fault that costs it an attempt."""
        if reason is Stop.LEAVING:
            telling = self._lease.give_back()
        elif reason is Stop.FAULT:
            telling = self._lease.fail(_FAULT, permanent=False)
        else:
            return
        try:
            await asyncio.wait_for(telling, _GIVE_BACK_SECONDS)
            log.info("job given back")
        except (TimeoutError, DomainError) as error:
            log.warning("job could not be given back", error=str(error))

    # The work

    async def _to_the_end(self) -> None:
        try:
            await self._do_and_report()
        except (Dropped, LeaseLost):
            self._heart.drop(Stop.LOST)
            log.warning("job dropped", reason=Stop.LOST.value)
            if self._work is not None:
                await self._child.abandon(self._work, self._config.cancel_seconds)

    async def _do_and_report(self) -> None:
        try:
            with self._scratch.job_folder(self._run) as folder:
                await self._report(await self._outcome(folder), folder)
        except OSError as error:
            await self._hand_in_failure(self._recording.disk_failed(error))

    async def _outcome(self, folder: Path) -> Done | Failed:
        """Load the model and fetch the recording at the same time, then transcribe."""
        media, result = folder / "media", folder / "result.json"
        fetching = asyncio.create_task(self._recording.bring(media), name="media")
        spec = self._assignment.spec
        self._work = work = self._child.prepare(
            self._run, spec, self._child_progress, self._telling.heard
        )
        try:
            await _first(fetching, work.over)
            if fetching.done() and (failed := fetching.result()) is not None:
                return failed
            if not work.over.done():
                duration = self._assignment.duration
                self._child.perform(Perform(self._run, spec, str(media), str(result), duration))
            final = await asyncio.shield(work.over)  # it must outlive our cancellation
        finally:
            await _canceled(fetching)
            await self._telling.end()
        if isinstance(final, Stopped):
            raise Dropped
        return final if isinstance(final, Done) else self._recording.explained(final, media)

    # Progress

    def _fetch_progress(self, progress: Progress) -> None:
        """The transfer's progress, unless the child has more to say: one bar at a time."""
        if not self._child_is_loud:
            self._tell(progress)

    def _child_progress(self, progress: Progress) -> None:
        self._child_is_loud = progress.stage != LOADING
        self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        self._heart.tell(progress)
        stage, due = self._logged
        now, begins = time.monotonic(), progress.stage.partition(",")[0]
        if begins != stage or now >= due:
            self._logged = (begins, now + _LOG_SECONDS)
            percent = round(100 * progress.fraction)
            self._log.info("job progress", stage=progress.stage, percent=percent)

    # The report

    async def _report(self, outcome: Done | Failed, folder: Path) -> None:
        if isinstance(outcome, Failed):
            await self._hand_in_failure(outcome)
            return
        try:
            await self._insist(lambda: self._lease.send_result(folder / "result.json"))
        except LeaseLost:
            raise
        except DomainError as error:
            await self._hand_in_failure(self._refused(error))
            return
        self._log_finished(outcome)

    def _refused(self, error: DomainError) -> Failed:
        """The server does not want the result: another attempt's would be no different."""
        permanent = isinstance(error, Invalid) or error.code in _TOO_LARGE
        message = f"The server refused the result: {error}"
        return Failed(self._run, "result_refused", message, permanent)

    def _log_finished(self, done: Done) -> None:
        duration = self._assignment.duration
        speed = round(duration / done.seconds, 1) if duration and done.seconds else None
        log.info("job finished", seconds=done.seconds, times_realtime=speed)

    async def _hand_in_failure(self, failed: Failed) -> None:
        log.warning(
            "job failed", code=failed.code, message=failed.message, permanent=failed.permanent
        )
        error = JobError(failed.code, failed.message)
        try:
            await self._insist(
                lambda: self._lease.fail(
                    error, permanent=failed.permanent, expired=failed.expired
                )
            )
        except LeaseLost:
            raise
        except DomainError as refusal:
            # The lease lapses by itself, so the job does not hang on this.
            log.warning("failure could not be reported", error=str(refusal))
        if self._work is not None and not self._work.over.done():
            # The child still loads this job's model, which the next job may well want.
            await self._child.abandon(self._work, self._config.hang_seconds)

    async def _insist(self, send: Callable[[], Awaitable[None]]) -> None:
        """Send until it arrives; give in to a refusal, or to a fault that repeats itself."""
        backoff, faults = Backoff(), 0
        while True:
            try:
                return await send()
            except (Unavailable, Denied, Limited, NotFound) as error:
                faults += isinstance(error, ServerFault | Limited | NotFound)
                if faults >= _FAULT_TRIES:
                    raise
                log.warning("sending failed, trying again", error=error.message)
            await backoff.wait()


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _canceled(task: asyncio.Task[Any]) -> None:
    """Cancel it and wait until it is through with that; what it says by then is of no use."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
