"""Recordings up to the server in pieces (tus 1.0): a break costs a piece, never the whole.

Each piece carries its SHA-256, so that what arrived damaged is sent again. Where the server
says that the upload is gone, it begins anew.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import httpx

from rhapsode.client.decode import decode
from rhapsode.client.http import TIMEOUT, Http
from rhapsode.client.notes import Notes, fingerprint
from rhapsode.client.retry import Backoff, with_retries
from rhapsode.client.transfers import BLOCK_BYTES, Report, ignore
from rhapsode.domain.errors import DomainError, Invalid, NotFound, Unavailable
from rhapsode.domain.media import MediaId
from rhapsode.domain.uploads import UploadError, UploadState, written_metadata

TRIES = 12
"""Failures in a row before it gives up: with the pauses between, about four minutes."""

_LEAST_BYTES = 4 * 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_QUICK_SECONDS, _SLOW_SECONDS = 2.0, 10.0

_GONE = {"upload_not_found", "upload_expired"}
_AGAIN = {"upload_offset", "upload_taken", "upload_checksum"}

# The answer to the last piece may wait for the server to put the recording together.
_TIMEOUT = httpx.Timeout(TIMEOUT.connect, read=120, write=120)
_TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadView:
    """An upload as the API shows it to its owner."""

    id: UUID
    name: str
    state: UploadState
    size: int | None
    received: int
    media_id: MediaId | None = None
    error: UploadError | None = None
    created_at: datetime
    expires_at: datetime


async def upload(
    http: Http,
    path: Path,
    *,
    name: str | None = None,
    report: Report = ignore,
    notes: Notes | None = None,
) -> MediaId:
    """Store a file; returns the media that the server made of it.

    `report` hears how many bytes the server has. With `notes` it goes on where another run
    of the program was ended; it is for the caller to forget the note.
    """
    found = await asyncio.to_thread(path.stat)
    sending = _Sending(http, path, name or path.name, found, report, notes)
    return await sending.run()


def forget(http: Http, path: Path, notes: Notes) -> None:
    """Forget the upload of a file, as the file is now; one that is gone was noted in vain."""
    with contextlib.suppress(OSError):
        notes.forget(fingerprint(http.server, path, path.stat()))


class _Sending:
    """One file on its way."""

    def __init__(
        self,
        http: Http,
        path: Path,
        name: str,
        found: os.stat_result,
        report: Report,
        notes: Notes | None,
    ) -> None:
        self._http = http
        self._path = path
        self._name = name
        self._found = found
        self._report = report
        self._notes = notes
        self._key = fingerprint(http.server, path, found)
        self._piece_bytes = _LEAST_BYTES
        self._done = -1
        self._upload: UUID | None = notes.recall(self._key) if notes else None

    async def run(self) -> MediaId:
        """Try until the server has it all; progress resets the count of the tries."""
        backoff, failures, best = Backoff(), 0, -1
        while True:
            try:
                return await self._go_on()
            except DomainError as error:
                if self._done > best:
                    backoff.reset()
                    failures, best = 0, self._done
                failures += 1
                if failures >= TRIES or not self._can_go_on(error):
                    raise
            await backoff.wait()

    def _can_go_on(self, error: DomainError) -> bool:
        """Whether trying again can help; of an upload that is gone nothing is kept."""
        if error.code in _GONE:
            self._forget()
            return True
        return isinstance(error, Unavailable) or error.code in _AGAIN

    async def _go_on(self) -> MediaId:
        view = await self._begun()
        while view.state is UploadState.RECEIVING:
            self._done = view.received
            self._report(view.received)
            await self._send(view.received)
            view = await self._look(view.id)
        self._done = view.received
        self._report(view.received)
        return await self._outcome(view)

    async def _begun(self) -> UploadView:
        """The upload as it stands, begun unless it was."""
        if self._upload is None:
            self._upload = await self._begin()
            if self._notes is not None:
                self._notes.note(self._key, self._upload, self._path)
        return await self._look(self._upload)

    async def _begin(self) -> UUID:
        name = base64.b64encode(self._name.encode("utf-8", "replace")).decode()
        headers = {
            **_TUS,
            "Upload-Length": str(self._found.st_size),
            "Upload-Metadata": written_metadata({"filename": name}),
            "Idempotency-Key": str(uuid4()),
        }

        async def attempt() -> str:
            async with self._http.stream("POST", "/api/uploads", headers=headers) as response:
                return str(response.headers.get("Location", "")).rpartition("/")[2]

        return decode(UUID, await with_retries(attempt))

    async def _look(self, upload_id: UUID) -> UploadView:
        return decode(UploadView, await self._http.json("GET", f"/api/uploads/{upload_id}"))

    async def _send(self, offset: int) -> None:
        """The next piece: larger where that is quick, so that a break costs seconds at most."""
        await self._ensure_unchanged()
        size = min(self._piece_bytes, self._found.st_size - offset)
        headers = {
            **_TUS,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size),
            "Upload-Offset": str(offset),
            "Upload-Checksum": await self._checksum(offset, size),
        }
        started = time.monotonic()
        try:
            await self._http.bytes(
                "PATCH",
                f"/api/uploads/{self._upload}",
                content=self._body(offset, size),
                headers=headers,
                timeout=_TIMEOUT,
            )
        except Unavailable:
            self._piece_bytes = _LEAST_BYTES
            raise
        self._adapt(time.monotonic() - started)

    def _adapt(self, seconds: float) -> None:
        if seconds < _QUICK_SECONDS:
            self._piece_bytes = min(_MOST_BYTES, self._piece_bytes * 2)
        elif seconds > _SLOW_SECONDS:
            self._piece_bytes = max(_LEAST_BYTES, self._piece_bytes // 2)

    async def _ensure_unchanged(self) -> None:
        found = await asyncio.to_thread(self._path.stat)
        if (found.st_size, found.st_mtime_ns) != (self._found.st_size, self._found.st_mtime_ns):
            self._forget()
            raise Invalid(
                "file_changed",
                "The file changed while it was sent.",
                hint="Wait until it is written whole, then send it again.",
            )

    async def _checksum(self, offset: int, size: int) -> str:
        hasher = hashlib.sha256()
        async for block in _blocks(self._path, offset, size):
            await asyncio.to_thread(hasher.update, block)
        return f"sha256 {base64.b64encode(hasher.digest()).decode()}"

    async def _body(self, offset: int, size: int) -> AsyncIterator[bytes]:
        done = offset
        async for block in _blocks(self._path, offset, size):
            yield block
            done += len(block)
            self._report(done)

    async def _outcome(self, view: UploadView) -> MediaId:
        """What came of it; a long recording takes the server a while to put together."""
        backoff = Backoff(most=2.0)
        while view.state is UploadState.ASSEMBLING:
            if view.error is not None:  # it will try again, and so shall we
                raise Unavailable(view.error.code, view.error.message, hint=view.error.hint)
            await backoff.wait()
            view = await self._look(view.id)
        if view.state is UploadState.FAILED and view.error is not None:
            self._forget()
            raise Invalid(view.error.code, view.error.message, hint=view.error.hint)
        if view.media_id is None:
            raise NotFound("upload_not_found", "The recording was deleted on the server.")
        return view.media_id

    def _forget(self) -> None:
        self._upload = None
        if self._notes is not None:
            self._notes.forget(self._key)


async def _blocks(path: Path, offset: int, size: int) -> AsyncIterator[bytes]:
    """Some bytes of a file; disk reads stay off the event loop."""
    left = size
    with path.open("rb") as source:
        source.seek(offset)
        while left and (block := await asyncio.to_thread(source.read, min(left, BLOCK_BYTES))):
            yield block
            left -= len(block)
