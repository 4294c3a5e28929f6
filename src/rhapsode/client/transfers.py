"""Large bodies: streamed up from disk, and down to it with resumption."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx

from rhapsode.client.http import Http
from rhapsode.client.problems import Unreachable
from rhapsode.client.retry import Backoff
from rhapsode.domain.errors import Invalid, Unavailable

BLOCK_BYTES = 1024 * 1024
FAULT_TRIES = 8
OUT_OF_RANGE = {"http_416", "range_not_satisfiable"}

Report = Callable[[int], None]
"""Told how many bytes are done so far."""


class DigestMismatch(Unavailable):
    """What arrived is not what was announced; fetching it again can help."""


def ignore(_: int) -> None:
    """A Report that nobody reads."""


async def file_body(path: Path, report: Report = ignore) -> AsyncIterator[bytes]:
    """The file in blocks, for a request's body; disk reads stay off the event loop."""
    done = 0
    with path.open("rb") as source:
        while block := await asyncio.to_thread(source.read, BLOCK_BYTES):
            yield block
            done += len(block)
            report(done)


async def digest_of(path: Path, report: Report = ignore) -> str:
    """The SHA-256 of a file in hexadecimal."""
    hasher = hashlib.sha256()
    async for block in file_body(path, report):
        await asyncio.to_thread(hasher.update, block)
    return hasher.hexdigest()


@dataclass
class _Arrival:
    """A file on its way here: what is on disk, and the hash of exactly that."""

    file: IO[bytes]
    size: int = 0
    held: bytearray = field(default_factory=bytearray)
    etag: str | None = None
    hasher: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def headers(self) -> dict[str, str]:
        if not self.size or not self.etag:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.etag}

    def begin(self, response: httpx.Response) -> None:
        """Keep what is there where the server continues, start over where it does not."""
        tag = response.headers.get("ETag")
        # A weak tag does not promise the same bytes, so it must not resume anything.
        self.etag = None if not tag or tag.startswith("W/") else tag
        offset = _offset(response)
        if offset != self.size or not offset:
            self.restart()
            if offset:
                raise Unreachable("range_ignored", "The server continued at the wrong place.")

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size = 0
        self.hasher = hashlib.sha256()

    def flush(self) -> None:
        block, self.held = bytes(self.held), bytearray()
        self.file.write(block)
        self.hasher.update(block)
        self.size += len(block)


def _offset(response: httpx.Response) -> int:
    """Where the body starts in the file."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    span = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(span) if span.isdigit() else 0


async def download(
    http: Http,
    path: str,
    target: Path,
    *,
    digest: str | None = None,
    report: Report = ignore,
    tries: int | None = 8,
) -> None:
    """Fetch `path` into the file `target`, going on where a broken connection left it.

    A broken connection is tried again `tries` times in a row (None: for ever), a fault of
    the server's FAULT_TRIES times; bytes that arrive reset the count. Raises DigestMismatch
    where the whole is not what `digest` (SHA-256, hexadecimal) says, OSError where the disk
    refuses, and the server's refusals.
    """
    # Opened here and not in a thread: a cancellation half-way would leave it open.
    with target.open("wb") as file:
        arrival = _Arrival(file)
        await _arrive(http, path, arrival, report, tries)
    found = arrival.hasher.hexdigest()
    if digest is not None and found != digest:
        raise DigestMismatch(
            "media_digest_mismatch",
            f"The recording arrived damaged: its SHA-256 is {found}, not {digest}.",
            hint="The stored copy or the way to it alters the bytes.",
        )


async def _arrive(
    http: Http, path: str, arrival: _Arrival, report: Report, tries: int | None
) -> None:
    backoff, failures, before = Backoff(), 0, 0
    while True:
        try:
            await _continue(http, path, arrival, report)
            return
        except Unavailable as error:
            if arrival.size > before:
                backoff.reset()
                failures, before = 0, arrival.size
            failures += 1
            allowed = tries if isinstance(error, Unreachable) else FAULT_TRIES
            if allowed is not None and failures >= allowed:
                raise
            await backoff.wait()


async def _continue(http: Http, path: str, arrival: _Arrival, report: Report) -> None:
    """One connection's worth of the file; httpx keeps our secret from other hosts."""
    headers = {"Accept-Encoding": "identity", **arrival.headers()}
    try:
        async with http.stream("GET", path, headers=headers, follow_redirects=True) as response:
            await asyncio.to_thread(arrival.begin, response)
            try:
                async for block in response.aiter_bytes():
                    arrival.held += block
                    report(arrival.size + len(arrival.held))
                    if len(arrival.held) >= BLOCK_BYTES:
                        await asyncio.to_thread(arrival.flush)
            finally:
                # What came before a break counts, so that the next try goes on behind it.
                arrival.flush()
    except Invalid as error:
        if error.code not in OUT_OF_RANGE:
            raise
        # The file changed under us, or ended exactly where we stand: ask for it all again.
        await asyncio.to_thread(arrival.restart)
        raise Unreachable("range_refused", "The server refused to continue.") from error
