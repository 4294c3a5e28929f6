"""How surfaces that others defined tell of errors: their documents instead of ours."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field


class Fault(BaseModel):
    """One thing that is wrong with a request: where, and what."""

    where: str = Field(examples=["body.spec.layout"])
    message: str


class Problem(BaseModel):
    """What went wrong, for people (`detail`, `hint`) and for programs (`code`)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = None
    errors: list[Fault] | None = None
    request_id: str | None = None


Envelope = Callable[[Problem], tuple[int, dict[str, Any]]]
"""The status and the document by which a surface tells of a problem."""


def openai(problem: Problem) -> tuple[int, dict[str, Any]]:
    """OpenAI's: its packages raise by the status and show the message."""
    status = {409: 400, 422: 400, 507: 503}.get(problem.status, problem.status)
    message = f"{problem.detail} {problem.hint}" if problem.hint else problem.detail
    param = problem.errors[0].where.rpartition(".")[2] if problem.errors else None
    error = {
        "message": message,
        "type": _OPENAI_TYPES.get(status, "server_error" if status >= 500 else _INVALID),
        "param": param,
        "code": _OPENAI_CODES.get(problem.code, problem.code),
    }
    return status, {"error": error}


_INVALID = "invalid_request_error"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {"unauthenticated": "invalid_api_key", "unknown_model": "model_not_found"}


class PlainProblem(BaseModel):
    """FastAPI's own: a sentence, or a list of what is wrong where."""

    detail: str | list[dict[str, Any]]


def plain(problem: Problem) -> tuple[int, dict[str, Any]]:
    """FastAPI's own, as the clients of a service that was made with it read it."""
    if problem.errors:
        return problem.status, {"detail": [_plain_fault(fault) for fault in problem.errors]}
    hint = f" {problem.hint}" if problem.hint else ""
    return problem.status, {"detail": f"{problem.detail}{hint}"}


def _plain_fault(fault: Fault) -> dict[str, Any]:
    place = _PLACE.findall(fault.where)
    return {"type": "value_error", "loc": place, "msg": fault.message}


_PLACE = re.compile(r"whisper\.cpp|[^.]+")
"""One step of the way to a fault; a single name among them has a dot."""

ENVELOPES: dict[str, Envelope] = {"/v1/": openai, "/transcription": plain}
"""By the beginning of the path; everywhere else it is problem details."""


def envelope_of(path: str) -> Envelope | None:
    """The envelope of the surface that a path belongs to, None for our own."""
    return next((it for start, it in ENVELOPES.items() if path.startswith(start)), None)
