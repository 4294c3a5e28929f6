"""Playback: a recording, whole and in parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.api.ranges import RangeNotSatisfiable, byte_range, disposition
from tests.api.people import Person, problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONTENT = b"0123456789"
ETAG = '"' + "d" * 64 + '"'


async def path_of(ann: Person) -> str:
    media = await ann.media(CONTENT)
    return f"/api/media/{media.id}/content"


async def test_the_whole(ann: Person) -> None:
    answer = await ann.get(await path_of(ann))

    named = ("content-type", "content-length", "accept-ranges", "etag", "content-disposition")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert [answer.headers[name] for name in named] == [
        "audio/wav",
        "10",
        "bytes",
        ETAG,
        "inline; filename=\"talk.wav\"; filename*=UTF-8''talk.wav",
    ]


async def test_what_is_played_never_runs_as_a_page(ann: Person) -> None:
    answer = await ann.get(await path_of(ann))

    policy = answer.headers["content-security-policy"]
    assert policy == "default-src 'none'; media-src 'self'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", CONTENT, "bytes 0-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
        ("bytes=0-", CONTENT, "bytes 0-9/10"),
    ],
)
async def test_parts(ann: Person, wanted: str, content: bytes, told: str) -> None:
    answer = await ann.client.get(await path_of(ann), headers={"range": wanted})

    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["content-range"] == told
    assert answer.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,4-5", "bytes=5-2", "bytes=-", "bytes=x", "lines=0-1", "bytes=" + "9" * 5000],
)
async def test_what_is_not_understood_gets_the_whole(ann: Person, wanted: str) -> None:
    answer = await ann.client.get(await path_of(ann), headers={"range": wanted})

    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
async def test_beyond_the_end(ann: Person, wanted: str) -> None:
    answer = await ann.client.get(await path_of(ann), headers={"range": wanted})

    assert problem(answer) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize(
    ("known", "status", "content"), [(ETAG, 206, b"01"), ('"other"', 200, CONTENT)]
)
async def test_a_part_only_of_what_is_known(
    ann: Person, known: str, status: int, content: bytes
) -> None:
    headers = {"range": "bytes=0-1", "if-range": known}

    answer = await ann.client.get(await path_of(ann), headers=headers)

    assert (answer.status_code, answer.content) == (status, content)


@pytest.mark.parametrize("known", [ETAG, f'"x", {ETAG}', f"W/{ETAG}", "*"])
async def test_what_is_known_is_not_sent_again(ann: Person, known: str) -> None:
    answer = await ann.client.get(await path_of(ann), headers={"if-none-match": known})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG


async def test_what_changed_is_sent(ann: Person) -> None:
    answer = await ann.client.get(await path_of(ann), headers={"if-none-match": '"x"'})

    assert answer.status_code == 200


async def test_head(ann: Person) -> None:
    answer = await ann.client.head(await path_of(ann), headers={"range": "bytes=0-1"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["accept-ranges"]) == (
        "10",
        "bytes",
    )


async def test_download(ann: Person) -> None:
    media = await ann.media(name='录音 "1".wav')

    answer = await ann.get(f"/api/media/{media.id}/content", download=1)

    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"__ _1_.wav\"; filename*=UTF-8''%E5%BD%95%E9%9F%B3%20%221%22.wav"
    )


@given(st.text(st.characters(exclude_categories=["Cs"])))
async def test_no_name_breaks_a_header(name: str) -> None:
    header = disposition("inline", name)

    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2


@given(st.text("0123456789-=, bytes"), st.integers(1, 20))
async def test_a_range_lies_within_the_file(header: str, size: int) -> None:
    try:
        found = byte_range(header, size)
    except RangeNotSatisfiable:
        return

    assert found is None or 0 <= found[0] < found[1] <= size
