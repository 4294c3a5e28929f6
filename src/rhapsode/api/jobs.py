"""/api/jobs: asked for, watched, fetched."""

import asyncio
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator, Field, model_validator

from rhapsode.api.bodies import Answer, Asked, Page, page_of
from rhapsode.api.deps import Ctx, CurrentUser, Flag, IdempotencyKey, Limit
from rhapsode.api.errors import problems
from rhapsode.api.ranges import disposition
from rhapsode.database.jobs import JobFilter
from rhapsode.domain.cues import Shaping
from rhapsode.domain.deliveries import ARTIFACTS
from rhapsode.domain.errors import DomainError
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import (
    DEFAULT_ENGINE,
    DEFAULT_MODEL,
    MAX_DAYS,
    MAX_HOTWORD_CHARACTERS,
    MAX_HOTWORDS,
    MAX_PROMPT_CHARACTERS,
    Job,
    JobId,
    JobSpec,
    JobState,
    Layout,
    Notify,
    Priority,
    Retention,
    Source,
)
from rhapsode.domain.media import MediaId
from rhapsode.domain.speakers import MAX_SPEAKERS, SpeakerBounds, bounds_of
from rhapsode.domain.urls import MAX_URL_CHARACTERS, shown
from rhapsode.services import jobs, retrying
from rhapsode.services.idempotency import once
from rhapsode.services.jobs import JobOrder
from rhapsode.services.retrying import Fresh

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=problems(401, 403, 503))

Name = Annotated[str, Field(min_length=1, max_length=90)]


SpeakerCount = Annotated[int, Field(ge=1, le=MAX_SPEAKERS)]


class SpeakersBody(Asked):
    """How many speakers there are, where that is known: `exact`, or `min` and `max`."""

    exact: SpeakerCount | None = None
    min: SpeakerCount | None = None
    max: SpeakerCount | None = None

    @model_validator(mode="after")
    def _do_not_contradict(self) -> Self:
        try:
            self.to_domain()
        except DomainError as error:
            raise ValueError(error.message) from error
        return self

    def to_domain(self) -> SpeakerBounds:
        """The bounds in the domain's terms."""
        return bounds_of(self.exact, self.min, self.max)


Language = Annotated[str, Field(pattern="^[a-z]{2,3}$")]
Hotword = Annotated[str, Field(min_length=1, max_length=MAX_HOTWORD_CHARACTERS)]


class SpecBody(Asked):
    """What to do with the recording."""

    engine: Name = DEFAULT_ENGINE
    model: Name = DEFAULT_MODEL
    language: Language | None = Field(
        None, description="As in `en`; without one it is detected.", examples=["en"]
    )
    layout: Layout = Layout.SIMPLE
    word_times: bool = True
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)] | None = Field(
        None, description="Names, spelling and style that the engine should take as context."
    )
    priority: Priority = Field(Priority.NORMAL, description="0 batch, 1 normal, 2 urgent.")
    speakers: SpeakersBody = Field(
        default_factory=SpeakersBody, description="Matters to the layout `diarisation`."
    )

    languages: Annotated[list[Language], Field(max_length=20)] = Field(
        default=[], description="Those to choose from where the language is detected."
    )
    mixed_languages: bool = Field(
        False, description="Detect the language again and again, for people who switch."
    )
    translate_to: Language | None = Field(
        None, description="`en`, for models that translate: the text is English then."
    )
    hotwords: Annotated[list[Hotword], Field(max_length=MAX_HOTWORDS)] = Field(
        default=[], description="Names and terms to listen for."
    )
    temperature: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Of decoding; without one it rises where decoding goes wrong."
    )
    numerals: bool = Field(True, description="Off: numbers are written as words.")
    punctuation: bool = Field(True, description="Off: no punctuation marks.")

    def to_domain(self) -> JobSpec:
        """The spec in the domain's terms."""
        lists = {"languages": tuple(self.languages), "hotwords": tuple(self.hotwords)}
        return JobSpec(**{**dict(self), **lists, "speakers": self.speakers.to_domain()})


Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]
Days = Annotated[float, Field(ge=0, le=MAX_DAYS)]
Outputs = Annotated[
    dict[str, Url],
    Field(
        max_length=len(ARTIFACTS),
        description=f"What is PUT where, by name: {', '.join(ARTIFACTS)}.",
        examples=[{"vtt": "https://bucket.example.org/talk.vtt?X-Amz-Signature=…"}],
    ),
]


