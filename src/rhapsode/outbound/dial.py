"""Connects to exactly the address that was checked.

A name is resolved once; what it resolves to is checked, and the connection goes to those
numbers and not to the name, so that a name which answers otherwise the next time (DNS
rebinding) leads nowhere. TLS still asks for the name's certificate.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpcore

from rhapsode.outbound.guard import Policy
from rhapsode.outbound.problems import NoSuchHost, refused, unreachable

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The numeric addresses of a host name, the preferred one first; OSError for none."""


_LOOKUPS = ThreadPoolExecutor(32, "lookup")
"""Apart from the threads of all other work: names that do not answer hold theirs for long."""


async def resolved(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says; it also reads notations such as `127.1` and `0x7f.1`."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, with a look at every address before it is dialled."""

    def __init__(self, policy: Policy, resolve: Resolve = resolved) -> None:
        self._policy = policy
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the base class's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses; Refused if any of them is not allowed.

        `timeout` is for all of it: looking up the name, and every address that it has.
        """
        end = None if timeout is None else time.monotonic() + timeout
        addresses = await self._addresses(host, port, timeout)
        for number, address in enumerate(addresses, start=1):
            left = None if end is None else max(0.1, end - time.monotonic())
            share = None if left is None else left / (len(addresses) - number + 1)
            try:
                stream = await self._inner.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
                continue
            return await self._checked(stream, host)
        raise unreachable(host, "its name has no address")

    async def _addresses(self, host: str, port: int, seconds: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise unreachable(host, "the look-up of its name took too long") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "its name is not usable"
            failed = unreachable(host, f"its name cannot be looked up ({reason})")
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                raise NoSuchHost(failed.code, failed.message, hint=failed.hint) from error
            raise failed from error
        for address in addresses:
            self._ensure_allowed(host, address)
        return addresses

    def _ensure_allowed(self, host: str, address: str) -> None:
        if (words := self._policy.refusal(address)) is not None:
            raise refused(host, words)

    async def _checked(
        self, stream: httpcore.AsyncNetworkStream, host: str
    ) -> httpcore.AsyncNetworkStream:
        """The last word has the socket itself."""
        try:
            self._ensure_allowed(host, str(ip_address(stream.get_extra_info("server_addr")[0])))
        except BaseException:
            await stream.aclose()
            raise
        return Counted(stream)


class Counted(httpcore.AsyncNetworkStream):
    """A connection that can tell whether more came than the answer announced."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._head: bytes | None = b""
        self._after_head = 0

    def surplus(self, announced: int) -> bool:
        """Whether more than these bytes followed the header of the latest answer."""
        return self._after_head > announced

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the base class's signature)
    ) -> bytes:
        """The next bytes."""
        data = await self._inner.read(max_bytes, timeout)
        self._count(data)
        return data

    def _count(self, data: bytes) -> None:
        if self._head is None:
            self._after_head += len(data)
            return
        self._head += data
        head, separator, rest = self._head.partition(b"\r\n\r\n")
        if not separator:
            return
        # An interim answer (100 Continue, 103 Early Hints) has a header of its own.
        interim = head.split(b" ", 2)[1:2] and head.split(b" ", 2)[1].startswith(b"1")
        self._head = b"" if interim else None
        self._count(rest)

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 (the base class's signature)
    ) -> None:
        """Send bytes; what comes next is another answer."""
        self._head, self._after_head = b"", 0
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (the base class's signature)
    ) -> httpcore.AsyncNetworkStream:
        """The same connection, encrypted."""
        return Counted(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """What httpcore knows of the connection."""
        return self._inner.get_extra_info(info)
