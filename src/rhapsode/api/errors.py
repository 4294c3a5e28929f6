"""Problem details (RFC 9457), and the only place that knows HTTP status codes of errors."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rhapsode.api.envelopes import Fault, Problem, envelope_of
from rhapsode.domain.errors import DomainError, Kind
from rhapsode.domain.uploads import OffsetConflict

MEDIA_TYPE = "application/problem+json"

_STATUS = {
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.INVALID: 422,
    Kind.DENIED: 403,
    Kind.LIMITED: 429,
    Kind.UNAVAILABLE: 503,
}
_STATUS_BY_CODE = {
    "unauthenticated": 401,
    "wrong_login": 401,
    "lock_denied": 401,
    "media_too_large": 413,
    "input_too_large": 413,
    "range_not_satisfiable": 416,
    "storage_full": 507,
    # What the tus protocol asks for.
    "tus_version": 412,
    "upload_content_type": 415,
    "upload_header": 400,
    "upload_checksum_algorithm": 400,
    "upload_checksum": 460,
    "upload_expired": 410,
    "upload_too_long": 413,
}

log = structlog.get_logger(__name__)


def _phrase(status: int) -> str:
    return "Checksum Mismatch" if status == 460 else HTTPStatus(status).phrase


def status_of(error: DomainError) -> int:
    """The HTTP status by which an error is told."""
    return _STATUS_BY_CODE.get(error.code, _STATUS[error.kind])


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route, so that generated clients know its errors."""
    return {
        status: {
            "model": Problem,
            "description": _phrase(status),
            "content": {MEDIA_TYPE: {}},
        }
        for status in statuses
    }


def add_handlers(app: FastAPI) -> None:
    """Let every error of this application leave it as problem details."""

    @app.exception_handler(DomainError)
    async def domain(request: Request, error: DomainError) -> JSONResponse:
        status = status_of(error)
        if status >= 500:
            log.warning("request.unavailable", code=error.code, error=error.message)
        headers = _extra_headers(error)
        return _answer(
            request, status, error.message, error.code, hint=error.hint, headers=headers
        )

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = [_fault(item) for item in error.errors()[:_MOST_FAULTS]]
        detail = "; ".join(f"{fault.where}: {fault.message}" for fault in faults[:5])
        return _answer(request, 422, detail, "invalid_request", errors=faults)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        detail = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.method} is not possible at {request.url.path}.",
        }.get(error.status_code, str(error.detail))
        code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
        return _answer(request, error.status_code, detail, code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request.failed", exc_info=error)
        hint = "The server's log has the details under this request id."
        detail = "Something went wrong in the server."
        return _answer(request, 500, detail, "internal_error", hint=hint)


_MOST_FAULTS = 20

# The standard library's names of these differ between versions of Python.
_CODES = {413: "body_too_large", 422: "invalid_request"}


def _extra_headers(error: DomainError) -> dict[str, str] | None:
    """What HTTP wants beside the document: how long the file is whose range was missed.

    And where an upload goes on that was sent from elsewhere.
    """
    if isinstance(error, OffsetConflict):
        return {"upload-offset": str(error.offset)}
    size = getattr(error, "size", None)
    return None if size is None else {"content-range": f"bytes */{size}"}


def _fault(item: dict[str, Any]) -> Fault:
    where: Sequence[Any] = item["loc"]
    return Fault(where=".".join(str(part) for part in where), message=item["msg"])


def _answer(
    request: Request,
    status: int,
    detail: str,
    code: str,
    *,
    hint: str | None = None,
    errors: list[Fault] | None = None,
    headers: Any = None,
) -> JSONResponse:
    problem = Problem(
        title=_phrase(status),
        status=status,
        detail=detail,
        code=code,
        hint=hint,
        errors=errors,
        request_id=request.scope.get("rhapsode.request_id"),
    )
    extra = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    extra |= headers or {}
    extra |= getattr(request.state, "headers", {})  # what a route says with every answer
    envelope = envelope_of(request.url.path)
    if envelope is not None:
        status, document = envelope(problem)
        return JSONResponse(document, status_code=status, headers=extra)
    document = problem.model_dump(exclude_none=True)
    return JSONResponse(document, status_code=status, media_type=MEDIA_TYPE, headers=extra)
