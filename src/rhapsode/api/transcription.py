"""/transcription/: the interface of a service that others have clients for (seed 001).

Its field names, words, numbers and errors are kept as its clients know them; see
`domain/transcription.py`. New clients use /api/jobs.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from starlette.types import Receive, Scope, Send

from rhapsode.api.bodies import holds_unstorable
from rhapsode.api.deps import Bearer, Ctx, IdempotencyKey, unauthenticated
from rhapsode.api.envelopes import PlainProblem
from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import Priority
from rhapsode.domain.languages import WITH_CANTONESE
from rhapsode.domain.transcription import (
    DEFAULT_EXPIRATION_SECONDS,
    DEFAULT_MODEL,
    MAX_EXPIRATION_SECONDS,
    MODELS,
    Asked,
    AskedEngine,
    NotificationType,
    Record,
    Word,
    document,
)
from rhapsode.domain.urls import checked_web_url
from rhapsode.domain.users import User
from rhapsode.services import transcription
from rhapsode.services.context import Context
from rhapsode.services.idempotency import once

_AUTO = "auto"
_LANGUAGES = (_AUTO, *WITH_CANTONESE)


router = APIRouter(prefix="/transcription", tags=["transcription"])


async def _asker(context: Ctx, bearer: Bearer) -> User:
    if bearer is None:
        raise unauthenticated("Not authenticated.")
    return await transcription.asker(context, bearer.credentials)


Asker = Annotated[User, Depends(_asker)]


def _web_url(url: str) -> str:
    try:
        return checked_web_url(url, "This")
    except DomainError as error:
        raise ValueError(str(error)) from error


WebUrl = Annotated[str, AfterValidator(_web_url)]


class Lenient(BaseModel):
    """A document of theirs: what is not known is passed over, as that service did."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_storable(cls, value: Any) -> Any:
        if holds_unstorable(value):
            raise ValueError("holds a NUL or half a surrogate pair, which no text has")
        return value


class Outputs(Lenient):
    """Where the results are PUT; one of them is enough, whichever it is."""

    json_url: WebUrl | None = Field(None, description="The engine's own JSON.")
    vtt_url: WebUrl | None = Field(None, description="WebVTT.")
    txt_url: WebUrl | None = Field(None, description="Plain text.")
    csv_url: WebUrl | None = Field(None, description="CSV as whisper.cpp writes it.")
    meta_url: WebUrl | None = Field(None, description="The job's own document.")

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not self.chosen():
            raise ValueError("at least one output must be selected")
        return self

    def chosen(self) -> dict[str, str]:
        """The URLs by the artifacts' names."""
        return {
            name.removesuffix("_url"): url
            for name, url in dict(self).items()
            if url is not None
        }


def _language(value: str) -> str:
    if value not in _LANGUAGES:
        raise ValueError(f"choose one of: {', '.join(_LANGUAGES)}")
    return value


class _Options(Lenient):
    engine: str
    language: Annotated[str, AfterValidator(_language)] = Field(
        "en", description="`auto` detects it."
    )
    model: Annotated[str, Field(max_length=90)] = DEFAULT_MODEL
    input: WebUrl = Field(description="The recording, fetched when the job starts.")
    outputs: Outputs
    # That service's own client sends it here, where the service never looked.
    priority: Priority | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _model_is_known(self) -> Self:
        known = MODELS[AskedEngine(self.engine)]
        if self.model not in known:
            raise ValueError(f"there is no model '{self.model}'; choose: {', '.join(known)}")
        return self


class WhisperOptions(_Options):
    """What OpenAI's Whisper shall do."""

    engine: Literal["openai-whisper"]


class WhisperCppOptions(_Options):
    """What whisper.cpp shall do."""

    engine: Literal["whisper.cpp"]


class FasterWhisperOptions(_Options):
    """What faster-whisper shall do. The runner decides in which numbers it computes."""

    engine: Literal["faster-whisper"]
    compute_type: Literal["default", "fp32", "int8"] = "default"


AnyOptions = Annotated[
    WhisperOptions | WhisperCppOptions | FasterWhisperOptions, Field(discriminator="engine")
]


