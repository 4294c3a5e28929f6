"""Who asks, and what the routes work on."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Header, Query, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from rhapsode.domain.errors import Denied, DomainError
from rhapsode.domain.users import User, ensure_admin
from rhapsode.services import users
from rhapsode.services.context import Context
from rhapsode.services.secrets import RUNNER_TOKEN_PREFIX

LOGIN_COOKIE = "rhapsode_login"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

_bearer = HTTPBearer(auto_error=False, description="An API key or a runner token.")
_cookie = APIKeyCookie(name=LOGIN_COOKIE, auto_error=False, description="A browser's login.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
Cookie = Annotated[str | None, Depends(_cookie)]


async def _context(request: Request) -> Context:  # async: a plain one costs a thread
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context)]


async def _user(request: Request, context: Ctx, bearer: Bearer, cookie: Cookie) -> User:
    if bearer is not None:
        if bearer.credentials.startswith(RUNNER_TOKEN_PREFIX):
            raise Denied("not_a_user", "A runner token serves runners only; use an API key.")
        found = await users.by_key(context, bearer.credentials)
    elif cookie is not None:
        _ensure_same_origin(request)
        found = await users.by_login(context, cookie)
    else:
        raise unauthenticated("Sign in, or send an API key as a bearer token.")
    if found is None:
        raise unauthenticated("The API key or the login is not valid, or no longer.")
    return found


def unauthenticated(message: str) -> Denied:
    """Nobody knows who asks."""
    return Denied(
        "unauthenticated",
        message,
        hint="`rhapsode token create --api-key NAME` makes a key.",
    )


def _ensure_same_origin(request: Request) -> None:
    """A browser sends its cookie along wherever a page comes from; its headers tell."""
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    own = {request.headers.get("host"), request.app.state.config.public_host}
    foreign = origin is not None and _host_of(origin) not in own
    if site not in {"same-origin", "none"} or foreign:
        raise Denied("foreign_origin", "The request comes from a page of another site.")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


CurrentUser = Annotated[User, Depends(_user)]


Known = Callable[[], Awaitable[bool]]


async def _still_known(request: Request, context: Ctx, bearer: Bearer, cookie: Cookie) -> Known:
    async def check() -> bool:
        try:
            await _user(request, context, bearer, cookie)
        except DomainError:
            return False
        return True

    return check


StillKnown = Annotated[Known, Depends(_still_known)]
"""Tells, later, whether the credentials of a long answer still count."""


async def _admin(user: CurrentUser) -> User:
    ensure_admin(user)
    return user


Admin = Annotated[User, Depends(_admin)]


async def _runner_secret(bearer: Bearer) -> str:
    if bearer is None:
        raise Denied(
            "unauthenticated",
            "A runner sends its token as a bearer token.",
            hint="An administrator makes one with `rhapsode token create --runner NAME`.",
        )
    return bearer.credentials


RunnerSecret = Annotated[str, Depends(_runner_secret)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        description="The same key with the same request makes one thing, however often sent.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="How many to return at most.")]

Flag = Annotated[bool, Query()]
