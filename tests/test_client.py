"""The client against small servers that do one thing each."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from rhapsode.client import (
    RECONNECTED,
    Backoff,
    Client,
    DigestMismatch,
    Http,
    ServerFault,
    Unreachable,
    digest_of,
)
from rhapsode.client.transfers import download
from rhapsode.domain.errors import (
    Conflict,
    Denied,
    DomainError,
    Invalid,
    Limited,
    NotFound,
    Unavailable,
)
from rhapsode.domain.jobs import JobId, JobState
from rhapsode.domain.media import MediaId
from tests.support.faulty import listening, problem
from tests.support.ports import free_port

JOB: dict[str, Any] = {
    "id": str(uuid4()),
    "name": "talk.mp3",
    "media_id": str(uuid4()),
    "user_id": str(uuid4()),
    "spec": {"engine": "faster-whisper", "model": "base", "priority": 1},
    "state": "running",
    "attempt": 1,
    "max_attempts": 3,
    "progress": {"stage": "transcribing", "fraction": 0.5},
    "runner_name": "desk",
    "created_at": "2026-11-21T01:02:03Z",
    "queued_at": "2026-11-21T01:02:03Z",
    "error": None,
    "warnings": [],
    "of_a_later_version": True,
}


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://server", "rhk_x", transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (409, Conflict),
        (413, Limited),
        (415, Invalid),
        (422, Invalid),
        (429, Limited),
        (500, ServerFault),
        (503, Unavailable),
        (507, Limited),
    ],
)
async def test_problem_becomes_the_domain_error(status: int, kind: type[DomainError]) -> None:
    document = {"code": "the_code", "detail": "It is so.", "hint": "Do this.", "title": "T"}
    async with answering(lambda _: httpx.Response(status, json=document)) as client:
        with pytest.raises(kind) as caught:
            await client.me()
    assert type(caught.value) is kind
    error = caught.value
    assert (error.code, error.message, error.hint) == ("the_code", "It is so.", "Do this.")


async def test_problem_names_the_places() -> None:
    places = [{"where": "spec.model", "message": "is missing"}]
    document = {"code": "invalid", "detail": "It does not fit.", "errors": places}
    async with answering(lambda _: httpx.Response(422, json=document)) as client:
        with pytest.raises(Invalid, match=r"It does not fit. \(spec.model: is missing\)"):
            await client.me()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(502, html="<h1>Bad gateway</h1>"), "http_502"),
        (httpx.Response(404, json=["no", "problem"]), "http_404"),
        (httpx.Response(301, headers={"Location": "https://server"}), "redirected"),
        (httpx.Response(200, json={"id": "no uuid"}), "unexpected_answer"),
        (httpx.Response(200, text="no JSON"), "unexpected_answer"),
    ],
)
async def test_answers_that_are_not_ours(answer: httpx.Response, code: str) -> None:
    async with answering(lambda _: answer) as client:
        with pytest.raises(DomainError) as caught:
            await client.me()
    assert caught.value.code == code


async def test_server_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with Client(url, "rhk_x") as client:
        with pytest.raises(Unreachable) as caught:
            await client.me()
    assert url in caught.value.message
    assert caught.value.hint == (
        f"Check that a Rhapsode server runs at {url} and that nothing blocks the way."
    )


@pytest.mark.parametrize("address", ["", "server:8080", "ftp://server", "http://"])
def test_address_that_is_none(address: str) -> None:
    with pytest.raises(Invalid) as caught:
        Http(address)
    assert caught.value.code == "server_address"


async def test_job_is_decoded() -> None:
    async with answering(lambda _: httpx.Response(200, json=JOB)) as client:
        job = await client.job(JobId(UUID(JOB["id"])))
    assert (str(job.id), job.state, job.spec.model) == (JOB["id"], JobState.RUNNING, "base")
    assert job.created_at.utcoffset() is not None


async def test_creating_is_repeated_under_the_same_key() -> None:
    keys = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            raise httpx.ReadError("the connection broke")
        return httpx.Response(201, json=JOB)

    async with answering(answer) as client:
        await client.submit(MediaId(uuid4()))
    assert keys == [keys[0]] * 3


class _serving:  # noqa: N801 (used like a function)
    """A client of a server with one route."""

    def __init__(self, answer: Callable[[Request], Any], path: str) -> None:
        app = Starlette(routes=[Route(path, answer, methods=["GET", "POST"])])
        self._listening = listening(app, free_port())

    async def __aenter__(self) -> Client:
        self._client = Client(await self._listening.__aenter__(), "rhk_x")
        return self._client

    async def __aexit__(self, *exc: Any) -> None:
        await self._client.__aexit__(*exc)
        await self._listening.__aexit__(*exc)


class Source:
    """A file of a server that breaks off, changes, or ignores ranges."""

    def __init__(self, content: bytes, **behaviour: Any) -> None:
        self.content = content
        self.ranges = list[str | None]()
        self._behaviour = behaviour

    async def send(self, request: Request) -> Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        if len(self.ranges) > 1 and self._behaviour.get("changes"):
            self.content = self.content[::-1]
            self._behaviour["changes"] = False
        tag = f'"{hashlib.sha256(self.content).hexdigest()}"'
        if wanted and request.headers.get("if-range") != tag:
            wanted = None
        if self._behaviour.get("no_ranges"):
            wanted = None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        size = len(self.content)
        headers = {"Content-Length": str(size - start), "ETag": tag}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        cut = len(self.ranges) <= self._behaviour.get("cuts", 0)
        return StreamingResponse(
            self._blocks(start, cut=cut), 206 if wanted else 200, headers=headers
        )

    async def _blocks(self, start: int, *, cut: bool) -> AsyncIterator[bytes]:
        end = start + 100_000 if cut else len(self.content)
        for at in range(start, end, 50_000):
            yield self.content[at : min(end, at + 50_000)]
            await asyncio.sleep(0)
        if cut:
            raise ConnectionResetError("cut on purpose")


CONTENT = bytes(range(256)) * 2000


@pytest.mark.parametrize(
    ("behaviour", "ranges"),
    [
        ({}, [None]),
        ({"cuts": 2}, [None, "bytes=100000-", "bytes=200000-"]),
        ({"cuts": 1, "changes": True}, [None, "bytes=100000-"]),
        ({"cuts": 1, "no_ranges": True}, [None, "bytes=100000-"]),
    ],
)
async def test_download_resumes(
    tmp_path: Path, behaviour: dict[str, Any], ranges: list[str | None]
) -> None:
    source, target = Source(CONTENT, **behaviour), tmp_path / "file"
    async with _serving(source.send, "/file") as client:
        digest = hashlib.sha256(CONTENT).hexdigest()
        if behaviour.get("changes"):
            digest = hashlib.sha256(CONTENT[::-1]).hexdigest()
        await download(client.http, "/file", target, digest=digest)
    assert target.read_bytes() == source.content
    assert source.ranges == ranges
    assert await digest_of(target) == digest


async def test_damaged_download_is_noticed(tmp_path: Path) -> None:
    async with _serving(Source(CONTENT).send, "/file") as client:
        with pytest.raises(DigestMismatch):
            await download(client.http, "/file", tmp_path / "file", digest="0" * 64)


async def test_download_that_never_gets_further_gives_up(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with Http(url) as http:
        with pytest.raises(Unreachable):
            await download(http, "/file", tmp_path / "file", tries=2)


class Events:
    """A stream of events that the server ends after each connection's share."""

    def __init__(self, *shares: list[tuple[str, Any]]) -> None:
        self.shares = list(shares)
        self.connections = 0

    async def send(self, request: Request) -> Response:
        assert request.headers["accept"] == "text/event-stream"
        if self.connections >= len(self.shares):
            return problem(404, "job_not_found")
        self.connections += 1
        return StreamingResponse(self._lines(self.shares[self.connections - 1]))

    async def _lines(self, share: list[tuple[str, Any]]) -> AsyncIterator[str]:
        yield ": keep-alive\r\n\r\n"
        for name, data in share:
            yield f"event: {name}\nid: 7\ndata: {json.dumps(data)}\n\n"


