"""Resumable downloads: an interrupted one goes on where it stopped."""

import errno
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import httpx

from rhapsode.domain.errors import Limited, Unavailable

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
TRIES = 5
"""Broken connections in a row that brought nothing new, before giving up."""

Counting = Callable[[int], None]
"""Told how many bytes more are there; a negative number takes some back."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file behind an address, with what is known about it beforehand.

    `git_sha1` is how the hub names small files that it keeps in git.
    """

    path: str
    url: str
    size: int | None
    sha256: str | None
    git_sha1: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def client(extra_certificates: str | None = None) -> httpx.Client:
    """An HTTP client that trusts what this machine trusts, and gives up early on connecting."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if extra_certificates:
        context.load_verify_locations(extra_certificates)
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(verify=context, timeout=timeout, follow_redirects=True)


def fetch(http: httpx.Client, remote: Remote, target: Path, count: Counting) -> None:
    """Downloads to `target` by way of `target` + `.part`, and checks size and digest.

    Raises Unavailable (`download_failed`, `download_corrupt`) and Limited (`disk_full`).
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    count(_size(part))
    with disk_errors(part.parent):
        _fetch_all(http, remote, part, count)
        if not matches(part, remote):
            count(-_size(part))
            part.unlink()
            raise Unavailable(
                "download_corrupt",
                f"{remote.path} was downloaded, but its content is not the expected one.",
            )
        part.replace(target)


def matches(path: Path, remote: Remote) -> bool:
    """Whether a file's content is what was promised."""
    if remote.size is not None and _size(path) != remote.size:
        return False
    if remote.sha256:
        return sha256_of(path) == remote.sha256
    return remote.git_sha1 is None or _git_sha1_of(path) == remote.git_sha1


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or unwritable disk into an error that a person understands."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Limited(
                "disk_full",
                f"No space is left in {folder}.",
                hint="Free some, or choose another folder; what is there is kept.",
            ) from error
        raise Unavailable(
            "folder_unusable", f"{error.filename or folder} cannot be used: {error.strerror}."
        ) from error


def _fetch_all(http: httpx.Client, remote: Remote, part: Path, count: Counting) -> None:
    failures = 0
    while not _is_whole(part, remote):
        before = _size(part)
        try:
            _fetch_some(http, remote, part, count)
            return
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status < 500 and status != 429:
                raise _failed(remote, f"the server answered {status}") from error
            reason = f"the server answered {status}"
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _failed(remote, f"no connection: {error}") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        failures = 0 if _size(part) > before else failures + 1
        if failures >= TRIES:
            raise _failed(remote, reason)
        time.sleep(min(8.0, 0.5 * 2**failures))


def _is_whole(part: Path, remote: Remote) -> bool:
    return remote.size is not None and _size(part) == remote.size


def _fetch_some(http: httpx.Client, remote: Remote, part: Path, count: Counting) -> None:
    have = _size(part)
    headers = dict(remote.headers) | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with http.stream("GET", remote.url, headers=headers) as response:
        if have and response.status_code != httpx.codes.PARTIAL_CONTENT:
            count(-have)
            have = 0
            part.unlink()
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise httpx.RemoteProtocolError("the file is shorter than what is there")
        response.raise_for_status()
        with part.open("ab") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                count(len(chunk))


def _failed(remote: Remote, reason: str) -> Unavailable:
    return Unavailable("download_failed", f"{remote.path} could not be downloaded: {reason}.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _git_sha1_of(path: Path) -> str:
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
