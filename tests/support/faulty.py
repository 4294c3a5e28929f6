"""The runner protocol with faults on demand: what no well-behaved server can be made to do.

It knows no rules; whoever tests the runner against the rules uses the real server.
"""

import asyncio
import contextlib
import hashlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

TOKEN = "rhr_test"


@dataclass
class Report:
    """One call of the runner about a lease."""

    job: str
    attempt: int
    kind: str
    body: Any


@dataclass
class FaultyServer:
    """Hands out jobs and notes what comes back; `faults` holds answers to give instead."""

    port: int
    heartbeat_seconds: float = 0.3
    lease_seconds: float = 2.0
    faults: dict[str, deque[Response]] = field(default_factory=lambda: defaultdict(deque))
    cut_media_at: deque[int] = field(default_factory=deque)
    reports: list[Report] = field(default_factory=list)
    registered: list[dict[str, Any]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    canceled: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    token: str = TOKEN
    claims: int = 0
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runner_id = str(uuid4())
        self._queue: deque[dict[str, Any]] = deque()
        self._media: dict[str, bytes] = {}
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def add(self, media: bytes, *, digest: str | None = None, **spec: Any) -> str:
        """Queue a job; its id."""
        job = str(uuid4())
        self._media[job] = media
        known = {"name": "a.wav", "size": len(media), "duration": None}
        found = hashlib.sha256(media).hexdigest()
        assignment = {"job_id": job, "attempt": 1, "spec": {"engine": "puppet", **spec}}
        self._queue.append({**assignment, "media": {**known, "digest": digest or found}})
        await self._tell()
        return job

    async def seen(self, what: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Wait until `what` returns something true, looking at each report."""
        async with asyncio.timeout(seconds), self._news:
            return await self._news.wait_for(what)

    def of(self, job: str, kind: str) -> Report | None:
        """The first report of that kind about a job."""
        return next((r for r in self.reports if (r.job, r.kind) == (job, kind)), None)

    async def final(self, job: str, seconds: float = 20.0) -> Report:
        """The result, the failure or the return of a job."""
        ends = ("result", "failure", "give-back")

        def found() -> Report | None:
            reports = (self.of(job, kind) for kind in ends)
            return next((report for report in reports if report), None)

        report: Report = await self.seen(found, seconds)
        return report

    async def add_by_url(self, url: str, **changes: Any) -> str:
        """Queue a job for the puppet whose recording is elsewhere; its id."""
        job = str(uuid4())
        limits = {"max_bytes": 10**9, "max_redirects": 3, "fetch_seconds": 60}
        seconds = {"connect_seconds": 5, "read_seconds": 5}
        where = {"name": "a.wav", "shown": url, "url": url, "keep": False}
        source = {**where, **limits, **seconds, **changes}
        spec = {"engine": "puppet", "model": "quick"}
        self._queue.append({"job_id": job, "attempt": 1, "spec": spec, "source": source})
        await self._tell()
        return job

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _refusal(self, request: Request, kind: str) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "unauthenticated")
        return self.faults[kind].popleft() if self.faults[kind] else None

    async def register(self, request: Request) -> Response:
        if refusal := self._refusal(request, "register"):
            return refusal
        self.registered.append(await request.json())
        await self._tell()
        rhythm = {
            "heartbeat_seconds": self.heartbeat_seconds,
            "lease_seconds": self.lease_seconds,
        }
        return JSONResponse({"runner_id": self.runner_id, **rhythm})

    async def claim(self, request: Request) -> Response:
        if refusal := self._refusal(request, "claim"):
            return refusal
        self.claims += 1
        asked = await request.json()
        wait, self.loaded = asked["wait_seconds"], asked["loaded"]
        await self._tell()
        try:
            async with asyncio.timeout(min(wait, 5)), self._news:
                await self._news.wait_for(lambda: self._queue)
                return JSONResponse(self._queue.popleft())
        except TimeoutError:
            return Response(status_code=204)

    async def lease(self, request: Request) -> Response:
        kind, job = request.path_params["kind"], request.path_params["job"]
        if refusal := self._refusal(request, kind):
            return refusal
        if kind == "media":
            return self._send_media(request, job)
        if kind == "verdict":
            return await self._verdict(job, float(request.query_params["wait_seconds"]))
        gone = job in self.lost or (job in self.canceled and kind != "heartbeat")
        body = await request.json() if await request.body() else None
        kind = f"{kind} refused" if gone else kind
        self.reports.append(Report(job, int(request.path_params["attempt"]), kind, body))
        await self._tell()
        if gone:
            return problem(409, "lease_lost")
        if kind == "heartbeat":
            return JSONResponse({"verdict": "cancel" if job in self.canceled else "continue"})
        return Response(status_code=204)

    async def _verdict(self, job: str, wait: float) -> Response:
        """Like a server whose signals get lost: a cancel shows in the next heartbeat only."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait, 2)), self._news:
                await self._news.wait_for(lambda: job in self.lost)
        return (
            problem(409, "lease_lost")
            if job in self.lost
            else JSONResponse({"verdict": "continue"})
        )

    def _send_media(self, request: Request, job: str) -> Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        media = self._media[job]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        span = {"Content-Range": f"bytes {start}-{len(media) - 1}/{len(media)}"}
        headers = {
            "Content-Length": str(len(media) - start),
            "ETag": f'"{hashlib.sha256(media).hexdigest()}"',
            **(span if wanted else {}),
        }
        cut = self.cut_media_at.popleft() if self.cut_media_at else None
        return StreamingResponse(
            self._blocks(media[start:][:cut], truncated=cut is not None),
            206 if wanted else 200,
            headers=headers,
        )

    async def _blocks(self, media: bytes, *, truncated: bool) -> AsyncIterator[bytes]:
        for start in range(0, len(media), 65536):
            yield media[start : start + 65536]
        if truncated:
            raise ConnectionResetError("cut on purpose")

    def app(self) -> Starlette:
        lease = "/api/runners/{runner}/leases/{job}/{attempt}/{kind}"
        return Starlette(
            routes=[
                Route("/api/runners/register", self.register, methods=["POST"]),
                Route("/api/runners/{runner}/claim", self.claim, methods=["POST"]),
                Route(lease, self.lease, methods=["GET", "POST", "PUT"]),
            ]
        )


def problem(status: int, code: str) -> Response:
    """A problem document as the real server writes it."""
    body = {"status": status, "code": code, "title": code, "detail": f"It is {code}."}
    return JSONResponse(body, status, media_type="application/problem+json")


@asynccontextmanager
async def serving(server: FaultyServer) -> AsyncIterator[FaultyServer]:
    """The server listening on its port, within the block."""
    async with listening(server.app(), server.port):
        yield server


@asynccontextmanager
async def listening(app: Starlette, port: int) -> AsyncIterator[str]:
    """Any application on a real socket, within the block; its address."""
    config = uvicorn.Config(
        app, port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    runs = uvicorn.Server(config)
    task = asyncio.create_task(runs._serve())
    while not runs.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        runs.should_exit = runs.force_exit = True
        await task
