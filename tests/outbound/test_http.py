"""Requests to addresses that users name, against servers that do as they like."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.outbound.dial import Resolve, resolved
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.http import Outbound
from rhapsode.outbound.problems import BadRedirect, Refused, TooManyRedirects, Unreachable
from tests.support.certificates import self_signed
from tests.support.misbehaving import (
    Act,
    Asked,
    Misbehaving,
    misbehaving,
    raw,
    redirect,
    silence,
    status,
)

LOCAL = Policy(("127.0.0.0/8", "::1/128"))


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as running:
        yield running


def answering(*answers: Sequence[str]) -> Resolve:
    """A DNS that says one thing after the other, and the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def got(outbound: Outbound, url: str) -> tuple[int, bytes]:
    async with outbound.get(url) as response:
        return response.status_code, await response.aread()


async def test_a_request_and_its_answer(server: Misbehaving, tmp_path: Path) -> None:
    url = server.at("/a", status(201, b"made", X_Thing="1"))
    path = tmp_path / "body"
    path.write_bytes(b"x" * 600_000)

    async def blocks() -> AsyncIterator[bytes]:
        yield b"in "
        yield b"blocks"

    async with Outbound(LOCAL) as outbound:
        answer = await outbound.put(url, b"hello", {"Content-Type": "text/vtt"})
        await outbound.put(url, path)
        await outbound.post(url, blocks, {"Content-Length": "9"})

    assert (answer.status, answer.headers["x-thing"], answer.body_start) == (201, "1", b"made")
    assert 0 < answer.latency < 5
    sent = [(r.method, r.body, r.headers["content-length"]) for r in server.requests]
    assert sent == [
        ("PUT", b"hello", "5"),
        ("PUT", b"x" * 600_000, "600000"),
        ("POST", b"in blocks", "9"),
    ]
    assert server.requests[0].headers["content-type"] == "text/vtt"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "localhost",
        "LOCALHOST",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "10.0.0.1",
        "169.254.169.254",
        "example.org@127.0.0.1",
        "example.org:80@127.0.0.1",
        "127。0。0。1",
    ],
)
async def test_by_default_nothing_private_is_spoken_to(server: Misbehaving, host: str) -> None:
    server.at("/a", status(200))
    async with Outbound(Policy()) as outbound:
        with pytest.raises(Refused) as refusal:
            await got(outbound, f"http://{host}:{server.port}/a?secret=1")
    assert refusal.value.code == "address_refused"
    assert "secret" not in str(refusal.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://",
        "http://①.①/",
        "http://0177.0.0.1/",
        "x",
    ],
)
async def test_what_is_no_web_address(url: str) -> None:
    async with Outbound(LOCAL) as outbound:
        with pytest.raises(Invalid) as refusal:
            await got(outbound, url)
    assert refusal.value.code == "url_invalid"


