"""The application: its routes, its errors, and the parts that live as long as it does."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from rhapsode import __version__
from rhapsode.api import (
    audit,
    deliveries,
    errors,
    events,
    health,
    jobs,
    media,
    openai,
    options,
    runners,
    speakers,
    transcription,
    tus,
    users,
    webhooks,
)
from rhapsode.api.middleware import Bounded, Observed, Overridden
from rhapsode.api.page import add_page
from rhapsode.services.context import Context
from rhapsode.telemetry import Metrics

OpenContext = Callable[[], AbstractAsyncContextManager[Context]]

_DESCRIPTION = """Speech to text on your own machines: upload a recording, make a job for it,
watch it run, fetch the transcript. Send an API key as a bearer token. Errors are problem
details (RFC 9457) with a stable `code`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """What the application needs to know beside its context."""

    secure_cookies: bool | Literal["auto"] = "auto"
    public_url: str | None = None

    @property
    def public_host(self) -> str | None:
        """The host, and port, under which browsers know the server behind its proxy."""
        return urlsplit(self.public_url).netloc if self.public_url else None

    def is_secure(self, scheme: str) -> bool:
        """Whether a login may be sent over HTTPS only, for a request that came by `scheme`."""
        if self.secure_cookies != "auto":
            return self.secure_cookies
        return "https" in {scheme, urlsplit(self.public_url or "").scheme}


def create_app(open_context: OpenContext, config: AppConfig | None = None) -> FastAPI:
    """The application; its context opens and closes with its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_context() as context:
            app.state.context = context
            yield

    app = FastAPI(
        title="Rhapsode",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=lambda route: f"{(route.tags or ['page'])[0]}_{route.name}",
    )
    app.add_middleware(Bounded)
    app.add_middleware(Overridden)
    app.state.config = config or AppConfig()
    _add_routes(app)
    return app


def observed(app: FastAPI, metrics: Metrics) -> ASGIApp:
    """The application with request ids, logs and metrics around it.

    Outermost, so that errors that no handler expected are counted and answered with an id.
    """
    return Observed(app, metrics)


def _add_routes(app: FastAPI) -> None:
    errors.add_handlers(app)
    api = APIRouter(prefix="/api")
    # Routes are tried one after the other, so those that are asked most come first.
    for part in (
        runners,
        jobs,
        media,
        tus,
        events,
        deliveries,
        webhooks,
        speakers,
        users,
        audit,
        options,
    ):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(openai.router)
    app.include_router(transcription.router)
    app.include_router(health.router)
    add_page(app)