class JobInput(Asked):
    """The recording: one that was uploaded, or the URL of one."""

    media_id: UUID | None = None
    url: Url | None = Field(
        None,
        description="http(s), perhaps presigned, or `s3://BUCKET/KEY` where the operator "
        "opened the bucket. It is fetched as the job starts.",
    )
    keep: bool = Field(
        False, description="Whether what is fetched from the URL is kept as a recording."
    )
    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="The job's name, where not the recording's, or the URL's last part."
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.media_id is None) == (self.url is None):
            raise ValueError("exactly one of media_id and url is needed")
        if self.keep and self.url is None:
            raise ValueError("keep goes with url; a recording of media_id is kept anyway")
        return self


class NotifyBody(Asked):
    """Who is told of the job's end, beside the webhooks."""

    email: bool = Field(False, description="Whether the job's owner gets an e-mail.")


class RetentionBody(Asked):
    """Days that things are kept after the job's end; 0 not at all, null as the server does."""

    media_days: Days | None = None
    transcript_days: Days | None = None


class NewJob(Asked):
    """A request to transcribe, and where the results shall go."""

    input: JobInput
    spec: SpecBody = Field(default_factory=SpecBody)
    outputs: Outputs = Field(default_factory=dict)
    notify: NotifyBody = Field(default_factory=NotifyBody)
    retention: RetentionBody = Field(default_factory=RetentionBody)

    def to_order(self) -> JobOrder:
        """The order in the services' terms."""
        given = self.input
        return JobOrder(
            spec=self.spec.to_domain(),
            media_id=None if given.media_id is None else MediaId(given.media_id),
            source=None if given.url is None else Source(url=given.url, keep=given.keep),
            name=given.name,
            outputs=self.outputs,
            notify=Notify(email=self.notify.email),
            retention=Retention(**dict(self.retention)),
        )


class FreshInput(Asked):
    """Another URL of the same recording."""

    url: Url


class Again(Asked):
    """Fresh URLs in place of those that stopped working; the others stay."""

    input: FreshInput | None = None
    outputs: Outputs = Field(default_factory=dict)

    def to_fresh(self) -> Fresh:
        """The URLs in the services' terms."""
        url = None if self.input is None else self.input.url
        return Fresh(input_url=url, outputs=self.outputs)


class SpeakersAnswer(Answer):
    """How many speakers are told apart; no `max` leaves that open."""

    min: int = Field(validation_alias="least")
    max: int | None = Field(validation_alias="most")


class SpecAnswer(Answer):
    """What is done with the recording."""

    engine: str
    model: str
    language: str | None
    layout: Layout
    word_times: bool
    prompt: str | None
    priority: Priority
    speakers: SpeakersAnswer
    languages: list[str]
    mixed_languages: bool
    translate_to: str | None
    hotwords: list[str]
    temperature: float | None
    numerals: bool
    punctuation: bool


class ProgressBody(Answer):
    """What a run is doing, and the share of that which is done (0 to 1)."""

    stage: str
    fraction: float


class ErrorBody(Answer):
    """Why the job, or its last attempt, failed."""

    code: str
    message: str


Shown = Annotated[str, BeforeValidator(shown)]
"""A URL without what may be secret in it."""


class SourceBody(Answer):
    """Where the recording is fetched from, without credentials and query."""

    url: Shown
    keep: bool


class NotifyAnswer(Answer):
    """Who is told of the job's end, beside the webhooks."""

    email: bool


class RetentionAnswer(Answer):
    """Days that things are kept after the job's end; null as the server does."""

    media_days: float | None
    transcript_days: float | None


class JobBody(Answer):
    """One job as it stands. The duration is the recording's, in seconds.

    Of the outputs' URLs, credentials and query are not shown. Once `transcribed_at` is set,
    there is a transcript, whatever the state; what may remain is to deliver it. Retention
    may take it away again, at `transcript_deleted_at`.
    """

    id: UUID
    name: str
    media_id: UUID | None
    user_id: UUID
    spec: SpecAnswer
    state: JobState
    attempt: int
    max_attempts: int
    progress: ProgressBody | None
    runner_name: str | None
    language: str | None
    duration: float | None
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    transcribed_at: datetime | None
    transcript_deleted_at: datetime | None
    error: ErrorBody | None
    warnings: list[str]
    source: SourceBody | None
    outputs: dict[str, Shown]
    notify: NotifyAnswer
    retention: RetentionAnswer


def job_body(job: Job) -> JobBody:
    """The document of a job."""
    return JobBody.model_validate(job)


