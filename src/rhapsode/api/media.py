"""/api/media: recordings in and out."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from rhapsode.api.bodies import Answer, Page, page_of
from rhapsode.api.deps import Ctx, CurrentUser, Flag, IdempotencyKey, Limit
from rhapsode.api.errors import problems
from rhapsode.api.ranges import content as range_content
from rhapsode.api.uploads import incoming
from rhapsode.domain.media import Media, MediaId, MediaState
from rhapsode.services import media
from rhapsode.services.idempotency import once

router = APIRouter(prefix="/media", tags=["media"], responses=problems(401, 403, 503))


class ProbeBody(Answer):
    """What the server found inside the recording; the duration is in seconds."""

    container: str
    codec: str
    channels: int
    sample_rate: int
    duration: float | None
    has_video: bool


class MediaBody(Answer):
    """One stored recording. `digest` is its SHA-256; the duration is in seconds."""

    id: UUID
    name: str
    state: MediaState
    size: int
    digest: str | None
    media_type: str | None
    duration: float | None
    created_at: datetime
    probe: ProbeBody | None


def media_body(item: Media) -> MediaBody:
    """The document of a media."""
    return MediaBody(
        id=item.id,
        name=item.name,
        state=item.state,
        size=item.size,
        digest=item.digest,
        media_type=item.probe.media_type if item.probe else None,
        duration=item.duration,
        created_at=item.created_at,
        probe=ProbeBody.model_validate(item.probe) if item.probe else None,
    )


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "", status_code=201, openapi_extra=_UPLOAD, responses=problems(404, 409, 413, 422, 507)
)
async def upload(
    request: Request,
    context: Ctx,
    user: CurrentUser,
    idempotency_key: IdempotencyKey = None,
    name: Annotated[str | None, Query(max_length=1000, description="The file's name.")] = None,
) -> MediaBody:
    """Store a recording: a form with one file, or the bare bytes and `?name=`."""
    file = await incoming(request, name)
    size = request.headers.get("content-length", "")
    wanted = once(user.id, idempotency_key, "POST media", file.name or "", size)
    return media_body(await media.receive(context, user, file, request=wanted))


@router.get("", responses=problems(422))
async def page(
    context: Ctx,
    user: CurrentUser,
    cursor: UUID | None = None,
    digest: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
    limit: Limit = 50,
) -> Page[MediaBody]:
    """One's recordings, newest first."""
    before = None if cursor is None else MediaId(cursor)
    found = await media.page(context, user, before=before, digest=digest, limit=limit + 1)
    return page_of([media_body(item) for item in found], [item.id for item in found], limit)


@router.get("/{media_id}", responses=problems(404, 422))
async def get(context: Ctx, user: CurrentUser, media_id: UUID) -> MediaBody:
    """One recording's record."""
    return media_body(await media.get(context, user, MediaId(media_id)))


@router.head("/{media_id}/content", include_in_schema=False)
@router.get(
    "/{media_id}/content",
    response_class=Response,
    responses={
        200: {"description": "The whole recording.", "content": {"audio/*": {}, "video/*": {}}},
        206: {"description": "The part that Range asks for."},
        304: {"description": "Not modified."},
        **problems(404, 416, 422),
    },
)
async def content(
    request: Request,
    context: Ctx,
    user: CurrentUser,
    media_id: UUID,
    download: Flag = False,
) -> Response:
    """The recording itself, for players and downloads; Range is understood."""
    item = await media.get(context, user, MediaId(media_id))
    return await range_content(request, context, item, download=download)


@router.delete("/{media_id}", status_code=204, responses=problems(404, 409, 422))
async def delete(context: Ctx, user: CurrentUser, media_id: UUID) -> None:
    """Remove a recording; refused while a job needs it."""
    await media.delete(context, user, MediaId(media_id))
