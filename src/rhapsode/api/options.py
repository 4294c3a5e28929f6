"""/api/options: what can be asked for."""

from fastapi import APIRouter
from pydantic import Field

from rhapsode import __version__
from rhapsode.api.bodies import Answer
from rhapsode.api.deps import Ctx, CurrentUser
from rhapsode.api.errors import problems
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import JobSpec, Layout
from rhapsode.services.offers import offers

router = APIRouter(tags=["options"], responses=problems(401, 403, 503))


class ModelBody(Answer):
    """A model; no languages means that nobody knows which it has."""

    name: str
    languages: list[str]
    description: str | None
    size_bytes: int | None


class EngineBody(Answer):
    """An engine and its models."""

    name: str
    models: list[ModelBody]


class DefaultsBody(Answer):
    """What a job gets that asks for nothing in particular."""

    engine: str
    model: str
    language: str | None
    layout: Layout
    word_times: bool


class OptionsBody(Answer):
    """What can be asked for, by whom it would be done, and how large it may be."""

    version: str
    engines: list[EngineBody]
    layouts: list[Layout]
    formats: list[Format]
    defaults: DefaultsBody
    max_upload_bytes: int
    runners_online: int
    emails: bool = Field(description="Whether a job's owner can be told of its end by e-mail.")


@router.get("/options")
async def options(context: Ctx, _user: CurrentUser) -> OptionsBody:
    """Engines, models, languages, layouts and formats."""
    found = await offers(context)
    return OptionsBody(
        version=__version__,
        engines=[EngineBody.model_validate(engine) for engine in found.engines],
        layouts=list(found.layouts),
        formats=list(Format),
        defaults=DefaultsBody.model_validate(JobSpec()),
        max_upload_bytes=context.rules.max_upload_bytes,
        runners_online=found.runners_online,
        emails=context.smtp is not None,
    )
