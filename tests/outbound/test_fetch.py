"""Recordings over connections that break, from servers that do as they like."""

import asyncio
import gzip
import random
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rhapsode.domain.errors import DomainError, Invalid, Limited, Unavailable
from rhapsode.domain.urls import shown
from rhapsode.outbound.answers import opened
from rhapsode.outbound.fetch import Fetched, Limits, fetch
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.http import Outbound
from rhapsode.outbound.problems import Busy, Expired, Refused, Unreachable
from tests.support.misbehaving import (
    Asked,
    Misbehaving,
    Write,
    chunked,
    drip,
    endless,
    file,
    head,
    misbehaving,
    raw,
    redirect,
    silence,
    status,
)

LOCAL = Policy(("127.0.0.0/8",))
CONTENT = random.Random(7).randbytes(3_000_000)
SECRET = "?X-Amz-Signature=5ecre7&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60"


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as running:
        yield running


async def fetched(
    url: str, target: Path, policy: Policy = LOCAL, read: float = 5.0, **changes: Any
) -> Fetched:
    options = {name: changes.pop(name) for name in ("report", "room") if name in changes}
    limits = Limits(**{"max_bytes": 10**9, "first_wait": 0.01, "tries": 5, **changes})
    async with Outbound(policy, read_seconds=read, max_redirects=3) as outbound:
        return await fetch(
            partial(opened, outbound, url), shown(url), target, limits, **options
        )


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "media"


async def test_the_bytes_arrive(server: Misbehaving, target: Path) -> None:
    url = server.at("/a.wav", file(CONTENT, Content_Type="audio/wav"))

    found = await fetched(url, target)

    assert found == Fetched(size=len(CONTENT), media_type="audio/wav")
    assert target.read_bytes() == CONTENT
    assert server.asked("/a.wav", "accept-encoding") == ["identity"]


async def test_cut_connections_are_resumed(server: Misbehaving, target: Path) -> None:
    cuts = [file(CONTENT, cut_after=n) for n in (1_000_000, 1, 500_000, 0)]
    url = server.at("/a", *cuts, file(CONTENT))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT
    assert server.asked("/a", "range") == [
        None,
        "bytes=1000000-",
        "bytes=1000001-",
        "bytes=1500001-",
        "bytes=1500001-",
    ]
    assert server.asked("/a", "if-range")[1:] == ['"one"'] * 4


async def test_by_the_date_where_there_is_no_tag(server: Misbehaving, target: Path) -> None:
    url = server.at(
        "/a",
        file(CONTENT, etag='W/"weak"', modified=1e9, cut_after=70_000),
        file(CONTENT, etag='W/"weak"', modified=1e9),
    )

    await fetched(url, target)

    assert target.read_bytes() == CONTENT
    assert server.asked("/a", "if-range") == [None, "Sun, 09 Sep 2001 01:46:40 GMT"]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
async def test_from_the_start_where_nothing_tells_it_is_the_same(
    server: Misbehaving, target: Path, tag: str | None
) -> None:
    url = server.at("/a", file(CONTENT, etag=tag, cut_after=70_000), file(CONTENT, etag=tag))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT
    assert server.asked("/a", "range") == [None, None]


