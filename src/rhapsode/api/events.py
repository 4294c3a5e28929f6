"""Server-sent events: jobs as they change."""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from rhapsode.api.deps import Ctx, CurrentUser, Known, StillKnown
from rhapsode.api.errors import problems
from rhapsode.api.jobs import job_body
from rhapsode.domain.jobs import Job, JobId
from rhapsode.services import events, jobs

router = APIRouter(tags=["events"], responses=problems(401, 403, 503))

_CHECK_SECONDS = 10.0
"""How long a stream may outlive the key or the login that it was opened with."""

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `job` (data: the job) and `job_deleted` (data: its id).",
        "content": {"text/event-stream": {}},
    }
}
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def all_jobs(context: Ctx, user: CurrentUser, known: StillKnown) -> StreamingResponse:
    """Each of one's jobs, when it changes. After a reconnect, read the list again."""
    return _stream(events.watch_all(context, user), known)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **problems(404, 422)},
)
async def one_job(
    context: Ctx, user: CurrentUser, known: StillKnown, job_id: UUID
) -> StreamingResponse:
    """One job: at once as it stands, then at each change, up to its end."""
    await jobs.get(context, user, JobId(job_id))  # a refusal must come before the stream
    return _stream(events.watch_one(context, user, JobId(job_id)), known)


def _stream(news: AsyncIterator[Job | JobId | None], known: Known) -> StreamingResponse:
    return StreamingResponse(
        _lines(news, known), media_type="text/event-stream", headers=_HEADERS
    )


async def _lines(news: AsyncIterator[Job | JobId | None], known: Known) -> AsyncIterator[bytes]:
    checked = time.monotonic()
    async for item in news:
        if time.monotonic() - checked > _CHECK_SECONDS:
            if not await known():
                return
            checked = time.monotonic()
        if item is None:
            yield b": keep-alive\n\n"
        elif isinstance(item, Job):
            yield format_sse_event(event="job", data_str=job_body(item).model_dump_json())
        else:
            yield format_sse_event(event="job_deleted", data_str=f'{{"id":"{item}"}}')
