"""One warm connection pool to one server; every failure leaves it as a domain error."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from rhapsode import __version__
from rhapsode.client.problems import MOST_BODY_BYTES, error_of, unreachable, unreadable
from rhapsode.domain.errors import Invalid

TIMEOUT = httpx.Timeout(connect=10, read=30, write=30, pool=30)
# A proxy of the environment is no way to this very machine.
_DIRECT = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=120)


class Http:
    """Requests to `server` with a bearer secret.

    Raises the domain error of a refusal, Unreachable where there is no connection.
    `transport` is the seam for tests.
    """

    def __init__(
        self,
        server: str,
        secret: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.server = checked_address(server)
        headers = {"User-Agent": f"rhapsode/{__version__}"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        self._client = httpx.AsyncClient(
            base_url=self.server,
            headers=headers,
            timeout=TIMEOUT,
            limits=_LIMITS,
            transport=transport,
            mounts=None if transport else _DIRECT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[httpx.Response]:
        """A successful answer whose body the caller reads within the block.

        Options are httpx's; a connection that breaks while reading is Unreachable too.
        """
        follow = options.pop("follow_redirects", False)
        request = self._client.build_request(method, path, **options)
        try:
            response = await self._client.send(request, stream=True, follow_redirects=follow)
        except httpx.RequestError as error:
            raise unreachable(error, self.server) from error
        try:
            if not response.is_success:
                body = await _start_of(response)
                raise error_of(response.status_code, body, self.server)
            yield response
        except httpx.RequestError as error:
            raise unreachable(error, self.server) from error
        finally:
            await response.aclose()

    async def bytes(self, method: str, path: str, **options: Any) -> bytes:
        """The whole body of a successful answer."""
        async with self.stream(method, path, **options) as response:
            return await response.aread()

    async def json(self, method: str, path: str, **options: Any) -> Any:
        """The decoded JSON of a successful answer, None where it has no body."""
        async with self.stream(method, path, **options) as response:
            body = await response.aread()
        try:
            return json.loads(body) if body else None
        except ValueError as error:
            raise unreadable(f"The answer of {self.server} is no JSON.") from error


async def _start_of(response: httpx.Response) -> bytes:
    body = b""
    async for block in response.aiter_bytes():
        body += block
        if len(body) >= MOST_BODY_BYTES:
            break
    return body


def checked_address(server: str) -> str:
    """The server's address without a slash at its end; Invalid where it is no HTTP URL."""
    try:
        url = httpx.URL(server)
    except httpx.InvalidURL as error:
        raise _no_address(server) from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise _no_address(server)
    return server.rstrip("/")


def _no_address(server: str) -> Invalid:
    return Invalid(
        "server_address",
        f"'{server[:200]}' is not the address of a server.",
        hint="It looks like http://127.0.0.1:8080 or https://speech.example.org.",
    )


def given(**values: object) -> Mapping[str, Any]:
    """Query parameters without those that are None."""
    return {name: value for name, value in values.items() if value is not None}
