"""/v1: OpenAI's API for audio, over the same queue. Its own packages work with `base_url`."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field, ValidationError, field_validator

from rhapsode.api.deps import Ctx, CurrentUser
from rhapsode.api.envelopes import Problem
from rhapsode.api.envelopes import openai as enveloped
from rhapsode.api.errors import status_of
from rhapsode.api.uploads import Fields, incoming_form
from rhapsode.domain import openai as documents
from rhapsode.domain.errors import DomainError, NotFound
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import MAX_PROMPT_CHARACTERS, JobSpec, Layout, Priority
from rhapsode.domain.media import Media
from rhapsode.domain.openai import Granularity
from rhapsode.domain.transcripts import Transcript
from rhapsode.domain.users import User
from rhapsode.services import immediate, media, names
from rhapsode.services.aside import aside
from rhapsode.services.context import Context

router = APIRouter(prefix="/v1", tags=["openai"])
T = TypeVar("T", bound=BaseModel)


class ResponseFormat(StrEnum):
    """The forms in which OpenAI's API gives a transcript."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE = "verbose_json"
    DIARIZED = "diarized_json"


class TranslationForm(BaseModel):
    """What may be said of a recording that becomes English text."""

    model: str = Field(min_length=1, max_length=200)
    prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARACTERS)
    response_format: ResponseFormat = ResponseFormat.JSON
    temperature: float = Field(0.0, ge=0, le=1)


class TranscriptionForm(TranslationForm):
    """What may be said of a recording that becomes text. What is unknown is passed over.

    `chunking_strategy` is accepted and changes nothing: recordings are always cut at silences.
    """

    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    stream: bool = False
    timestamp_granularities: list[Granularity] = [Granularity.SEGMENT]
    chunking_strategy: Literal["auto"] | dict[str, Any] | None = None

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str) or value in {"", "auto"}:
            return value or None
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError("is neither `auto` nor a JSON object") from error


_LISTS = {"timestamp_granularities", "include", "languages", "keywords"}


def _understood(form: type[T], fields: Fields) -> T:
    """The fields as a document; OpenAI's packages send lists as `name[]`, or by index."""
    found: dict[str, Any] = {}
    for name, value in fields:
        plain = name.partition("[")[0]
        if plain in _LISTS:
            found.setdefault(plain, []).append(value)
        elif "[" in name:
            found.setdefault(plain, {})[name.partition("[")[2].rstrip("]")] = value
        else:
            found[plain] = value
    try:
        return form.model_validate(found)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error


_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "model"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "model": {"type": "string", "examples": ["whisper-1"]},
                        "response_format": {"enum": [str(item) for item in ResponseFormat]},
                        "language": {"type": "string"},
                        "prompt": {"type": "string"},
                        "temperature": {"type": "number"},
                        "stream": {"type": "boolean"},
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"enum": [str(item) for item in Granularity]},
                        },
                    },
                }
            }
        },
    }
}
_ENVELOPE: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "OpenAI's error document.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    for status in (400, 401, 403, 404, 413, 422, 503)
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The transcript in the form asked for, or its events.",
        "content": {"application/json": {}, "text/plain": {}, "text/event-stream": {}},
    },
    **_ENVELOPE,
}


@router.post(
    "/audio/transcriptions", response_class=Response, openapi_extra=_FORM, responses=_ANSWERS
)
async def transcriptions(request: Request, context: Ctx, user: CurrentUser) -> Response:
    """What is said in a recording, in its language."""
    recording, fields = await _received(request, context, user)
    async with _discarded_on_error(context, user, recording):
        form = _understood(TranscriptionForm, fields)
        spec = await _spec(context, form, language=form.language, partials=form.stream)
    if form.stream:
        events = _events(request, context, user, recording, spec, form)
        return StreamingResponse(events, media_type="text/event-stream", headers=_NO_CACHE)
    return await _answered(request, context, user, recording, spec, form)