async def test_events_go_on_over_a_new_connection() -> None:
    events = Events([("job", {"a": 1})], [("job_deleted", {"id": "x"}), ("job", {"a": 2})])
    seen = list[Any]()

    async def listen() -> None:
        async for event in client.events():
            seen.append(event)

    async with _serving(events.send, "/api/events") as client:
        with pytest.raises(NotFound):
            await listen()
    assert seen == [
        ("job", {"a": 1}),
        (RECONNECTED, None),
        ("job_deleted", {"id": "x"}),
        ("job", {"a": 2}),
    ]


async def test_job_is_followed_to_its_end() -> None:
    running, finished = JOB, {**JOB, "state": "finished"}
    events = Events([("job", running)], [("job", running), ("job", finished)], [])
    async with _serving(events.send, f"/api/jobs/{JOB['id']}/events") as client:
        job_id = JobId(UUID(JOB["id"]))
        states = [job.state async for job in client.follow(job_id)]
    assert states == ["running", "running", "finished"]
    assert events.connections == 2


async def test_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def answer(_: Request) -> Response:
        return Response(json.dumps({"status": "ready"}))

    async with _serving(answer, "/ready") as client:
        assert await client.ready() == {"status": "ready"}


def test_waits_grow_and_differ() -> None:
    backoff = Backoff(first=1, most=4)
    waits = [backoff.seconds() for _ in range(5)]
    for wait, bound in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert bound / 2 <= wait <= bound
    backoff.reset()
    assert backoff.seconds() <= 1
