"""Reads an uploaded file off a request as it arrives, whatever its size."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from rhapsode.domain.errors import Invalid
from rhapsode.services.media import Incoming


async def incoming(request: Request, name: str | None) -> Incoming:
    """The one file of a multipart form, or else the whole body; `name` overrides the form's."""
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdigit() else None
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    body = _body(request)
    if kind != b"multipart/form-data":
        return Incoming(name=name, size=size, chunks=body)
    form = _Form(_parser_options(options))
    await form.reach_file(body)
    return Incoming(name=name or form.file_name, size=size, chunks=form.chunks(body))


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect as error:
        raise Invalid(
            "upload_cut", "The upload broke off; nothing was kept.", hint="Send it again."
        ) from error


def _parser_options(options: dict[bytes, bytes]) -> bytes:
    boundary = options.get(b"boundary")
    if not boundary:
        raise Invalid("upload_malformed", "The multipart form names no boundary.")
    return boundary


@dataclass
class _Form:
    """A multipart form of which one part is a file; other fields are passed over."""

    boundary: bytes
    file_name: str | None = None
    _pieces: deque[bytes] = field(default_factory=deque)
    _header: tuple[bytes, bytes] = (b"", b"")
    _in_file: bool = False
    _files: int = 0
    _ended: bool = False

    def __post_init__(self) -> None:
        self._parser = MultipartParser(
            self.boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def reach_file(self, body: AsyncIterator[bytes]) -> None:
        """Read up to where the file begins; Invalid if there is none."""
        async for chunk in body:
            self._feed(chunk)
            if self._files:
                return
        raise Invalid(
            "upload_without_file",
            "The form holds no file.",
            hint="Send the recording as a form field with a file name, or as the bare body.",
        )

    async def chunks(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The file's bytes; Invalid if the form breaks off before its end."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            chunk = await anext(body, None)
            if chunk is None:
                break
            self._feed(chunk)
        if not self._ended:
            raise Invalid("upload_cut", "The form breaks off before its end.")

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Invalid("upload_malformed", "The multipart form cannot be read.") from error

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name + data[start:end], value)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        name, value = self._header
        self._header = (name, value + data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        self._header = (b"", b"")
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(value)
        if b"filename" in options:
            # Browsers escape the quotation mark in names, and nothing else.
            name_in_form = options[b"filename"].decode("utf-8", "replace")
            self._begin_file(name_in_form.replace("%22", '"'))

    def _begin_file(self, name: str) -> None:
        self._files += 1
        if self._files > 1:
            raise Invalid(
                "one_file_at_a_time", "The form holds several files.", hint="Send one each."
            )
        self.file_name = name
        self._in_file = True

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        self._in_file = False

    def _on_end(self) -> None:
        self._ended = True