@router.post("", status_code=201, responses=problems(404, 409, 422))
async def create(
    context: Ctx, user: CurrentUser, asked: NewJob, idempotency_key: IdempotencyKey = None
) -> JobBody:
    """Queue a job for an uploaded recording, or for one behind a URL."""
    wanted = once(user.id, idempotency_key, "POST jobs", asked.model_dump_json())
    job = await jobs.create(context, user, asked.to_order(), request=wanted)
    return job_body(job)


@router.get("", responses=problems(422))
async def page(
    context: Ctx,
    user: CurrentUser,
    state: Annotated[list[JobState] | None, Query(description="Any of these.")] = None,
    search: Annotated[
        str | None,
        Query(max_length=200, pattern=r"^[^\x00]*$", description="Part of a name."),
    ] = None,
    media_id: UUID | None = None,
    source: Annotated[
        str | None,
        Query(
            max_length=1000,
            pattern=r"^[^\x00?#]*$",
            description="Only recordings by URL, with a URL that begins like this.",
        ),
    ] = None,
    cursor: UUID | None = None,
    limit: Limit = 50,
) -> Page[JobBody]:
    """One's jobs, newest first."""
    wanted = JobFilter(
        user_id=user.id,
        states=state or (),
        search=search,
        media_id=None if media_id is None else MediaId(media_id),
        source=source,
        before=None if cursor is None else JobId(cursor),
    )
    found = await jobs.page(context, wanted, limit + 1)
    return page_of([job_body(job) for job in found], [job.id for job in found], limit)


@router.get("/{job_id}", responses=problems(404, 422))
async def get(context: Ctx, user: CurrentUser, job_id: UUID) -> JobBody:
    """One job as it stands."""
    return job_body(await jobs.get(context, user, JobId(job_id)))


@router.post("/{job_id}/cancel", responses=problems(404, 409, 422))
async def cancel(context: Ctx, user: CurrentUser, job_id: UUID) -> JobBody:
    """Call a job off, also while it runs."""
    return job_body(await jobs.cancel(context, user, JobId(job_id)))


@router.post("/{job_id}/retry", responses=problems(404, 409, 422))
async def retry(
    context: Ctx, user: CurrentUser, job_id: UUID, asked: Again | None = None
) -> JobBody:
    """Queue a job again that failed, expired or was canceled, perhaps with fresh URLs.

    Where there is a transcript already, only what was not delivered is sent again.
    """
    fresh = (asked or Again()).to_fresh()
    return job_body(await retrying.retry(context, user, JobId(job_id), fresh))


@router.delete("/{job_id}", status_code=204, responses=problems(404, 422))
async def delete(
    context: Ctx,
    user: CurrentUser,
    job_id: UUID,
    keep_media: Flag = False,
) -> None:
    """Remove a job, its transcript, and its recording unless another job uses that."""
    await jobs.delete(context, user, JobId(job_id), keep_media=keep_media)


class WordBody(Answer):
    """One word: its times in seconds, and how sure the engine is of it (0 to 1)."""

    start: float
    end: float
    text: str
    probability: float | None
    speaker: str | None = None


class SegmentBody(Answer):
    """A stretch of speech; `words` is empty where none were asked for."""

    start: float
    end: float
    text: str
    speaker: str | None
    words: list[WordBody]


class TranscriptBody(Answer):
    """The canonical transcript. The language is null where nobody spoke."""

    text: str
    language: str | None
    duration: float
    segments: list[SegmentBody]
    language_probability: float | None


CueLimit = Annotated[int | None, Query(ge=1, le=1000)]


@router.get(
    "/{job_id}/transcript",
    response_class=Response,
    responses={
        200: {
            "model": TranscriptBody,
            "description": "The transcript in the format asked for; the model is JSON's.",
            "content": {
                item.media_type.partition(";")[0]: {}
                for item in Format
                if item is not Format.JSON
            },
        },
        **problems(404, 409, 422),
    },
)
async def transcript(
    context: Ctx,
    user: CurrentUser,
    job_id: UUID,
    format: Format = Format.JSON,  # noqa: A002 (the product's word for it)
    chars_per_line: CueLimit = None,
    lines_per_cue: CueLimit = None,
    words_per_cue: CueLimit = None,
    download: Flag = False,
) -> Response:
    """The transcript, rendered on request; the three limits shape srt and vtt."""
    job, found = await jobs.transcript(context, user, JobId(job_id))
    shaping = Shaping(chars_per_line, lines_per_cue, words_per_cue)
    text = await asyncio.to_thread(render, found, format, shaping, job.spec.layout)
    stem = job.name.rpartition(".")[0] or job.name
    kind = "attachment" if download else "inline"
    return Response(
        text,
        media_type=format.media_type,
        headers={"content-disposition": disposition(kind, f"{stem}.{format}")},
    )
