"""What went wrong between here and the server, as errors that a person can be told."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from rhapsode.domain.errors import (
    Conflict,
    Denied,
    DomainError,
    Invalid,
    Limited,
    NotFound,
    Unavailable,
)

MOST_BODY_BYTES = 64 * 1024
"""A longer body is no problem document."""


class Unreachable(Unavailable):
    """The server could not be spoken to: no connection, or it broke, or nobody answered."""


class ServerFault(Unavailable):
    """The server answered, but with a fault of its own; waiting alone does not mend it."""


_BY_STATUS: dict[int, type[DomainError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    410: NotFound,
    409: Conflict,
    412: Conflict,
    413: Limited,
    429: Limited,
    507: Limited,
    500: ServerFault,
    501: ServerFault,
}


def error_of(status: int, body: bytes, server: str) -> DomainError:
    """The error that this answer stands for, with the server's own words where it has any."""
    problem = _document(body)
    made = _BY_STATUS.get(status) or (Unavailable if status >= 500 else Invalid)
    if "code" not in problem:
        return _unexplained(made, status, server)
    return made(
        str(problem["code"]),
        _sentence(problem, status),
        hint=str(problem["hint"]) if problem.get("hint") else None,
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body[:MOST_BODY_BYTES])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sentence(problem: Mapping[str, Any], status: int) -> str:
    message = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
    places = [
        f"{item.get('where')}: {item.get('message')}"
        for item in problem.get("errors") or ()
        if isinstance(item, dict)
    ]
    return " ".join([message, *([f"({'; '.join(places)})"] if places else [])])


def _unexplained(made: type[DomainError], status: int, server: str) -> DomainError:
    """An answer without our problem document: a proxy's, or not a Rhapsode server at all."""
    if 300 <= status < 400:
        return made(
            "redirected",
            f"{server} sends the request elsewhere (HTTP {status}).",
            hint="Give the final address, with https:// where the server uses it.",
        )
    return made(
        f"http_{status}",
        f"{server} answered with HTTP status {status} and no explanation.",
        hint="Check that this is the address of a Rhapsode server and what stands before it.",
    )


def unreadable(message: str) -> ServerFault:
    """The error for a success whose content makes no sense here."""
    return ServerFault(
        "unexpected_answer",
        message,
        hint="Check that it is a Rhapsode server, of a version that goes with this one.",
    )


def unreachable(error: httpx.RequestError, server: str) -> Unreachable:
    """The error for a connection that failed or broke."""
    if isinstance(error, httpx.TimeoutException):
        message = f"The server at {server} did not answer in time."
    elif isinstance(error, httpx.ConnectError):
        message = f"The server at {server} cannot be reached ({_cause(error)})."
    else:
        message = f"The connection to the server at {server} broke ({_cause(error)})."
    return Unreachable(
        "server_unreachable",
        message,
        hint=f"Check that a Rhapsode server runs at {server} and that nothing blocks the way.",
    )


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
