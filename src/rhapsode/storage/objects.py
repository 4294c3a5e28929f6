"""The object store: streamed writes with a digest, ranged reads, presigned links."""

import asyncio
import hashlib
import io
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from rhapsode.domain.errors import DomainError, Invalid, Limited, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore import GetResult, ReadableFile  # exist for type checkers only

PART_BYTES = 8 * 1024 * 1024
"""S3 takes at most 10,000 parts, so this allows objects of 78 GiB."""

_READ_BYTES = 1024 * 1024
_RESERVE_BYTES = 256 * 1024 * 1024
"""What an announced upload must leave free: the disk often holds the database, too."""

_CHECKED_SECONDS = 2.0

_BODY_SECONDS = 300
_RESUME_SECONDS = 12 * 3600
"""A reader may take its time. The store's client ends each of its own requests after
_BODY_SECONDS and goes on with another for what is missing, for so long in all."""

_PARTS_IN_FLIGHT = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where the objects are: a folder (`file:///…` or a path) or `s3://bucket/prefix`."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    path_style: bool = True
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What arrived: bytes, and their SHA-256 in hexadecimal."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a listing: its bytes, and when it was written."""

    key: str
    size: int
    modified: datetime


class ObjectStore:
    """Objects by key. Writes are atomic: a key shows all of an object or nothing."""

    def __init__(self, store: LocalStore | S3Store, folder: Path | None) -> None:
        self._store = store
        self._folder = folder
        self._worked_at = -_CHECKED_SECONDS

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> Stored:
        """Store what `chunks` yields; an error in it leaves nothing behind."""
        tally = _Tally()
        await _translated(
            obstore.put_async(
                self._store,
                key,
                tally.watch(chunks),
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_IN_FLIGHT,
            )
        )
        if self._folder is not None:
            await _translated(asyncio.to_thread(_sync, self._folder / key))
        return Stored(tally.size, tally.hash.hexdigest())

    async def put_bytes(self, key: str, content: bytes) -> Stored:
        """Store bytes that are at hand anyway."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        await _translated(obstore.put_async(self._store, key, content, use_multipart=False))
        if self._folder is not None:
            await _translated(asyncio.to_thread(_sync, self._folder / key))
        return Stored(len(content), digest)

    async def copy(self, key: str, target: str) -> None:
        """The same object under another key, too, without its bytes passing through here."""
        await _translated(obstore.copy_async(self._store, key, target))
        if self._folder is not None:
            await _translated(asyncio.to_thread(_sync, self._folder / target))

    async def stream(
        self, key: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (exclusive); NotFound where there is no object."""
        options: Any = {"range": {"offset": start} if end is None else (start, end)}
        found = await _translated(obstore.get_async(self._store, key, options=options))
        return _chunks(found)

    def open(self, key: str) -> BinaryIO:
        """A seekable, blocking reader of one object; its errors are ours, too."""
        with _translating():
            if self._folder is not None:
                return (self._folder / key).open("rb")
            reader = _Reader(obstore.open_reader(self._store, key, buffer_size=_READ_BYTES))
        return io.BufferedReader(reader, _READ_BYTES)

    async def delete(self, key: str) -> None:
        """Remove an object, and what a killed upload of it left; nothing to remove is fine."""
        if self._folder is not None:
            await _translated(asyncio.to_thread(_remove, self._folder / key))
            return
        try:
            await _translated(obstore.delete_async(self._store, key))
        except NotFound:
            return

    async def delete_below(self, prefix: str) -> None:
        """Remove every object whose key goes on behind this prefix and a slash."""
        if self._folder is not None:
            await _translated(asyncio.to_thread(_remove_tree, self._folder / prefix))
            return
        with _translating():
            async for batch in obstore.list(self._store, prefix=prefix):
                await obstore.delete_async(self._store, [item["path"] for item in batch])

    async def folders(self, prefix: str) -> list[str]:
        """What stands between the prefix and the next slash in any key; for maintenance."""
        found = await _translated(obstore.list_with_delimiter_async(self._store, prefix))
        return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    async def entries(self, prefix: str) -> AsyncIterator[list[Entry]]:
        """Everything under a prefix in batches, however much it is; for maintenance."""
        with _translating():
            async for batch in obstore.list(self._store, prefix=prefix):
                yield [
                    Entry(item["path"], item["size"], item["last_modified"]) for item in batch
                ]

    async def exists(self, key: str) -> bool:
        """Whether there is such an object; Unavailable where the store does not say."""
        try:
            await _translated(obstore.head_async(self._store, key))
        except NotFound:
            return False
        return True

    async def keys(self, prefix: str) -> list[str]:
        """All keys under a prefix; for maintenance and tests, not for request handlers."""
        found: list[str] = []
        async for batch in obstore.list(self._store, prefix=prefix):
            found.extend(item["path"] for item in batch)
        return sorted(found)

    async def link(self, key: str, lifetime: timedelta) -> str | None:
        """A presigned URL to read the object; None where the store cannot sign."""
        if isinstance(self._store, LocalStore):
            return None
        return await _translated(obstore.sign_async(self._store, "GET", key, lifetime))

    def ensure_room(self, size: int) -> None:
        """Limited unless a local folder's disk has room for that many bytes, and a reserve."""
        if self._folder is None:
            return
        disk = shutil.disk_usage(self._folder)
        if size + min(_RESERVE_BYTES, disk.total // 20) > disk.free:
            raise _full()

    async def check(self) -> None:
        """Unavailable unless the store can be written and read, now or a moment ago.

        Whoever asks whether the server is ready needs no login, and shall not cost requests.
        """
        if time.monotonic() - self._worked_at < _CHECKED_SECONDS:
            return
        await _translated(obstore.put_async(self._store, "health/probe", b"ok"))
        found = await _translated(obstore.get_async(self._store, "health/probe"))
        await _translated(found.bytes_async())
        self._worked_at = time.monotonic()


class _Reader(io.RawIOBase):
    """An object as a file of the standard library, which obstore's reader is not quite."""

    def __init__(self, reader: "ReadableFile") -> None:
        self._reader = reader
        self.failure: DomainError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            with _translating():
                found = bytes(self._reader.read(len(buffer)))
        except DomainError as error:
            # Whoever reads a file of strange bytes takes this for a fault of the file.
            self.failure = error
            raise
        buffer[: len(found)] = found
        return len(found)


class _Tally:
    """Counts and hashes what passes, off the event loop since hashing takes its time."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()

    async def watch(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in _gathered(chunks):
            self.size += len(chunk)
            await asyncio.to_thread(self.hash.update, chunk)
            yield chunk


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about a mebibyte."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(bytes(chunk))
        size += len(chunk)
        if size >= _READ_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


async def _chunks(found: "GetResult") -> AsyncIterator[bytes]:
    with _translating():
        async for chunk in found.stream(min_chunk_size=_READ_BYTES):
            yield bytes(chunk)


def failure_of(source: BinaryIO) -> DomainError | None:
    """Why reading from an opened object failed, where it was the store's fault."""
    raw = getattr(source, "raw", None)
    return raw.failure if isinstance(raw, _Reader) else None


def _sync(path: Path) -> None:
    """Make a renamed file survive a power failure: its bytes, then its name."""
    for target, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(target, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    # obstore stages an upload beside its target, as `name#1`; a kill leaves that file.
    for staged in path.parent.glob(f"{path.name}#*"):
        staged.unlink(missing_ok=True)


def _remove_tree(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


async def _translated(work: Awaitable[T]) -> T:
    """Await the store's answer; its errors leave as ours."""
    with _translating():
        return await work


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("object_not_found", "The stored file is gone.") from error
    except (BaseError, OSError) as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise _full() from error
        raise Unavailable(
            "object_store_unavailable",
            "The object store does not answer.",
            hint="Try again in a moment; the operator finds the reason in the server's log.",
        ) from error


def _full() -> Limited:
    return Limited(
        "storage_full",
        "There is no room left to store this recording.",
        hint="Free some space on the server's disk, or ask its operator to.",
    )


def open_store(config: StoreConfig) -> ObjectStore:
    """The store of a configuration; Invalid for a URL of another kind."""
    parts = urlsplit(config.url)
    openers: dict[str, Callable[[], ObjectStore]] = {
        "": lambda: _local(Path(config.url)),
        "file": lambda: _local(Path(unquote(parts.path))),
        "s3": lambda: ObjectStore(_s3(config, parts.netloc, parts.path.strip("/")), None),
    }
    if parts.scheme not in openers:
        raise Invalid(
            "storage_url",
            f"'{parts.scheme}' is not an object store that Rhapsode knows.",
            hint="Use a folder's path or s3://BUCKET/PREFIX.",
        )
    return openers[parts.scheme]()


def _local(folder: Path) -> ObjectStore:
    folder.mkdir(parents=True, exist_ok=True)
    return ObjectStore(LocalStore(folder, mkdir=True), folder)


def _s3(config: StoreConfig, bucket: str, prefix: str) -> S3Store:
    options: dict[str, Any] = {
        "endpoint": config.endpoint,
        "region": config.region or "us-east-1",
        "access_key_id": config.access_key_id,
        "secret_access_key": config.secret_access_key,
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        virtual_hosted_style_request=not config.path_style,
        client_options={
            "allow_http": config.allow_http,
            "timeout": timedelta(seconds=_BODY_SECONDS),
            "connect_timeout": timedelta(seconds=10),
        },
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=_RESUME_SECONDS)},
        **{name: value for name, value in options.items() if value is not None},
    )
