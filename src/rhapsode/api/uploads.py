"""Reads an uploaded file off a request as it arrives, whatever its size."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from rhapsode.domain.errors import Invalid
from rhapsode.services.media import Incoming

Fields = list[tuple[str, str]]
"""The fields of a form beside its file, in their order; a name may come several times."""


async def incoming(request: Request, name: str | None) -> Incoming:
    """The one file of a multipart form, or else the whole body; `name` overrides the form's."""
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return Incoming(name=name, size=_announced(request), chunks=_body(request))
    file, _ = await incoming_form(request)
    return replace(file, name=name or file.name)


async def incoming_form(request: Request) -> tuple[Incoming, Fields]:
    """The one file of a multipart form, and its fields, whole once the file has been read."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Invalid("upload_malformed", "The request is no multipart form.")
    form = _Form(_parser_options(options))
    body = _body(request)
    await form.reach_file(body)
    file = Incoming(name=form.file_name, size=_announced(request), chunks=form.chunks(body))
    return file, form.fields


def _announced(request: Request) -> int | None:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdigit() else None


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


_FIELDS_BYTES = 1024 * 1024


@dataclass
class _Form:
    """A multipart form of which one part is a file; the other fields are short texts."""

    boundary: bytes
    file_name: str | None = None
    fields: Fields = field(default_factory=list)
    _field: tuple[str, bytearray] | None = None
    _field_bytes: int = 0
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
        else:
            name_of_field = options.get(b"name", b"").decode("utf-8", "replace")
            self._field = (name_of_field, bytearray())

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
        elif self._field is not None:
            self._field_bytes += end - start
            if self._field_bytes > _FIELDS_BYTES:
                raise Invalid("upload_malformed", "The form's fields are too long.")
            self._field[1].extend(data[start:end])

    def _on_part_end(self) -> None:
        self._in_file = False
        if self._field is not None:
            name, value = self._field
            self.fields.append((name, value.decode("utf-8", "replace")))
            self._field = None

    def _on_end(self) -> None:
        self._ended = True