@pytest.mark.parametrize(
    "answer", [["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["::ffff:10.0.0.1"]]
)
async def test_a_name_with_any_address_that_is_refused(answer: list[str]) -> None:
    async with Outbound(Policy(), resolve=answering(answer)) as outbound:
        with pytest.raises(Refused):
            await got(outbound, "http://both.example.org/")


async def test_dns_that_changes_between_check_and_use(server: Misbehaving) -> None:
    """The name is asked once, and the connection goes to what was checked, nowhere else."""
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    server.at("/a", status(200))
    async with Outbound(Policy(("127.0.0.2/32",)), resolve=rebinding) as outbound:
        with pytest.raises(Unreachable):  # nobody listens there
            await got(outbound, f"http://rebinding.example.org:{server.port}/a")
        assert asked == ["rebinding.example.org"]
        with pytest.raises(Refused):
            await got(outbound, f"http://rebinding.example.org:{server.port}/a")
    assert server.requests == []


async def test_the_connection_is_to_the_address_that_was_checked() -> None:
    async with misbehaving("127.0.0.3") as server:
        server.at("/a", status(200, b"ok"))
        resolve = answering(["127.0.0.3"])
        async with Outbound(Policy(("127.0.0.3/32",)), resolve=resolve) as outbound:
            url = f"http://name.example.org:{server.port}/a"
            async with outbound.get(url) as response:
                peer = response.extensions["network_stream"].get_extra_info("server_addr")
                assert (peer[0], await response.aread()) == ("127.0.0.3", b"ok")
        assert server.requests[0].headers["host"] == f"name.example.org:{server.port}"


async def test_the_next_address_where_the_first_does_not_answer(server: Misbehaving) -> None:
    server.at("/a", status(200, b"ok"))
    resolve = answering(["127.0.0.9", "127.0.0.1"])
    async with Outbound(LOCAL, resolve=resolve) as outbound:
        assert await got(outbound, f"http://two.example.org:{server.port}/a") == (200, b"ok")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
async def test_ipv6() -> None:
    async with misbehaving("::1") as server:
        url = server.at("/a", status(200, b"six"))
        async with Outbound(LOCAL) as outbound:
            assert await got(outbound, url) == (200, b"six")
        async with Outbound(Policy(("127.0.0.0/8",))) as outbound:
            with pytest.raises(Refused):
                await got(outbound, url)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_checked_each(server: Misbehaving, code: int) -> None:
    private = f"http://127.0.0.2:{server.port}/private"
    server.at("/private", status(200))
    url = server.at("/a", redirect("/b", code))
    server.at("/b", redirect(private, code))
    async with Outbound(Policy(("127.0.0.1/32",))) as outbound:
        with pytest.raises(Refused):
            await got(outbound, url)
    assert [r.path for r in server.requests] == ["/a", "/b"]


async def test_redirects_without_an_end(server: Misbehaving) -> None:
    url = server.at("/a", redirect("/a"))
    async with Outbound(LOCAL, max_redirects=3) as outbound:
        with pytest.raises(TooManyRedirects) as refusal:
            await got(outbound, f"{url}?secret=1")
    assert str(refusal.value).startswith(f"{url} was redirected more than 3 times.")
    assert len(server.requests) == 4


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://example.org/", "http://[::"])
async def test_redirects_to_what_is_no_web_address(server: Misbehaving, to: str) -> None:
    async with Outbound(LOCAL) as outbound:
        with pytest.raises(BadRedirect):
            await got(outbound, server.at("/a", redirect(to)))


async def test_secrets_stay_with_their_host(server: Misbehaving) -> None:
    async with misbehaving() as other:
        there = other.at("/b", status(200))
        url = server.at("/a", redirect("/same"))
        server.at("/same", redirect(there.replace("//", "//x:y@")))
        url = url.replace("//", "//me:hunter2@")
        async with Outbound(LOCAL) as outbound, outbound.get(url, {"Cookie": "c=1"}):
            pass
        given = [
            (r.headers.get("authorization"), r.headers.get("cookie")) for r in server.requests
        ]
        assert given == [("Basic bWU6aHVudGVyMg==", "c=1")] * 2
        assert [set(r.headers) & {"authorization", "cookie"} for r in other.requests] == [set()]


async def test_no_cookie_is_kept(server: Misbehaving) -> None:
    url = server.at("/a", status(200, Set_Cookie="a=b"))
    async with Outbound(LOCAL) as outbound:
        await got(outbound, url)
        await got(outbound, url)
    assert server.asked("/a", "cookie") == [None, None]


async def test_no_proxy_of_the_environment(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Outbound(LOCAL) as outbound:
        assert (await got(outbound, server.at("/a", status(200))))[0] == 200


@pytest.mark.parametrize("code", [307, 308])
async def test_a_put_follows_with_its_body(server: Misbehaving, code: int) -> None:
    url = server.at("/a", redirect("/b", code))
    server.at("/b", status(200))
    async with Outbound(LOCAL) as outbound:
        assert (await outbound.put(url, b"body", {"X-Id": "1"})).status == 200
    sent = [(r.method, r.path, r.body, r.headers["x-id"]) for r in server.requests]
    assert sent == [("PUT", "/a", b"body", "1"), ("PUT", "/b", b"body", "1")]


@pytest.mark.parametrize(("method", "code"), [("put", 302), ("put", 303), ("post", 307)])
async def test_what_is_not_followed(server: Misbehaving, method: str, code: int) -> None:
    url = server.at("/a", redirect("/b", code))
    async with Outbound(LOCAL) as outbound:
        assert (await getattr(outbound, method)(url, b"body")).status == code
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (silence(), "nothing was heard for too long"),
        (raw(b""), "Server disconnected without sending a response"),
        (raw(b"220 ready\r\n\r\n"), "illegal status line"),
    ],
)
async def test_no_answer(server: Misbehaving, answer: Any, words: str) -> None:
    url = server.at("/a", answer)
    async with Outbound(LOCAL, read_seconds=0.3) as outbound:
        with pytest.raises(Unreachable, match=words) as failure:
            await outbound.put(f"{url}?secret=1", b"")
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    "limits",
    [{"whole_seconds": 0.5}, {"connect_seconds": 0.1, "read_seconds": 0.1}],
    ids=["the whole", "some of each time-out"],
)
async def test_an_answer_that_drips_its_header(
    server: Misbehaving, limits: dict[str, float]
) -> None:
    async def act(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Y: z\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with Outbound(LOCAL, **limits) as outbound:
        with pytest.raises(Unreachable, match="too long in all"):
            await outbound.put(server.at("/a", act), b"bytes")


async def test_a_slow_line_has_time_for_what_is_long(server: Misbehaving) -> None:
    """It takes longer than dripping may, since there is more to send."""

    async def act(_: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.0)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with Outbound(LOCAL, connect_seconds=0.1, read_seconds=1.5) as outbound:
        outbound._head_seconds = 0.1
        answer = await outbound.put(server.at("/a", act), b"0" * 64 * 1024)
    assert answer.status == 201


async def test_an_answer_whose_body_does_not_come(server: Misbehaving) -> None:
    url = server.at("/a", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    async with Outbound(LOCAL, read_seconds=0.5) as outbound:
        answer = await outbound.put(url, b"")
    assert (answer.status, answer.body_start) == (200, b"half")


async def test_a_name_that_does_not_exist() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with Outbound(Policy(), resolve=nowhere) as outbound:
        with pytest.raises(Unreachable, match="Name or service not known"):
            await got(outbound, "http://nowhere.example.org/")


async def test_a_dns_that_does_not_answer() -> None:
    async def stuck(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    async with Outbound(Policy(), connect_seconds=0.2, resolve=stuck) as outbound:
        with pytest.raises(Unreachable, match="took too long"):
            await got(outbound, "http://slow.example.org/")


async def test_names_that_do_not_answer_hold_up_no_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer = threading.Semaphore(0), threading.Event()

    def stuck(*_: object, **__: object) -> list[object]:
        asked.release()
        answer.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    looking = [asyncio.create_task(resolved(f"{number}.example", 80)) for number in range(32)]
    try:
        async with asyncio.timeout(10):
            while asked._value < 32:
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(lambda: "done") == "done"
    finally:
        answer.set()
        await asyncio.gather(*looking)


async def test_the_systems_resolver_reads_odd_notations() -> None:
    for notation in ("127.1", "2130706433", "0x7f.1", "017700000001"):
        assert await resolved(notation, 80) == ["127.0.0.1"]


@asynccontextmanager
async def https(folder: Path, answer: Act) -> AsyncIterator[tuple[int, list[str | None]]]:
    """A server with a certificate for localhost; its port, and the names it was asked for."""
    asked: list[str | None] = []
    context = self_signed(folder).server_context()
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await answer(Asked("", "", {}, head), writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1], asked
    finally:
        running.close()


async def test_tls_is_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is what was checked; the certificate is still that of the name."""
    async with https(tmp_path, status(200, b"secure")) as (port, asked):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        async with Outbound(LOCAL, resolve=answering(["127.0.0.1"])) as outbound:
            assert await got(outbound, f"https://localhost:{port}/a") == (200, b"secure")
            with pytest.raises(Unreachable, match="certificate"):
                await got(outbound, f"https://other.example.org:{port}/a")
    assert asked == ["localhost", "other.example.org"]


async def test_a_body_is_not_sent_on_without_encryption(
    server: Misbehaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = server.at("/b", status(200))
    async with https(tmp_path, redirect(plain, 307)) as (port, _):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        async with Outbound(LOCAL, resolve=answering(["127.0.0.1"])) as outbound:
            with pytest.raises(BadRedirect, match="without encryption"):
                await outbound.put(f"https://localhost:{port}/a", b"a transcript")
    assert server.requests == []