@router.post(
    "/audio/translations", response_class=Response, openapi_extra=_FORM, responses=_ANSWERS
)
async def translations(request: Request, context: Ctx, user: CurrentUser) -> Response:
    """What is said in a recording, in English."""
    recording, fields = await _received(request, context, user)
    async with _discarded_on_error(context, user, recording):
        form = _understood(TranslationForm, fields)
        spec = await _spec(context, form, translate_to="en")
    return await _answered(request, context, user, recording, spec, form)


_NO_CACHE = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def _received(request: Request, context: Context, user: User) -> tuple[Media, Fields]:
    file, fields = await incoming_form(request)
    return await media.receive(context, user, file), fields


@asynccontextmanager
async def _discarded_on_error(
    context: Context, user: User, recording: Media
) -> AsyncIterator[None]:
    """Whoever is refused for what the form says leaves no recording behind."""
    try:
        yield
    except Exception:
        await media.delete(context, user, recording.id)
        raise


async def _spec(context: Context, form: TranslationForm, **more: Any) -> JobSpec:
    engine, model = await names.model_named(context, form.model)
    speakers = form.response_format is ResponseFormat.DIARIZED
    return JobSpec(
        engine=engine,
        model=model,
        temperature=form.temperature or None,
        layout=Layout.DIARISATION if speakers else Layout.SIMPLE,
        prompt=form.prompt or None,
        priority=Priority.URGENT,
        **more,
    )


async def _answered(
    request: Request,
    context: Context,
    user: User,
    recording: Media,
    spec: JobSpec,
    form: TranslationForm,
) -> Response:
    async with immediate.asked(context, user, recording, spec) as job:
        found = await immediate.ended(context, user, job, _connected(request))
    if found is None:
        return Response(status_code=499)  # to nobody: the client has left
    return await aside(len(found.segments), _response, found, form)


def _connected(request: Request) -> immediate.Connected:
    async def connected() -> bool:
        return not await request.is_disconnected()

    return connected


_TEXTS = {
    ResponseFormat.TEXT: Format.TXT,
    ResponseFormat.SRT: Format.SRT,
    ResponseFormat.VTT: Format.VTT,
}


def _response(found: Transcript, form: TranslationForm) -> Response:
    if form.response_format in _TEXTS:
        text_format = _TEXTS[form.response_format]
        return PlainTextResponse(render(found, text_format), media_type=text_format.media_type)
    if form.response_format is ResponseFormat.DIARIZED:
        return JSONResponse(documents.diarized(found))
    if form.response_format is ResponseFormat.VERBOSE:
        wanted = getattr(form, "timestamp_granularities", [Granularity.SEGMENT])
        return JSONResponse(
            documents.verbose(found, wanted, form.temperature, _TASK[type(form)])
        )
    return JSONResponse(documents.plain(found))


_TASK = {TranslationForm: "translate", TranscriptionForm: "transcribe"}


async def _events(
    request: Request,
    context: Context,
    user: User,
    recording: Media,
    spec: JobSpec,
    form: TranscriptionForm,
) -> AsyncIterator[str]:
    """The transcript as events; an error that comes this late is one, too."""
    try:
        async with immediate.asked(context, user, recording, spec) as job:
            news = immediate.heard(context, user, job, _connected(request))
            telling = documents.Telling(form.response_format is ResponseFormat.DIARIZED)
            async with aclosing(news):
                async for item in news:
                    for document in telling.told(item):
                        yield _event(document)
    except DomainError as error:
        yield _event(_envelope(error))


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _envelope(error: DomainError) -> dict[str, Any]:
    status = status_of(error)
    problem = Problem(
        title="", status=status, detail=error.message, code=error.code, hint=error.hint
    )
    return enveloped(problem)[1]


class Model(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rhapsode"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models", responses=_ENVELOPE)
async def models(context: Ctx, _user: CurrentUser) -> ModelList:
    """Every model by its name, and OpenAI's names, which stand for the default."""
    return ModelList(data=[Model(id=name) for name in await names.model_names(context)])


@router.get("/models/{name:path}", responses=_ENVELOPE)
async def model(context: Ctx, _user: CurrentUser, name: str) -> Model:
    """One model; 404 where there is none of that name."""
    if name not in await names.model_names(context):
        raise NotFound("unknown_model", f"There is no model '{name}'.")
    return Model(id=name)
