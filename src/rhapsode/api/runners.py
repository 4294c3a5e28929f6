"""/api/runners: the protocol of the runners, and their administration.

Everything is asked by the runner: it needs one outbound connection and a token.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import ConfigDict, Field, ValidationError

from rhapsode.api.bodies import Answer, Asked
from rhapsode.api.deps import Admin, Ctx, IdempotencyKey, RunnerSecret
from rhapsode.api.errors import problems
from rhapsode.api.ranges import content
from rhapsode.api.uploads import incoming
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobError, JobId, Progress, RunnerId
from rhapsode.domain.runners import Assignment, Capabilities, Lease, Registration, Verdict
from rhapsode.domain.transcripts import MAX_SECONDS, Segment, Transcript
from rhapsode.services import fetching, leases, partials, runners
from rhapsode.services.aside import aside
from rhapsode.services.idempotency import create_unshown, once
from rhapsode.services.offers import online

router = APIRouter(tags=["runners"], responses=problems(401, 403, 503))

_LINK_LIFETIME = timedelta(hours=6)


class Register(Asked):
    """Who the runner is and what it can do."""

    name: str = Field(min_length=1, max_length=100)
    version: str = Field(max_length=40)
    capabilities: Capabilities


class Claim(Asked):
    """How long the answer may wait for a job to come, and which models are in memory."""

    wait_seconds: float = Field(30.0, ge=0, le=600)
    loaded: list[Annotated[str, Field(max_length=200)]] | None = Field(None, max_length=100)


class ProgressAsked(Asked):
    """What the runner is doing, and the share of that which is done (0 to 1)."""

    stage: str = Field(max_length=40)
    fraction: float = Field(ge=0, le=1)


class Heartbeat(Asked):
    """A sign of life, with progress if there is news of it."""

    progress: ProgressAsked | None = None


class HeartbeatAnswer(Answer):
    """Whether to go on."""

    verdict: Verdict


class Result(Asked):
    """The canonical transcript, and what the user should know about how it came to be."""

    transcript: dict[str, Any]
    warnings: list[Annotated[str, Field(max_length=1000)]] = Field(default=[], max_length=100)


class Failure(Asked):
    """Why the run failed; a permanent failure is not tried again.

    `expired` says that the recording's URL does not work any more: the job needs a fresh one.
    """

    code: str = Field(pattern="^[a-z0-9_]{1,64}$")
    message: str = Field(max_length=4000)
    permanent: bool = False
    expired: bool = False


class TokenBody(Answer):
    """A runner token, without its secret."""

    id: UUID
    name: str
    created_at: datetime


class NewTokenBody(TokenBody):
    """A runner token with its secret, which is shown this once."""

    secret: str


class NewToken(Asked):
    """What the token is for."""

    name: str = Field(min_length=1, max_length=100)


class RunnerBody(Answer):
    """A runner that was heard of lately, and the job that it is on."""

    id: UUID
    name: str
    version: str
    capabilities: Capabilities
    registered_at: datetime
    seen_at: datetime
    job_id: UUID | None = None


class RunnerList(Answer):
    """The runners that were heard of lately."""

    items: list[RunnerBody]


class TokenList(Answer):
    """All runner tokens."""

    items: list[TokenBody]


@router.post("/runners/register", responses=problems(422))
async def register(context: Ctx, secret: RunnerSecret, asked: Register) -> Registration:
    """Make a runner known, and learn the rhythm to keep."""
    return await runners.register(
        context,
        secret,
        name=asked.name,
        version=asked.version,
        capabilities=asked.capabilities,
    )


@router.post(
    "/runners/{runner_id}/claim",
    response_model=Assignment,
    responses={204: {"description": "No job came."}, **problems(404, 422)},
)
async def claim(
    request: Request, context: Ctx, secret: RunnerSecret, runner_id: UUID, asked: Claim
) -> Assignment | Response:
    """The next job that this runner can do; waits for one to come."""
    runner = await runners.authenticate(context, RunnerId(runner_id), secret)

    async def connected() -> bool:
        return not await request.is_disconnected()

    if asked.loaded is not None:
        runner = await runners.note_loaded(context, runner, tuple(asked.loaded))
    found = await runners.claim(context, runner, asked.wait_seconds, connected)
    return Response(status_code=204) if found is None else found


_LEASE = "/runners/{runner_id}/leases/{job_id}/{attempt}"
_LEASE_PROBLEMS = problems(404, 409, 422)


Attempt = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]


async def _lease(
    context: Ctx, secret: RunnerSecret, runner_id: UUID, job_id: UUID, attempt: Attempt
) -> Lease:
    await runners.authenticate(context, RunnerId(runner_id), secret)
    return Lease(RunnerId(runner_id), JobId(job_id), attempt)


CurrentLease = Annotated[Lease, Depends(_lease)]


@router.post(f"{_LEASE}/heartbeat", responses=_LEASE_PROBLEMS)
async def heartbeat(context: Ctx, lease: CurrentLease, asked: Heartbeat) -> HeartbeatAnswer:
    """Renew the lease, tell of progress, learn whether to go on."""
    told = asked.progress
    progress = None if told is None else Progress(told.stage, told.fraction)
    return HeartbeatAnswer(verdict=await leases.heartbeat(context, lease, progress))


class SegmentAsked(Asked):
    """A stretch of speech as it was heard; times are seconds of the recording."""

    model_config = ConfigDict(extra="ignore")

    start: float = Field(ge=0, le=MAX_SECONDS)
    end: float = Field(ge=0, le=MAX_SECONDS)
    text: str = Field(max_length=10_000)


class Told(Asked):
    """Segments as they come; `first` is how many were told of before."""

    first: int = Field(ge=0, le=10_000_000)
    segments: list[SegmentAsked] = Field(max_length=500)


@router.post(f"{_LEASE}/segments", status_code=204, responses=_LEASE_PROBLEMS)
async def segments(context: Ctx, lease: CurrentLease, asked: Told) -> None:
    """Tell of segments while the job runs, where its spec says `partials`."""
    heard = [Segment(it.start, it.end, it.text) for it in asked.segments]
    await partials.tell(context, lease, asked.first, heard)


@router.get(f"{_LEASE}/verdict", responses=_LEASE_PROBLEMS)
async def verdict(
    context: Ctx,
    lease: CurrentLease,
    wait_seconds: Annotated[float, Query(ge=0, le=600)] = 0.0,
) -> HeartbeatAnswer:
    """Whether to go on: at once where not, otherwise as soon as not or after the wait.

    It does not renew the lease.
    """
    return HeartbeatAnswer(verdict=await leases.verdict(context, lease, wait_seconds))


@router.head(f"{_LEASE}/media", include_in_schema=False)
@router.get(
    f"{_LEASE}/media",
    response_class=Response,
    responses={
        200: {"description": "The recording."},
        206: {"description": "The part that Range asks for."},
        304: {"description": "Not modified."},
        307: {"description": "The recording is at the presigned URL in Location."},
        **problems(404, 409, 416, 422),
    },
)
async def media(request: Request, context: Ctx, lease: CurrentLease) -> Response:
    """The recording of the lease; Range is understood.

    That of a job by URL is passed on from there, where the server does that for its runners.
    """
    job, item = await leases.leased_recording(context, lease)
    if item is None:
        passing = await fetching.passed_on(context, job, request.headers)
        return StreamingResponse(passing.blocks, passing.status, passing.headers)
    if context.rules.presign_downloads:
        link = await context.store.link(item.key, _LINK_LIFETIME)
        if link is not None:
            return RedirectResponse(link)
    return await content(request, context, item, download=True)


_BYTES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
        },
    }
}


@router.put(
    f"{_LEASE}/media",
    status_code=204,
    responses=problems(404, 409, 413, 422, 507),
    openapi_extra=_BYTES,
)
async def keep(request: Request, context: Ctx, lease: CurrentLease) -> None:
    """Store what was fetched by URL as the job's recording. The same again is fine."""
    await fetching.keep(context, lease, await incoming(request, None))


