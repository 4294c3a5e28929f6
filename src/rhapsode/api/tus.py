"""/api/uploads: recordings in pieces, by the tus protocol 1.0 (https://tus.io).

With the extensions creation, creation-with-upload, creation-defer-length, checksum, expiration
and termination. Only GET is ours: the upload as a document, with what came of it.
"""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import ClientDisconnect

from rhapsode.api.bodies import Answer
from rhapsode.api.deps import Ctx, CurrentUser, IdempotencyKey
from rhapsode.api.errors import problems
from rhapsode.domain.errors import DomainError, Invalid
from rhapsode.domain.uploads import (
    CHECKSUM_ALGORITHMS,
    Upload,
    UploadId,
    UploadState,
    parsed_checksum,
    parsed_metadata,
    written_metadata,
)
from rhapsode.domain.users import User
from rhapsode.services import uploads
from rhapsode.services.context import Context
from rhapsode.services.idempotency import once
from rhapsode.services.uploads import Piece

VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination"
)
PIECE_TYPE = "application/offset+octet-stream"
_NUMBER = re.compile(r"[0-9]{1,18}")


async def _announce(request: Request, context: Ctx) -> None:
    """These go with every answer, refusals too."""
    request.state.headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Max-Size": str(context.rules.max_upload_bytes),
        "Cache-Control": "no-store",
    }


async def _ensure_version(request: Request, _user: CurrentUser) -> None:
    given = request.headers.get("tus-resumable")
    if given != VERSION:
        raise Invalid(
            "tus_version",
            f"The request speaks {'no version' if given is None else given[:20]} of tus.",
            hint=f"Send `Tus-Resumable: {VERSION}`.",
        )


Tus = Depends(_ensure_version)
router = APIRouter(
    prefix="/uploads",
    tags=["uploads"],
    dependencies=[Depends(_announce)],
    responses=problems(401, 403, 503),
)


class UploadErrorBody(Answer):
    """Why no recording came of it, or not yet."""

    code: str
    message: str
    hint: str | None


class UploadBody(Answer):
    """An upload: how much of it has arrived, and the media that came of it."""

    id: UUID
    name: str
    state: UploadState
    size: int | None
    received: int
    media_id: UUID | None
    error: UploadErrorBody | None
    created_at: datetime
    expires_at: datetime


def _headers_of(upload: Upload) -> dict[str, str]:
    found = {
        "Upload-Offset": str(upload.received),
        "Rhapsode-Upload-State": upload.state.value,
        **_length_of(upload.size),
    }
    if upload.state is UploadState.RECEIVING:
        found["Upload-Expires"] = format_datetime(upload.expires_at, usegmt=True)
    if upload.media_id is not None:
        found["Rhapsode-Media-Id"] = str(upload.media_id)
    return found


def _length_of(size: int | None) -> dict[str, str]:
    return {"Upload-Defer-Length": "1"} if size is None else {"Upload-Length": str(size)}


def _answer(request: Request, status: int, headers: dict[str, str]) -> Response:
    return Response(status_code=status, headers={**request.state.headers, **headers})


def _number(request: Request, name: str) -> int | None:
    """A header that counts bytes; None without it."""
    text = request.headers.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise Invalid("upload_header", f"{name} is no number of bytes.")
    return int(text)


def _announced_size(request: Request) -> int | None:
    """How long a new upload will be; None where the client says that it will say so later."""
    size, deferred = _number(request, "Upload-Length"), _is_deferred(request)
    if (size is None) is not deferred:
        raise Invalid(
            "upload_header", "A new upload needs Upload-Length, or `Upload-Defer-Length: 1`."
        )
    return size


def _is_deferred(request: Request) -> bool:
    return request.headers.get("upload-defer-length") == "1"


def _piece(request: Request, offset: int) -> Piece:
    """The bytes that come with this request."""
    checksum = request.headers.get("upload-checksum")
    return Piece(
        offset=offset,
        chunks=_chunks(request),
        length=_number(request, "Content-Length"),
        checksum=parsed_checksum(checksum) if checksum else None,
        size=_number(request, "Upload-Length"),
    )


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect as error:
        raise Invalid(
            "upload_cut", "The connection broke; what had arrived is kept.", hint="Go on."
        ) from error


