"""A recording on its way here: what is on disk, and how it may be continued."""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from rhapsode.domain.errors import Invalid, Limited
from rhapsode.outbound.answers import Opened
from rhapsode.outbound.dial import Counted
from rhapsode.outbound.problems import Unreachable

Report = Callable[[int, int | None], None]
"""Told how many bytes are there, and how many there will be where that is known."""

Room = Callable[[int], None]
"""Asked before so many bytes are written; raises OSError where there is no room."""

BLOCK_BYTES = 1024 * 1024
_PARTIAL = 206
_UNSATISFIABLE = 416
_SPAN = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_PLAIN = {"", "identity"}
_PACKED = {"gzip", "x-gzip", "deflate"}


@dataclass
class Arrival:
    """The file, and what is known of the whole. `name` is the URL as it may be shown."""

    file: IO[bytes]
    name: str
    max_bytes: int
    report: Report
    room: Room
    size: int = 0
    total: int | None = None
    media_type: str | None = None
    _validator: str | None = None
    _held: bytearray = field(default_factory=bytearray)
    _unpack: "_Unpacking | None" = None
    _announced: int | None = None

    def headers(self) -> dict[str, str]:
        """What asks for the rest, if the recording is still the same; else for all."""
        if not self.size or not self._validator:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self._validator}

    def begin(self, answer: Opened) -> None:
        """Keep what is there where the server continues, start over where it does not."""
        validator = _validator(answer)
        if answer.status == _UNSATISFIABLE:
            self.restart()
            raise self._odd("it has no such part any more")
        start, total = self._span(answer)
        if start and (start != self.size or self._has_changed(validator, total)):
            self.restart()
            raise self._odd("it has changed meanwhile")
        if not start:
            self.restart()
        self._validator, self.total = validator, total
        self._announced = _number(answer.headers.get("content-length"))
        self.media_type = answer.headers.get("content-type")
        self._unpack = self._unpacking(answer)
        self._ensure_acceptable(total)
        self.report(self.size, total)

    def _span(self, answer: Opened) -> tuple[int, int | None]:
        """Where this answer's bytes begin, and how many the whole has."""
        length = _number(answer.headers.get("content-length"))
        if answer.status != _PARTIAL:
            packed = answer.headers.get("content-encoding", "").lower() not in _PLAIN
            return 0, None if packed else length
        match = _SPAN.fullmatch(answer.headers.get("content-range", "").strip())
        if match is None:
            self.restart()
            raise self._odd("it sends a part without saying which")
        return int(match[1]), _number(match[3])

    def _has_changed(self, validator: str | None, total: int | None) -> bool:
        if validator is not None and validator != self._validator:
            return True
        return None not in (total, self.total) and total != self.total

    def _unpacking(self, answer: Opened) -> "_Unpacking | None":
        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding in _PLAIN:
            return None
        if encoding not in _PACKED:
            raise Invalid(
                "input_refused",
                f"{self.name} is sent packed as '{encoding[:40]}', which was not asked for.",
            )
        self._validator = None  # places in what is sent are none in the file
        return _Unpacking()

    def _ensure_acceptable(self, total: int | None) -> None:
        if total is not None and total > self.max_bytes:
            raise self.too_large(f"has {total} bytes")
        self.room(max(0, (total or 0) - self.size))

    def too_large(self, what: str) -> Limited:
        """The refusal of a recording that is larger than allowed."""
        return Limited(
            "input_too_large",
            f"{self.name} {what}; at most {self.max_bytes} are accepted.",
            hint="Cut the recording into parts, or have the operator raise "
            "server.max_upload_bytes.",
        )

    def _odd(self, why: str) -> Unreachable:
        return Unreachable("input_unreachable", f"{self.name} could not be continued: {why}.")

    def restart(self) -> None:
        """Forget what is there."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self.total = 0, None
        self._validator, self._unpack = None, None
        self._held.clear()

    @property
    def is_heavy(self) -> bool:
        """Whether it is time to flush."""
        return len(self._held) >= BLOCK_BYTES

    def take(self, block: bytes) -> Iterator[None]:
        """Hold the bytes; a step for each piece, after which it may be time to flush."""
        for piece in (block,) if self._unpack is None else self._unpack.pieces(block):
            self._held += piece
            at = self.size + len(self._held)
            if at > self.max_bytes:
                raise self.too_large("does not end")
            if self.total is not None and at > self.total:
                raise self.wrong_length()
            self.report(at, self.total)
            yield

    def flush(self) -> None:
        """Write what is held."""
        self.room(len(self._held))
        self.file.write(self._held)
        self.size += len(self._held)
        self._held.clear()

    def end(self, answer: Opened) -> None:
        """All came: was it what was announced?"""
        if self._unpack is not None and not self._unpack.is_whole:
            self.restart()
            raise self._odd("what it sent is cut off")
        if self.total is not None and self.size < self.total:
            raise self._odd(f"it ended after {self.size} of {self.total} bytes")
        if self._announced is not None and _has_surplus(answer, self._announced):
            raise self.wrong_length()

    def wrong_length(self) -> Invalid:
        """More came than was announced: which of the two is the recording, nobody knows."""
        return Invalid(
            "input_wrong_length",
            f"{self.name} sends more bytes than it announces; what came may be incomplete.",
            hint="The server's Content-Length is wrong; mend it or store the recording "
            "elsewhere.",
        )


class _Unpacking:
    """gzip or zlib, piece by piece: a small answer may hold a very large file."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(47)
        self._begun = False

    @property
    def is_whole(self) -> bool:
        return self._inner.eof or not self._begun

    def pieces(self, block: bytes) -> Iterator[bytes]:
        self._begun = True
        while block:
            if self._inner.eof:  # another member follows
                self._inner = zlib.decompressobj(47)
            try:
                yield self._inner.decompress(block, BLOCK_BYTES)
            except zlib.error as error:
                raise Invalid(
                    "input_refused", "What the URL sends is packed, and damaged."
                ) from error
            block = self._inner.unconsumed_tail or self._inner.unused_data


def _validator(answer: Opened) -> str | None:
    """What promises the same bytes: a strong tag, or else the date of the last change."""
    tag = answer.headers.get("etag")
    if tag and not tag.startswith("W/"):
        return tag
    return answer.headers.get("last-modified")


def _has_surplus(answer: Opened, announced: int) -> bool:
    return isinstance(answer.connection, Counted) and answer.connection.surplus(announced)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 19 else None