_RESULT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Result.model_json_schema()}},
    }
}
_reading_results = asyncio.Semaphore(2)
"""A long transcript takes ten times its size in memory while it is read."""


@router.put(
    f"{_LEASE}/result", status_code=204, responses=_LEASE_PROBLEMS, openapi_extra=_RESULT
)
async def result(request: Request, context: Ctx, lease: CurrentLease) -> None:
    """Hand in the transcript; the job is finished. The same again is fine."""
    # Read here and not by the framework, which would read it before it knows who asks.
    async with _reading_results:
        body = await request.body()
        transcript, warnings = await aside(len(body) // _SEGMENT_BYTES, _understood, body)
        await leases.result(context, lease, transcript, warnings)


_SEGMENT_BYTES = 1000


def _understood(body: bytes) -> tuple[Transcript, tuple[str, ...]]:
    try:
        asked = Result.model_validate_json(body)
        return Transcript.from_dict(asked.transcript), tuple(asked.warnings)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, ("body", *found["loc"])))
        raise Invalid("invalid_request", f"{where}: {found['msg']}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Invalid(
            "transcript_malformed",
            f"The transcript is not one: {type(error).__name__} {error}.",
        ) from error


@router.post(f"{_LEASE}/failure", status_code=204, responses=_LEASE_PROBLEMS)
async def failure(context: Ctx, lease: CurrentLease, asked: Failure) -> None:
    """Tell that the run failed."""
    error = JobError(asked.code, asked.message)
    if asked.expired:
        await leases.expired(context, lease, error)
    else:
        await leases.failure(context, lease, error, permanent=asked.permanent)


@router.post(f"{_LEASE}/give-back", status_code=204, responses=_LEASE_PROBLEMS)
async def give_back(context: Ctx, lease: CurrentLease) -> None:
    """Return the job to the queue; it costs the job nothing."""
    await leases.give_back(context, lease)


@router.get("/runners")
async def runners_online(context: Ctx, _admin: Admin) -> RunnerList:
    """The runners that were heard of lately."""
    busy = await runners.running(context)
    found = [
        RunnerBody.model_validate(runner).model_copy(update={"job_id": busy.get(runner.id)})
        for runner in await online(context)
    ]
    return RunnerList(items=found)


@router.post("/runner-tokens", status_code=201, responses=problems(409, 422))
async def create_token(
    context: Ctx, admin: Admin, asked: NewToken, idempotency_key: IdempotencyKey = None
) -> NewTokenBody:
    """A token with which a machine can join; its secret is shown this once."""
    wanted = once(admin.id, idempotency_key, "POST runner-tokens", asked.name)
    new = await create_unshown(
        context, wanted, lambda: runners.create_token(context, asked.name, request=wanted)
    )
    token = TokenBody.model_validate(new.token)
    return NewTokenBody(**token.model_dump(), secret=new.secret)


@router.get("/runner-tokens")
async def tokens(context: Ctx, _admin: Admin) -> TokenList:
    """All runner tokens, newest first."""
    found = await runners.tokens(context)
    return TokenList(items=[TokenBody.model_validate(token) for token in found])


@router.delete("/runner-tokens/{token_id}", status_code=204, responses=problems(404, 422))
async def delete_token(context: Ctx, _admin: Admin, token_id: UUID) -> None:
    """Revoke a token: its runners are refused from now on."""
    await runners.delete_token(context, token_id)
