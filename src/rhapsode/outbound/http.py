"""Requests to addresses that users name, each checked where the connection is made."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Self

import httpcore
import httpx

from rhapsode import __version__
from rhapsode.domain.errors import Invalid
from rhapsode.domain.urls import shown
from rhapsode.outbound.dial import GuardedBackend, Resolve, resolved
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.problems import (
    BadRedirect,
    TooManyRedirects,
    Unreachable,
    unreachable,
)

Body = bytes | Path | Callable[[], AsyncIterator[bytes]]
"""What is sent: bytes, a file, or something that begins the stream anew at each call."""

_BLOCK_BYTES = 256 * 1024
_ANSWER_BYTES = 16 * 1024
_SLOWEST = 16 * 1024
"""Bytes a second that a line must carry of what is sent."""
_ROUNDS = 4
"""How often connecting and being silent may take all their time, in one attempt."""
_REDIRECTS = {301, 302, 303, 307, 308}
_SAME_METHOD = {307, 308}
_SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, the headers in lower case, and the body's beginning.

    `latency` is in seconds, from the start of the request to the answer's header.
    """

    status: int
    headers: Mapping[str, str]
    latency: float
    body_start: bytes


class Outbound:
    """A pool of guarded connections; an async context.

    No proxy of the environment is used, no cookie is kept. Raises Refused for an address
    that `policy` does not allow, Unreachable where no answer came, Invalid for what is no
    URL. `connect_seconds` is for name and connection, `read_seconds` for each silence. All of
    one `put` or `post` takes no longer than some of both and what a slow line needs for the
    body, and than `whole_seconds`. `resolve` is the seam for tests.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        connect_seconds: float = 10.0,
        read_seconds: float = 60.0,
        whole_seconds: float = 3600.0,
        max_redirects: int = 5,
        resolve: Resolve = resolved,
    ) -> None:
        self._max_redirects = max_redirects
        self._read_seconds = read_seconds
        self._whole_seconds = whole_seconds
        self._head_seconds = connect_seconds + read_seconds
        self._client = httpx.AsyncClient(
            transport=_Transport(GuardedBackend(policy, resolve)),
            headers={"User-Agent": f"rhapsode/{__version__}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(read_seconds, connect=connect_seconds),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def put(
        self, url: str, body: Body, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """PUT, following 307 and 308; any other answer is the caller's to judge."""
        return await self._answer("PUT", url, body, headers, self._max_redirects)

    async def post(
        self, url: str, body: Body, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """POST, following nothing; the answer is the caller's to judge."""
        return await self._answer("POST", url, body, headers, 0)

    async def _answer(
        self, method: str, url: str, body: Body, headers: Mapping[str, str] | None, hops: int
    ) -> Answer:
        started = time.monotonic()
        opened = self._opened(method, url, body, headers or {}, hops)
        try:
            async with asyncio.timeout(self._most_seconds(headers, body)), opened as response:
                latency = time.monotonic() - started
                return Answer(
                    status=response.status_code,
                    headers=dict(response.headers.items()),
                    latency=latency,
                    body_start=await self._start_of(response),
                )
        except TimeoutError:
            raise unreachable(shown(url), "it took too long in all") from None

    def _most_seconds(self, headers: Mapping[str, str] | None, body: Body) -> float:
        """Who answers a byte at a time must not keep others waiting for an hour."""
        told = {
            name.lower(): value for name, value in {**(headers or {}), **_length(body)}.items()
        }
        size = len(body) if isinstance(body, bytes) else int(told.get("content-length", 0))
        return min(self._whole_seconds, _ROUNDS * self._head_seconds + size / _SLOWEST)

    async def _start_of(self, response: httpx.Response) -> bytes:
        """The beginning of the body, or as much of it as comes in time: the status counts."""
        found = b""
        with contextlib.suppress(TimeoutError, Unreachable):
            async with asyncio.timeout(self._read_seconds):
                async for block in response.aiter_raw():
                    found += block
                    if len(found) >= _ANSWER_BYTES:
                        break
        return found[:_ANSWER_BYTES]

    @asynccontextmanager
    async def get(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """The answer at the end of the redirects, whose body is read by `aiter_raw`."""
        async with self._opened("GET", url, None, headers or {}, self._max_redirects) as found:
            yield found

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        url: str,
        body: Body | None,
        headers: Mapping[str, str],
        hops: int,
    ) -> AsyncIterator[httpx.Response]:
        request = self._request(method, url, body, headers)
        first = shown(url)
        for hop in range(hops + 1):
            response = await self._sent(request, None if body else self._head_seconds)
            try:
                if hops == 0 or not _leads_on(response):
                    yield response
                    return
                if hop < hops:
                    request = self._next(request, response, body)
            finally:
                await response.aclose()
        raise TooManyRedirects(
            "too_many_redirects",
            f"{first} was redirected more than {hops} times.",
            hint="Give the address that it finally leads to.",
        )

    async def _sent(self, request: httpx.Request, seconds: float | None) -> httpx.Response:
        try:
            async with asyncio.timeout(seconds):
                return await self._client.send(request, stream=True, follow_redirects=False)
        except TimeoutError:
            raise unreachable(shown(str(request.url)), "its answer does not begin") from None
        except httpx.RemoteProtocolError as error:  # it looks at where the answer leads, too
            raise _bad_redirect(request.url, "to something that is no URL") from error

    def _request(
        self, method: str, url: str, body: Body | None, headers: Mapping[str, str]
    ) -> httpx.Request:
        try:
            request = self._client.build_request(
                method, url, content=_content(body), headers={**_length(body), **headers}
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise _no_url(url) from error
        if request.url.scheme not in {"http", "https"} or not request.url.host:
            raise _no_url(url)
        return request

    def _next(
        self, request: httpx.Request, response: httpx.Response, body: Body | None
    ) -> httpx.Request:
        """The request to where the answer leads; secrets stay with their host."""
        here = request.url
        try:
            there = here.join(response.headers["Location"])
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise _bad_redirect(here, "to something that is no URL") from error
        if there.scheme not in {"http", "https"} or not there.host:
            raise _bad_redirect(here, f"to something with the scheme '{there.scheme[:20]}'")
        if body is not None and (here.scheme, there.scheme) == ("https", "http"):
            raise _bad_redirect(here, "to an address without encryption")
        kept = {
            name: value
            for name, value in request.headers.items()
            if name not in {"host", "transfer-encoding"}
        }
        if _origin(here) != _origin(there):
            kept = {name: v for name, v in kept.items() if name not in _SECRET_HEADERS}
            there = there.copy_with(username=None, password=None)
        return self._request(request.method, str(there), body, kept)


def _leads_on(response: httpx.Response) -> bool:
    followed = _REDIRECTS if response.request.method == "GET" else _SAME_METHOD
    return response.status_code in followed and "Location" in response.headers


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}[url.scheme]


def _content(body: Body | None) -> bytes | AsyncIterator[bytes] | None:
    if body is None or isinstance(body, bytes):
        return body
    return _blocks(body) if isinstance(body, Path) else body()


def _length(body: Body | None) -> dict[str, str]:
    if isinstance(body, Path):
        return {"Content-Length": str(body.stat().st_size)}
    return {}


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block


def _no_url(url: str) -> Invalid:
    return Invalid(
        "url_invalid",
        f"{shown(url)} is no usable URL.",
        hint="It starts with http:// or https://, names a host and has no spaces.",
    )


def _bad_redirect(here: httpx.URL, where: str) -> BadRedirect:
    return BadRedirect("redirect_refused", f"{shown(str(here))} redirects {where}.")


class _Transport(httpx.AsyncBaseTransport):
    """httpx over httpcore's pool with our way to the network."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=256,
            max_keepalive_connections=16,
            keepalive_expiry=15,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = shown(str(request.url))
        content = request.stream
        if not isinstance(content, httpx.AsyncByteStream):  # pragma: no cover (never built)
            raise TypeError("a body that can be awaited is needed")
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=content,
            extensions=request.extensions,
        )
        try:
            found = await self._pool.handle_async_request(asked)
        except _FAULTS as error:
            raise unreachable(name, _cause(error)) from error
        return httpx.Response(
            status_code=found.status,
            headers=found.headers,
            stream=_Body(found, name),
            extensions=found.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


_FAULTS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response, name: str) -> None:
        self._response = response
        self._name = name

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for block in self._response.aiter_stream():
                yield block
        except _FAULTS as error:
            reason = f"the connection broke off ({_cause(error)})"
            raise unreachable(self._name, reason) from error

    async def aclose(self) -> None:
        await self._response.aclose()


def _cause(error: Exception) -> str:
    """In words for a person; a library's own carry no secret, but say little when empty."""
    if isinstance(error, httpcore.ConnectTimeout):
        return "no connection came about in time"
    if isinstance(error, httpcore.TimeoutException):
        return "nothing was heard for too long"
    return (str(error) or type(error).__name__).rstrip(".")[:200]
