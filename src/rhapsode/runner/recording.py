"""The recording of one job, on its way here: from the server, or from where a URL leads."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from rhapsode.client import DigestMismatch, Lease, LeaseLost
from rhapsode.client.retry import with_retries
from rhapsode.domain.errors import DomainError, Unavailable
from rhapsode.domain.jobs import Progress
from rhapsode.domain.runners import AssignedMedia, AssignedSource, Assignment
from rhapsode.outbound.answers import opened
from rhapsode.outbound.fetch import Fetched, Limits, Open, fetch
from rhapsode.outbound.found import described
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.http import Outbound
from rhapsode.runner.config import RunnerConfig
from rhapsode.runner.messages import Failed
from rhapsode.runner.scratch import free_bytes

FETCHING = "fetching media"
STORING = "storing media"
_SPARE_BYTES = 16 * 1024 * 1024
"""Room that must be left on the disk beside the recording, for the result."""
_KEEP_TRIES = 12
"""With the waits between them some minutes, in which a server can restart."""
_EXPIRED = "input_expired"
_FOR_GOOD = {
    "address_refused",
    "input_redirects",
    "input_refused",
    "input_too_large",
    "input_too_slow",
    "input_wrong_length",
    "url_invalid",
}
_NO_RECORDING = {"media_empty", "media_unreadable"}
_FULL = {errno.ENOSPC, errno.EDQUOT}

log = structlog.get_logger()


class Recording:
    """What is done to have a job's recording on this machine. `root` names the disk."""

    def __init__(
        self,
        config: RunnerConfig,
        lease: Lease,
        assignment: Assignment,
        root: Path,
        tell: Callable[[Progress], None],
    ) -> None:
        self._policy = Policy(config.allow_networks)
        self._lease = lease
        self._assignment = assignment
        self._run = f"{assignment.job_id}/{assignment.attempt}"
        self._root = root
        self._tell = tell
        self._media_type: str | None = None

    async def bring(self, target: Path) -> Failed | None:
        """Bring it here; what prevents that is a failure of this run."""
        try:
            await self._bring(target)
        except OSError as error:
            return self.disk_failed(error)
        except DigestMismatch as error:
            return Failed(self._run, error.code, str(error))
        except LeaseLost:
            raise
        except DomainError as error:
            return self._failed(error, target)
        return None

    async def _bring(self, target: Path) -> None:
        assignment = self._assignment
        self._tell(Progress(FETCHING, 0.0))
        if assignment.media is not None:
            await self._from_server(assignment.media, target)
        elif assignment.source is not None:
            await self._from_source(assignment.source, target)
        else:
            raise Unavailable("no_recording", "The server names no recording for this job.")

    def _failed(self, error: DomainError, target: Path) -> Failed:
        code, source = error.code, self._assignment.source
        if source is not None and (code == _EXPIRED or code in _FOR_GOOD):
            return Failed(self._run, code, str(error), permanent=True, expired=code == _EXPIRED)
        if source is not None and code in _NO_RECORDING:
            return self.explained(Failed(self._run, code, str(error), permanent=True), target)
        return Failed(self._run, code, f"The recording could not be fetched: {error}")

    # From the server's store

    async def _from_server(self, media: AssignedMedia, target: Path) -> None:
        report = partial(self._advance_of, FETCHING, media.size)
        self._ensure_room(target.parent, media.size)
        await self._lease.fetch_media(target, media.digest, report)

    # From a URL

    async def _from_source(self, source: AssignedSource, target: Path) -> None:
        if source.url is None:
            found = await self._fetched(self._lease.open_source, source, target)
        else:
            async with Outbound(
                self._policy,
                connect_seconds=source.connect_seconds,
                read_seconds=source.read_seconds,
                max_redirects=source.max_redirects,
            ) as outbound:
                ask = partial(opened, outbound, source.url)
                found = await self._fetched(ask, source, target)
        self._media_type = found.media_type
        log.info("recording fetched", source=source.shown, bytes=found.size)
        if source.keep:
            await self._keep(target, found.size)

    async def _fetched(self, ask: Open, source: AssignedSource, target: Path) -> Fetched:
        limits = Limits(
            max_bytes=source.max_bytes,
            whole_seconds=source.fetch_seconds,
            stall_seconds=source.read_seconds,
        )
        return await fetch(
            ask,
            source.shown,
            target,
            limits,
            report=partial(self._advance, FETCHING),
            room=partial(self._ensure_room, target.parent),
        )

    async def _keep(self, path: Path, size: int) -> None:
        """Before the work, so that another runner need not fetch it again."""
        if size == 0:
            return  # there is nothing to keep; the engine says so better
        report = partial(self._advance_of, STORING, size)
        await with_retries(lambda: self._lease.keep_media(path, report), _KEEP_TRIES)

    def explained(self, failed: Failed, media: Path) -> Failed:
        """A failure for want of sound, with what was found at the URL instead."""
        source = self._assignment.source
        if source is None or failed.code not in _NO_RECORDING:
            return failed
        found = described(media, self._media_type, source.url)
        what = f"it leads to {found}." if found else failed.message
        message = f"{source.shown} is no recording: {what}"
        return Failed(self._run, "input_not_media", message, permanent=True)

    # The disk

    def _ensure_room(self, folder: Path, size: int) -> None:
        if free_bytes(folder) < size + _SPARE_BYTES:
            raise OSError(errno.ENOSPC, "no room for the recording")

    def disk_failed(self, error: OSError) -> Failed:
        """The failure of this run for want of a disk that takes what is written."""
        if error.errno not in _FULL:
            log.error("disk failed", error=str(error))
            reason = error.strerror or type(error).__name__
            return Failed(self._run, "runner_storage", f"The runner's disk failed: {reason}.")
        media = self._assignment.media
        size = f" of {media.size / 1e6:.0f} MB" if media is not None else ""
        message = f"The runner's disk has no room for this recording{size} (in {self._root})."
        return Failed(self._run, "runner_storage_full", message)

    def _advance_of(self, stage: str, total: int, done: int) -> None:
        self._advance(stage, done, total)

    def _advance(self, stage: str, done: int, total: int | None) -> None:
        """A share of the whole, or where that is not known, how much there is."""
        if total:
            self._tell(Progress(stage, min(1.0, done / total)))
        else:
            self._tell(Progress(f"{stage}, {done / 1e6:.0f} MB", 0.0))
