"""Server-sent events: jobs as they change."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from rhapsode.api.deps import Ctx, CurrentUser
from rhapsode.api.errors import problems
from rhapsode.api.jobs import job_body
from rhapsode.domain.jobs import Job, JobId
from rhapsode.services import events, jobs

router = APIRouter(tags=["events"], responses=problems(401, 403, 503))

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `job` (data: the job) and `job_deleted` (data: its id).",
        "content": {"text/event-stream": {}},
    }
}
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def all_jobs(context: Ctx, user: CurrentUser) -> StreamingResponse:
    """Each of one's jobs, when it changes. After a reconnect, read the list again."""
    return _stream(events.watch_all(context, user))


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, **problems(404, 422)},
)
async def one_job(context: Ctx, user: CurrentUser, job_id: UUID) -> StreamingResponse:
    """One job: at once as it stands, then at each change, up to its end."""
    await jobs.get(context, user, JobId(job_id))  # a refusal must come before the stream
    return _stream(events.watch_one(context, user, JobId(job_id)))


def _stream(news: AsyncIterator[Job | JobId | None]) -> StreamingResponse:
    return StreamingResponse(_lines(news), media_type="text/event-stream", headers=_HEADERS)


async def _lines(news: AsyncIterator[Job | JobId | None]) -> AsyncIterator[bytes]:
    async for item in news:
        if item is None:
            yield b": keep-alive\n\n"
        elif isinstance(item, Job):
            yield format_sse_event(event="job", data_str=job_body(item).model_dump_json())
        else:
            yield format_sse_event(event="job_deleted", data_str=f'{{"id":"{item}"}}')