async def test_from_the_start_where_range_is_ignored(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", file(CONTENT, cut_after=70_000), file(CONTENT, ranges=False))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


async def test_the_recording_changes_in_the_middle(server: Misbehaving, target: Path) -> None:
    other = CONTENT[::-1]
    url = server.at("/a", file(CONTENT, cut_after=70_000), file(other, etag='"two"'))

    await fetched(url, target)

    assert target.read_bytes() == other


@pytest.mark.parametrize("etag", ['"two"', '"one"'])
async def test_a_server_that_continues_something_else(
    server: Misbehaving, target: Path, etag: str
) -> None:
    """It ignores If-Range: another tag tells, or another length."""
    other = CONTENT[: 2_000_000 if etag == '"one"' else None][::-1]

    async def careless(asked: Asked, writer: Write) -> None:
        start = asked.headers.get("range", "bytes=0-")[6:-1]
        span = f"bytes {start}-{len(other) - 1}/{len(other)}"
        body = other[int(start) :]
        code = 206 if "range" in asked.headers else 200
        more = {"Content_Range": span} if code == 206 else {}
        writer.write(head(code, Content_Length=len(body), ETag=etag, **more) + body)
        await writer.drain()

    url = server.at("/a", file(CONTENT, cut_after=70_000), careless)

    await fetched(url, target)

    assert target.read_bytes() == other
    assert server.asked("/a", "range") == [None, "bytes=70000-", None]


@pytest.mark.parametrize("answer", [status(416), status(206, b"x" * 10)])
async def test_a_server_that_cannot_continue(
    server: Misbehaving, target: Path, answer: Any
) -> None:
    url = server.at("/a", file(CONTENT, cut_after=70_000), answer, file(CONTENT))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


async def test_without_a_length(server: Misbehaving, target: Path) -> None:
    known: list[int | None] = []
    url = server.at("/a", chunked(CONTENT))

    await fetched(url, target, report=lambda _, total: known.append(total))

    assert target.read_bytes() == CONTENT
    assert set(known) == {None}


async def test_without_a_length_a_cut_still_shows(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", chunked(CONTENT[:50_000], whole=False), chunked(CONTENT))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


async def test_progress(server: Misbehaving, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    url = server.at("/a", file(CONTENT, cut_after=1_000_000), file(CONTENT))

    await fetched(url, target, report=lambda *news: seen.append(news))

    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))


@pytest.mark.parametrize(
    "answer", [status(503), status(500), status(429), status(408), raw(b""), raw(b"HTT")]
)
async def test_faults_are_tried_again(server: Misbehaving, target: Path, answer: Any) -> None:
    url = server.at("/a", answer, answer, file(CONTENT))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_kept_to(server: Misbehaving, target: Path, form: str) -> None:
    after = datetime.fromtimestamp(time.time() + 2, UTC)
    said = "1" if form == "seconds" else format_datetime(after, usegmt=True)
    url = server.at("/a", status(429, Retry_After=said), file(CONTENT))
    started = time.monotonic()

    await fetched(url, target)

    assert 0.9 < time.monotonic() - started < 5


@pytest.mark.parametrize(
    "said", ["\xb2", "-1", "soon", "Mon, 01 Jan 9999 00:00:00 +9999999999999"]
)
async def test_a_retry_after_that_makes_no_sense_is_none(
    server: Misbehaving, target: Path, said: str
) -> None:
    url = server.at("/a", status(429, Retry_After=said), file(CONTENT))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


async def test_too_long_a_wait_is_left_to_another_attempt(
    server: Misbehaving, target: Path
) -> None:
    url = server.at("/a", status(503, Retry_After="3600"))

    with pytest.raises(Busy) as failure:
        await fetched(url + SECRET, target)

    assert (failure.value.code, failure.value.message) == (
        "input_unreachable",
        f"{url} answers 503 Service Unavailable.",
    )
    assert len(server.requests) == 1


async def test_faults_without_an_end(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", file(CONTENT, cut_after=1000))

    with pytest.raises(Unreachable) as failure:
        await fetched(url + SECRET, target)

    assert failure.value.code == "input_unreachable"
    assert "It stopped after 5000 of 3000000 bytes, again and again." in str(failure.value)
    assert "5ecre7" not in str(failure.value)
    assert len(server.requests) == 5


@pytest.mark.parametrize("code", [403, 404, 410])
async def test_a_url_that_works_no_longer(server: Misbehaving, target: Path, code: int) -> None:
    body = b"<Error><Code>AccessDenied</Code><Key>5ecre7</Key></Error>"
    url = server.at("/a", status(code, body))

    with pytest.raises(Expired) as failure:
        await fetched(url + SECRET, target)

    assert failure.value.code == "input_expired"
    assert failure.value.message.startswith(f"{url} does not work any more: it answers {code} ")
    assert failure.value.message.endswith(
        "(AccessDenied); its signature expired at 2020-01-01 00:01:00 UTC."
    )
    assert "fresh URL" in str(failure.value)
    assert "5ecre7" not in str(failure.value)
    assert len(server.requests) == 1


async def test_a_url_that_expires_in_the_middle(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", file(CONTENT, cut_after=1_000_000), status(403))

    with pytest.raises(Expired):
        await fetched(url, target)


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("", b"<Error><Code>ExpiredToken</Code></Error>", "input_expired"),
        (SECRET, b"", "input_expired"),
        ("", b"", "input_refused"),
    ],
)
async def test_bad_request_may_mean_expired(
    server: Misbehaving, target: Path, query: str, body: bytes, code: str
) -> None:
    with pytest.raises(DomainError) as failure:
        await fetched(server.at("/a", status(400, body)) + query, target)
    assert failure.value.code == code


async def test_a_header_that_drips(server: Misbehaving, target: Path) -> None:
    async def act(_: Asked, writer: Write) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Y: z\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    url = server.at("/a", act, file(CONTENT))
    async with Outbound(LOCAL, connect_seconds=0.2, read_seconds=0.3) as outbound:
        ask = partial(opened, outbound, url)
        await fetch(ask, shown(url), target, Limits(max_bytes=10**9, first_wait=0.01))

    assert target.read_bytes() == CONTENT


async def test_a_refusal_that_drips(
    server: Misbehaving, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhapsode.outbound.answers._START_SECONDS", 0.2)
    url = server.at("/a", drip(b"x" * 5000, 0.05, code=404))
    started = time.monotonic()

    with pytest.raises(Expired):
        await fetched(url, target)

    assert time.monotonic() - started < 2


@pytest.mark.parametrize("code", [401, 402, 405, 418, 451, 204, 304])
async def test_other_refusals_are_final(server: Misbehaving, target: Path, code: int) -> None:
    with pytest.raises(Invalid) as failure:
        await fetched(server.at("/a", status(code)), target)
    assert failure.value.code == "input_refused"
    assert len(server.requests) == 1


async def test_redirects(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", redirect("/b"))
    server.at("/b", redirect(server.at("/c", file(CONTENT)), 307))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("to", "kind", "code"),
    [
        ("/a", Invalid, "input_redirects"),
        ("file:///etc/passwd", Invalid, "input_redirects"),
        ("http://127.0.0.2/", Refused, "address_refused"),
        ("http://[::ffff:10.0.0.1]/", Refused, "address_refused"),
    ],
)
async def test_redirects_that_are_not_followed(
    server: Misbehaving, target: Path, to: str, kind: type[DomainError], code: str
) -> None:
    with pytest.raises(kind) as failure:
        await fetched(server.at("/a", redirect(to)), target, Policy(("127.0.0.1/32",)))
    assert failure.value.code == code


async def test_declared_too_large(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", file(CONTENT))

    with pytest.raises(Limited) as failure:
        await fetched(url, target, max_bytes=2_999_999)

    assert failure.value.code == "input_too_large"
    assert failure.value.message == f"{url} has 3000000 bytes; at most 2999999 are accepted."
    assert target.stat().st_size == 0


async def test_exactly_as_large_as_allowed(server: Misbehaving, target: Path) -> None:
    await fetched(server.at("/a", file(CONTENT)), target, max_bytes=len(CONTENT))
    assert target.read_bytes() == CONTENT


async def test_an_endless_body(server: Misbehaving, target: Path) -> None:
    with pytest.raises(Limited) as failure:
        await fetched(server.at("/a", endless()), target, max_bytes=20_000_000)
    assert failure.value.code == "input_too_large"
    assert target.stat().st_size <= 20_000_000


async def test_a_bomb(server: Misbehaving, target: Path) -> None:
    """A small answer that unpacks to more than is allowed, and to more than memory holds."""
    bomb = gzip.compress(bytes(400_000_000), 1)
    url = server.at("/a", status(200, bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(Limited) as failure:
            await fetched(url, target, max_bytes=300_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failure.value.code == "input_too_large"
    assert peak < 40_000_000


@pytest.mark.parametrize("members", [1, 2])
async def test_gzip(server: Misbehaving, target: Path, members: int) -> None:
    half = len(CONTENT) // members
    packed = b"".join(gzip.compress(CONTENT[i * half :][:half], 1) for i in range(members))
    cut = file(packed, Content_Encoding="gzip", cut_after=1_000_000)
    url = server.at("/a", cut, file(packed, Content_Encoding="gzip"))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT
    assert server.asked("/a", "range") == [None, None]


async def test_gzip_that_is_cut_off(server: Misbehaving, target: Path) -> None:
    packed = gzip.compress(CONTENT, 1)
    cut = status(200, packed[:-100], Content_Encoding="gzip")
    url = server.at("/a", cut, status(200, packed, Content_Encoding="gzip"))

    await fetched(url, target)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [
        status(200, b"x", Content_Encoding="br"),
        status(200, b"not packed", Content_Encoding="gzip"),
    ],
)
async def test_packed_beyond_reading(server: Misbehaving, target: Path, answer: Any) -> None:
    with pytest.raises(Invalid) as failure:
        await fetched(server.at("/a", answer), target)
    assert failure.value.code == "input_refused"


async def test_shorter_than_announced(server: Misbehaving, target: Path) -> None:
    """As if cut off, for all that anybody can tell; but it is never taken for the whole."""
    answer = raw(head(200, Content_Length=100, ETag='"a"') + b"x" * 60)
    gone = status(416)

    with pytest.raises(Unavailable) as failure:
        await fetched(server.at("/a", answer, gone, answer, gone), target, tries=4)

    assert failure.value.code == "input_unreachable"


async def test_longer_than_announced(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", raw(head(200, Content_Length=100) + b"x" * 160))

    with pytest.raises(Invalid) as failure:
        await fetched(url, target)

    assert failure.value.code == "input_wrong_length"


async def test_a_part_that_is_longer_than_the_whole(server: Misbehaving, target: Path) -> None:
    part = head(206, Content_Length=50, Content_Range="bytes 60-99/100", ETag='"a"')
    url = server.at(
        "/a",
        raw(head(200, Content_Length=100, ETag='"a"') + b"x" * 60),
        raw(part + b"x" * 50),
    )

    with pytest.raises(Invalid) as failure:
        await fetched(url, target)

    assert failure.value.code == "input_wrong_length"


async def test_a_header_that_makes_no_sense(server: Misbehaving, target: Path) -> None:
    lengths = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
    with pytest.raises(Unavailable):
        await fetched(server.at("/a", lengths), target, tries=2)


async def test_slow_is_fine(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", drip(CONTENT[:5000], 0.05, step=500))

    await fetched(url, target, stall_seconds=0.2, slowest=1000)

    assert target.read_bytes() == CONTENT[:5000]


async def test_dripping_is_too_slow(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", drip(CONTENT, 0.02))

    with pytest.raises(Limited) as failure:
        await fetched(url, target, stall_seconds=0.2, slowest=1000, tries=2)

    assert failure.value.code == "input_too_slow"
    assert len(server.requests) == 2


async def test_a_stall_is_a_broken_connection(server: Misbehaving, target: Path) -> None:
    async def stall(_: Asked, writer: Write) -> None:
        writer.write(head(200, Content_Length=len(CONTENT), ETag='"one"') + CONTENT[:70_000])
        await asyncio.sleep(3600)

    url = server.at("/a", stall, file(CONTENT))

    await fetched(url, target, read=0.3)

    assert target.read_bytes() == CONTENT
    assert server.asked("/a", "range") == [None, "bytes=70000-"]


@pytest.mark.parametrize("answer", [drip(CONTENT, 0.05), silence()])
async def test_the_whole_has_a_limit(server: Misbehaving, target: Path, answer: Any) -> None:
    started = time.monotonic()

    with pytest.raises(Limited) as failure:
        await fetched(server.at("/a", answer), target, whole_seconds=0.5)

    assert failure.value.code == "input_too_slow"
    assert time.monotonic() - started < 2


async def test_no_room(server: Misbehaving, target: Path) -> None:
    def room(wanted: int) -> None:
        if wanted > 2_000_000:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        await fetched(server.at("/a", file(CONTENT)), target, room=room)
    assert target.stat().st_size == 0


async def test_cancelling_takes_effect_at_once(server: Misbehaving, target: Path) -> None:
    url = server.at("/a", drip(CONTENT, 0.05))
    task = asyncio.create_task(fetched(url, target))
    async with asyncio.timeout(5):
        while not server.requests:
            await asyncio.sleep(0.01)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 0.5