class TranscriptionRequest(Lenient):
    """A request for a transcription."""

    version: Literal["1"] = "1"
    notification_type: NotificationType = NotificationType.POLL
    notification_url: str | None = Field(
        None, description="With the type `url`: it is sent the job's document by PUT."
    )
    expiration: float = Field(
        DEFAULT_EXPIRATION_SECONDS,
        ge=0,
        le=MAX_EXPIRATION_SECONDS,
        description="Seconds after its end that the job is kept.",
    )
    priority: Priority = Field(Priority.NORMAL, description="0 batch, 1 normal, 2 urgent.")
    options: AnyOptions

    @model_validator(mode="after")
    def _is_told_somewhere(self) -> Self:
        if self.notification_type is NotificationType.URL:
            if not self.notification_url:
                raise ValueError("notification_type 'url' needs a notification_url")
            _web_url(self.notification_url)
        return self

    @model_validator(mode="after")
    def _priority_is_found(self) -> Self:
        if "priority" not in self.model_fields_set and self.options.priority is not None:
            self.priority = self.options.priority
        return self

    def to_domain(self) -> Asked:
        """The request in the domain's terms."""
        options = self.options
        return Asked(
            engine=AskedEngine(options.engine),
            model=options.model,
            language=None if options.language == _AUTO else options.language,
            input=options.input,
            outputs=options.outputs.chosen(),
            notification_type=self.notification_type,
            notification_url=self.notification_url,
            expiration_seconds=self.expiration,
            priority=self.priority,
            document=self.model_dump_json(),
        )


class TranscriptionJob(BaseModel):
    """A job as that service shows it. Times are seconds since 1970, 0 where not yet."""

    id: int
    owner: str
    state: Word
    message: str
    media_length: float
    language_used: str
    request: str = Field(description="The request as JSON; only its owner sees it whole.")
    queue_time: float
    start_time: float
    finish_time: float
    processing_time: float
    url_notified: bool
    priority: int


class Done(BaseModel):
    """It was done."""

    ok: Literal[True] = True


def _body(record: Record, user: User) -> TranscriptionJob:
    is_owner = record.job.user_id == user.id
    return TranscriptionJob.model_validate(document(record, with_secrets=is_owner))


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": PlainProblem, "description": HTTPStatus(status).phrase}
        for status in (401, *statuses, 503)
    }


@router.get("", include_in_schema=False)
@router.get("/", responses=_problems(422))
async def page(
    context: Ctx,
    user: Asker,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=0, le=100)] = 100,
) -> list[TranscriptionJob]:
    """One's jobs, an administrator's everybody's, oldest first."""
    found = await transcription.page(context, user, offset=offset, limit=limit)
    return [_body(record, user) for record in found]


@router.post("", include_in_schema=False)
@router.post("/", responses=_problems(422))
async def create(
    context: Ctx,
    user: Asker,
    asked: TranscriptionRequest,
    idempotency_key: IdempotencyKey = None,
) -> TranscriptionJob:
    """Queue a recording by URL; 503 while submissions are locked."""
    wanted = asked.to_domain()
    request = once(user.id, idempotency_key, "POST transcription", wanted.document)
    return _body(await transcription.submit(context, user, wanted, request=request), user)


@router.get("/lock", responses=_problems())
@router.post("/lock", name="lock_by_post", responses=_problems())
async def lock(context: Ctx, user: Asker) -> Done:
    """Refuse submissions here from now on. For administrators."""
    await transcription.lock(context, user, locked=True)
    return Done()


@router.get("/unlock", responses=_problems())
@router.post("/unlock", name="unlock_by_post", responses=_problems())
async def unlock(context: Ctx, user: Asker) -> Done:
    """Take submissions again. For administrators."""
    await transcription.lock(context, user, locked=False)
    return Done()


@router.get("/{number}/", response_model=TranscriptionJob, include_in_schema=False)
@router.get(
    "/{number}",
    response_model=TranscriptionJob,
    responses=_problems(403, 404, 422),
)
async def get(context: Ctx, user: Asker, number: int) -> Response:
    """A job as it stands. With `poll`, once its end was read, it is removed a while later."""
    record = await transcription.get(context, user, number)
    body = _body(record, user).model_dump(mode="json")
    return ReadOnce(context, number, body) if record.is_read_once else JSONResponse(body)


class ReadOnce(JSONResponse):
    """The end of a job: it counts as read when all of it has been sent to who still listens."""

    def __init__(self, context: Context, number: int, content: Any) -> None:
        super().__init__(content)
        self._context = context
        self._number = number

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, then note it."""
        listens = not await Request(scope, receive).is_disconnected()
        await super().__call__(scope, receive, send)
        if listens:
            await transcription.received(self._context, self._number)


@router.delete("/{number}/", include_in_schema=False)
@router.delete("/{number}", responses=_problems(403, 404, 409, 422))
async def delete(context: Ctx, user: Asker, number: int) -> Done:
    """Cancel a job that runs; remove any other."""
    await transcription.remove(context, user, number)
    return Done()