_BYTES: dict[str, Any] = {
    "requestBody": {"content": {PIECE_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


def _header(name: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}


def _documented(*headers: str, body: bool = False) -> dict[str, Any]:
    """What the OpenAPI document cannot see: we read headers and bodies ourselves."""
    parameters = [
        _header("Tus-Resumable", required=True),
        *(_header(name) for name in headers),
    ]
    return {"parameters": parameters, **(_BYTES if body else {})}


@router.options("", status_code=204)
@router.options("/{upload_id}", status_code=204, include_in_schema=False)
async def discover(request: Request, _user: CurrentUser) -> Response:
    """What of the tus protocol this server speaks."""
    extras = {
        "Tus-Extension": EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
    }
    return _answer(request, 204, extras)


@router.post(
    "",
    status_code=201,
    dependencies=[Tus],
    response_class=Response,
    openapi_extra=_documented(
        *("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Checksum"),
        body=True,
    ),
    responses=problems(400, 409, 412, 413, 415, 422, 429, 460, 507),
)
async def create(
    request: Request,
    context: Ctx,
    user: CurrentUser,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Begin an upload; its address is in Location. Its first bytes may come along."""
    size = _announced_size(request)
    written = request.headers.get("upload-metadata", "")
    first = _piece(request, 0) if _has_bytes(request) else None
    made = await uploads.create(
        context,
        user,
        size=size,
        metadata=parsed_metadata(written),
        request=once(user.id, idempotency_key, "POST uploads", str(size), written),
    )
    if first is not None and made.state is UploadState.RECEIVING and not made.received:
        made = await _with_bytes(context, user, made, first)
    place = {"Location": f"{request.url.path}/{made.id}"}
    return _answer(request, 201, {**_headers_of(made), **place})


def _has_bytes(request: Request) -> bool:
    has_body = "transfer-encoding" in request.headers or _number(request, "Content-Length")
    if not has_body:
        return False
    _ensure_type(request)
    return True


def _ensure_type(request: Request) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != PIECE_TYPE:
        raise Invalid(
            "upload_content_type",
            f"The bytes of an upload come as `Content-Type: {PIECE_TYPE}`.",
        )


async def _with_bytes(context: Context, user: User, made: Upload, first: Piece) -> Upload:
    try:
        return await uploads.append(context, user, made.id, first)
    except DomainError as error:
        if error.code == "upload_checksum":  # its address would not be told
            await uploads.delete(context, user, made.id)
        raise


@router.head(
    "/{upload_id}",
    status_code=200,
    dependencies=[Tus],
    response_class=Response,
    openapi_extra=_documented(),
    responses=problems(404, 410, 412, 422),
)
async def head(request: Request, context: Ctx, user: CurrentUser, upload_id: UUID) -> Response:
    """Where the upload goes on, and what came of it. One that failed is gone (410)."""
    found = await uploads.get(context, user, UploadId(upload_id))
    extras = {"Upload-Metadata": written_metadata(found.metadata)} if found.metadata else {}
    gone = found.state is UploadState.FAILED
    return _answer(request, 410 if gone else 200, {**_headers_of(found), **extras})


@router.get("/{upload_id}", responses=problems(404, 410, 422))
async def get(context: Ctx, user: CurrentUser, upload_id: UUID) -> UploadBody:
    """The upload as a document, with its media, or with why there is none."""
    found = await uploads.get(context, user, UploadId(upload_id))
    return UploadBody.model_validate(found)


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=[Tus],
    response_class=Response,
    openapi_extra=_documented("Upload-Offset", "Upload-Checksum", "Upload-Length", body=True),
    responses=problems(400, 404, 409, 410, 412, 413, 415, 422, 460, 507),
)
async def append(
    request: Request, context: Ctx, user: CurrentUser, upload_id: UUID
) -> Response:
    """Send the bytes from Upload-Offset on. The last ones are answered with the media's id.

    Where putting a long recording together takes its time, the answer comes without: ask then.
    """
    _ensure_type(request)
    offset = _number(request, "Upload-Offset")
    if offset is None:
        raise Invalid("upload_header", "Upload-Offset has to say where the bytes belong.")
    piece = _piece(request, offset)
    found = await uploads.append(context, user, UploadId(upload_id), piece)
    return _answer(request, 204, _headers_of(found))


@router.delete(
    "/{upload_id}",
    status_code=204,
    dependencies=[Tus],
    response_class=Response,
    openapi_extra=_documented(),
    responses=problems(404, 412, 422),
)
async def delete(
    request: Request, context: Ctx, user: CurrentUser, upload_id: UUID
) -> Response:
    """End an upload and remove what arrived; a media that was made of it stays."""
    await uploads.delete(context, user, UploadId(upload_id))
    return _answer(request, 204, {})
