"""Around every request: its id, its line in the log, its place in the metrics."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rhapsode.telemetry import Metrics, request_context

_ACCEPTABLE_ID = re.compile(r"[\w.-]{8,64}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_QUIET = {"/healthz", "/ready", "/metrics"}

_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self'; script-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; img-src 'self' data:; font-src 'self'; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": _CONTENT_SECURITY_POLICY,
}

log = structlog.get_logger(__name__)


class Observed:
    """Wraps the application. Plain ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["rhapsode.request_id"] = request_id
        answer = _Answer(send, request_id)
        started = time.perf_counter()
        with request_context(request_id):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                self._note(scope, answer.status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _template(scope)
        # Whoever may speak may make methods up; the metrics must not grow with them.
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)
        tell = log.debug if scope["path"] in _QUIET else log.info
        tell(
            "request",
            method=method,
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )


class Bounded:
    """Refuses documents that are longer than any that makes sense.

    They are read whole, and before anybody knows who sends them. Recordings are not: their
    route reads them itself, and has a limit of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or _is_upload(scope["path"]):
            await self._app(scope, receive, send)
            return
        limit = RESULT_BYTES if scope["path"].endswith("/result") else DOCUMENT_BYTES
        await self._app(scope, _bounded(receive, limit), send)


_UPLOADS = {"/api/media", "/v1/audio/transcriptions", "/v1/audio/translations"}
_RESUMABLE = "/api/uploads"
_LEASED_MEDIA = re.compile(r"/api/runners/[^/]+/leases/[^/]+/[^/]+/media")
DOCUMENT_BYTES = 256 * 1024
"""Room for a job with eight presigned URLs of the greatest length."""

RESULT_BYTES = 128 * 1024 * 1024
"""A transcript of a day with a time for each word takes about 20 MB. Its route reads it only
once it knows the runner."""


def _is_upload(path: str) -> bool:
    if path == _RESUMABLE or path.startswith(f"{_RESUMABLE}/"):
        return True
    return path in _UPLOADS or _LEASED_MEDIA.fullmatch(path) is not None


class Overridden:
    """Lets a POST stand for another method of the tus protocol, where proxies know few.

    Only there: nothing else expects it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(f"{_RESUMABLE}/"):
            wanted = Headers(scope=scope).get("x-http-method-override", "").upper()
            if scope["method"] == "POST" and wanted in {"PATCH", "DELETE", "HEAD"}:
                scope["method"] = wanted
        await self._app(scope, receive, send)


def _bounded(receive: Receive, limit: int) -> Receive:
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, f"A document here has at most {limit} bytes.")
        return message

    return counting


def _template(scope: Scope) -> str:
    """The path with names for its parameters, so that it stands for one route only."""
    if "route" not in scope:
        return "unrouted"
    names = {str(value): f"{{{name}}}" for name, value in scope["path_params"].items()}
    return "/".join(names.get(part, part) for part in scope["path"].split("/"))


def _request_id(scope: Scope) -> str:
    """The caller's, so that a request can be followed across services; else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _ACCEPTABLE_ID.fullmatch(given) else uuid4().hex


class _Answer:
    """Adds headers to the answer, and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 499  # what is noted where the client left before any answer

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)
