"""Uploads by the tus protocol: every byte counts once, wherever the way breaks off."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from rhapsode.database.tables import media as media_table
from rhapsode.database.tables import upload_parts, uploads
from rhapsode.domain.uploads import MOST_METADATA_CHARACTERS
from rhapsode.services import inflow, sweeping
from rhapsode.services import uploads as service
from rhapsode.services.context import now
from tests.api.people import Person, problem
from tests.api.wire import call
from tests.support import recordings

pytestmark = pytest.mark.asyncio(loop_scope="session")

TUS = {"tus-resumable": "1.0.0"}
BYTES = {**TUS, "content-type": "application/offset+octet-stream"}
EXTENSIONS = ",".join(
    [
        *("creation", "creation-with-upload", "creation-defer-length"),
        *("checksum", "expiration", "termination"),
    ]
)
LIMIT = 1_000_000
"""What the server of these tests accepts."""


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recordings.tone(tmp_path_factory.mktemp("wav") / "a.wav", 0.5).read_bytes()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts so small that even a short recording has several."""
    monkeypatch.setattr(inflow, "PART_BYTES", 4000)


def metadata(**values: str) -> dict[str, str]:
    pairs = (f"{key} {base64.b64encode(v.encode()).decode()}" for key, v in values.items())
    return {"upload-metadata": ",".join(pairs)}


async def begin(ann: Person, size: int | None, **headers: str) -> httpx.Response:
    length = {"upload-defer-length": "1"} if size is None else {"upload-length": str(size)}
    sent = {**TUS, **length, **metadata(filename="talk.wav"), **headers}
    return await ann.client.post("/api/uploads", headers=sent)


async def begun(ann: Person, size: int | None) -> str:
    answer = await begin(ann, size)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(
    ann: Person, path: str, offset: int, content: Any, **headers: str
) -> httpx.Response:
    sent = {**BYTES, "upload-offset": str(offset), **headers}
    return await ann.client.patch(path, content=content, headers=sent)


async def look(ann: Person, path: str) -> httpx.Response:
    return await ann.client.head(path, headers=TUS)


async def offset_of(ann: Person, path: str) -> int:
    return int((await look(ann, path)).headers["upload-offset"])


def checksum(content: bytes, algorithm: str = "sha256") -> dict[str, str]:
    digest = hashlib.new(algorithm, content).digest()
    return {"upload-checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


async def remains(ann: Person) -> list[str]:
    """The objects of this person's uploads and media, and the rows of parts."""
    async with ann.app.context.database.read() as connection:
        mine = select(uploads.c.id).where(uploads.c.user_id == ann.user.id)
        ids = {str(found) for found in (await connection.execute(mine)).scalars()}
        own = select(media_table.c.id).where(media_table.c.user_id == ann.user.id)
        ids |= {str(found) for found in (await connection.execute(own)).scalars()}
        parts = select(func.count()).where(upload_parts.c.upload_id.in_(mine))
        count = (await connection.execute(parts)).scalar_one()
    store = ann.app.context.store
    keys = [*await store.keys("uploads"), *await store.keys("media")]
    return [key for key in keys if key.split("/")[1] in ids] + ["a row of a part"] * count


async def media_of(ann: Person, answer: httpx.Response) -> tuple[str, bytes]:
    """The name and the content of what came of an upload."""
    path = f"/api/media/{answer.headers['rhapsode-media-id']}"
    content = (await ann.get(f"{path}/content")).content
    record = (await ann.get(path)).json()
    assert record["digest"] == hashlib.sha256(content).hexdigest()
    return record["name"], content


async def test_discovery(ann: Person) -> None:
    answer = await ann.client.options("/api/uploads")

    names = (
        *("tus-resumable", "tus-version", "tus-max-size"),
        *("tus-extension", "tus-checksum-algorithm"),
    )
    assert (answer.status_code, [answer.headers[name] for name in names]) == (
        204,
        [
            "1.0.0",
            "1.0.0",
            str(LIMIT),
            EXTENSIONS,
            "sha1,sha256,md5",
        ],
    )


async def test_in_one_piece(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav)

    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(wav)))
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert await media_of(ann, answer) == ("talk.wav", wav)
    assert await remains(ann) == [f"media/{answer.headers['rhapsode-media-id']}"]


async def test_in_pieces_of_several_parts(ann: Person, wav: bytes, small_parts: None) -> None:
    path = await begun(ann, len(wav))

    first = await send(ann, path, 0, wav[:9000])
    last = await send(ann, path, 9000, wav[9000:])

    assert (first.headers["upload-offset"], "rhapsode-media-id" in first.headers) == (
        "9000",
        False,
    )
    assert await media_of(ann, last) == ("talk.wav", wav)
    assert await remains(ann) == [f"media/{last.headers['rhapsode-media-id']}"]


async def test_where_it_goes_on(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    await send(ann, path, 0, wav[:5000])

    answer = await look(ann, path)

    names = ("upload-offset", "upload-length", "cache-control", "rhapsode-upload-state")
    found = [answer.headers[name] for name in names]
    assert (answer.status_code, found) == (
        200,
        ["5000", str(len(wav)), "no-store", "receiving"],
    )
    assert answer.headers["upload-metadata"] == metadata(filename="talk.wav")["upload-metadata"]
    expires = parsedate_to_datetime(answer.headers["upload-expires"])
    assert timedelta(hours=23) < expires - now() <= timedelta(hours=24)


async def test_what_came_of_it(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    sent = await send(ann, path, 0, wav)

    seen, body = await look(ann, path), (await ann.get(path)).json()

    media_id = sent.headers["rhapsode-media-id"]
    assert seen.headers["rhapsode-media-id"] == media_id
    assert body == {
        "id": path.rsplit("/", 1)[1],
        "name": "talk.wav",
        "state": "finished",
        "size": len(wav),
        "received": len(wav),
        "media_id": media_id,
        "error": None,
        "created_at": body["created_at"],
        "expires_at": body["expires_at"],
    }


async def test_with_the_first_bytes(ann: Person, wav: bytes) -> None:
    headers = {**BYTES, "upload-length": str(len(wav)), **metadata(filename="a.wav")}

    part = await ann.client.post("/api/uploads", content=wav[:100], headers=headers)
    whole = await ann.client.post("/api/uploads", content=wav, headers=headers)

    assert (part.status_code, part.headers["upload-offset"]) == (201, "100")
    assert (whole.status_code, await media_of(ann, whole)) == (201, ("a.wav", wav))


async def test_damaged_first_bytes_begin_nothing(ann: Person, wav: bytes) -> None:
    headers = {**BYTES, "upload-length": str(len(wav)), **checksum(b"others")}

    answer = await ann.client.post("/api/uploads", content=wav[:100], headers=headers)

    assert problem(answer) == (460, "upload_checksum")
    assert await remains(ann) == []


async def test_a_length_that_is_told_late(ann: Person, wav: bytes) -> None:
    path = await begun(ann, None)
    first = await send(ann, path, 0, wav[:1000])

    last = await send(ann, path, 1000, wav[1000:], **{"upload-length": str(len(wav))})

    assert first.headers["upload-defer-length"] == "1"
    assert await media_of(ann, last) == ("talk.wav", wav)


async def test_a_length_that_is_told_last(ann: Person, wav: bytes) -> None:
    path = await begun(ann, None)
    await send(ann, path, 0, wav)

    last = await send(ann, path, len(wav), b"", **{"upload-length": str(len(wav))})

    assert await media_of(ann, last) == ("talk.wav", wav)


async def test_a_length_is_told_once(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav, **{"upload-length": "5"})

    assert (problem(answer), await offset_of(ann, path)) == ((400, "upload_header"), 0)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
async def test_a_checksum(ann: Person, wav: bytes, small_parts: None, algorithm: str) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav, **checksum(wav, algorithm))

    assert await media_of(ann, answer) == ("talk.wav", wav)


async def test_a_damaged_piece_does_not_count(
    ann: Person, wav: bytes, small_parts: None
) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav[:9000], **checksum(b"others"))

    assert (problem(answer), await offset_of(ann, path)) == ((460, "upload_checksum"), 0)
    assert await remains(ann) == []
    again = await send(ann, path, 0, wav, **checksum(wav))
    assert await media_of(ann, again) == ("talk.wav", wav)


@pytest.mark.parametrize("text", ["crc32 AAAA", "sha256", "sha256 no-base64!"])
async def test_a_checksum_that_is_not_understood(ann: Person, wav: bytes, text: str) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav, **{"upload-checksum": text})

    code = "upload_checksum_algorithm" if text.startswith("crc32") else "upload_header"
    if text == "sha256":  # a checksum of nothing is one that never fits
        code = "upload_checksum"
    assert problem(answer)[1] == code
    assert await offset_of(ann, path) == 0


@pytest.mark.parametrize("offset", [0, 4999, 5001, 10**15])
async def test_a_wrong_offset(ann: Person, wav: bytes, offset: int) -> None:
    path = await begun(ann, len(wav))
    await send(ann, path, 0, wav[:5000])

    answer = await send(ann, path, offset, wav[5000:])

    assert problem(answer) == (409, "upload_offset")
    assert (answer.headers["upload-offset"], await offset_of(ann, path)) == ("5000", 5000)


async def test_bytes_behind_the_end(ann: Person, wav: bytes) -> None:
    path = await begun(ann, 5000)

    told = await send(ann, path, 0, wav)
    untold = await send(ann, path, 0, pieces(wav))

    assert [problem(told), problem(untold)] == [(413, "upload_too_long")] * 2
    assert (await offset_of(ann, path), await remains(ann)) == (0, [])


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_two_at_once(ann: Person, wav: bytes) -> None:
    """Who began last goes on; nothing of the other one counts, or stays."""
    path = await begun(ann, len(wav))

    answers = await asyncio.gather(*(send(ann, path, 0, wav) for _ in range(4)))

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [204, 409, 409, 409]
    (best,) = (answer for answer in answers if answer.status_code == 204)
    assert await media_of(ann, best) == ("talk.wav", wav)
    assert len((await ann.get("/api/media")).json()["items"]) == 1
    assert await remains(ann) == [f"media/{best.headers['rhapsode-media-id']}"]


async def test_a_new_connection_replaces_a_dead_one(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0"}
    kind = {"content_type": "application/offset+octet-stream"}
    async with call(ann.app, "PATCH", path, ann.key, None, **headers, **kind) as dead:
        dead.send(wav[:3000], more=True)  # and then nothing, as behind a router that restarts
        await until_held(ann)
        fresh = await send(ann, path, 0, wav[:8000])
        dead.send(wav[3000:6000], more=False)
        status = await dead.started()

    assert (fresh.status_code, status, await offset_of(ann, path)) == (204, 409, 8000)


async def until_held(ann: Person) -> None:
    """Wait until a request appends to this person's upload."""
    query = select(uploads.c.holder).where(uploads.c.user_id == ann.user.id)
    async with asyncio.timeout(20):
        while True:
            async with ann.app.context.database.read() as connection:
                if (await connection.execute(query)).scalar_one() is not None:
                    return
            await asyncio.sleep(0.02)


async def test_a_connection_that_breaks_keeps_what_came(
    ann: Person, wav: bytes, small_parts: None
) -> None:
    path = await begun(ann, len(wav))
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0"}
    kind = {"content_type": "application/offset+octet-stream"}

    async with call(ann.app, "PATCH", path, ann.key, None, **headers, **kind) as request:
        request.send(wav[:5000], more=True)
        request.send(wav[5000:9500], more=True)
        request.hang_up()
        await request.started()

    assert await offset_of(ann, path) == 9500
    answer = await send(ann, path, 9500, wav[9500:])
    assert await media_of(ann, answer) == ("talk.wav", wav)


async def test_a_break_under_a_checksum_keeps_nothing(
    ann: Person, wav: bytes, small_parts: None
) -> None:
    path = await begun(ann, len(wav))
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0"}
    kind = {
        "content_type": "application/offset+octet-stream",
        "upload_checksum": checksum(wav)["upload-checksum"],
    }

    async with call(ann.app, "PATCH", path, ann.key, None, **headers, **kind) as request:
        request.send(wav[:9500], more=True)
        request.hang_up()
        await request.started()

    assert (await offset_of(ann, path), await remains(ann)) == (0, [])


async def test_a_slow_drip_counts_before_its_end(
    ann: Person, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflow, "BLOCK_SECONDS", 0.05)
    path = await begun(ann, len(wav))
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0"}
    kind = {"content_type": "application/offset+octet-stream"}
    async with call(ann.app, "PATCH", path, ann.key, None, **headers, **kind) as request:
        for end in range(1, 4):
            request.send(wav[end - 1 : end], more=True)
            async with asyncio.timeout(20):
                while await offset_of(ann, path) < end:
                    await asyncio.sleep(0.02)
        request.send(wav[3:], more=False)
        status = await request.started()

    assert (status, (await ann.get(path)).json()["state"]) == (204, "finished")


BAD = {
    "text": (recordings.text, "media_unreadable"),
    "silent film": (recordings.video_without_sound, "media_without_audio"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_recording_fails_and_leaves_nothing(
    ann: Person, tmp_path: Path, kind: str
) -> None:
    factory, code = BAD[kind]
    content = factory(tmp_path / "file").read_bytes()
    path = await begun(ann, len(content))

    answer = await send(ann, path, 0, content)

    assert problem(answer) == (422, code)
    assert (await remains(ann), (await ann.get("/api/media")).json()["items"]) == ([], [])
    seen, body = await look(ann, path), (await ann.get(path)).json()
    assert (seen.status_code, seen.headers["rhapsode-upload-state"]) == (410, "failed")
    assert (body["state"], body["error"]["code"], body["media_id"]) == ("failed", code, None)
    again = await send(ann, path, len(content), b"")
    assert problem(again) == (422, code)


async def test_nothing_at_all(ann: Person) -> None:
    told = await begin(ann, 0)
    path = await begun(ann, None)
    late = await send(ann, path, 0, b"", **{"upload-length": "0"})

    assert [problem(told), problem(late)] == [(422, "media_empty")] * 2
    assert await remains(ann) == []


@pytest.mark.parametrize("size", [LIMIT + 1, 5_000_000_000, 10**17])
async def test_more_than_the_limit(ann: Person, size: int) -> None:
    answer = await begin(ann, size)

    assert problem(answer) == (413, "media_too_large")
    assert answer.headers["tus-max-size"] == str(LIMIT)


async def test_more_than_the_limit_told_late(ann: Person) -> None:
    path = await begun(ann, None)

    told = await send(ann, path, 0, b"x", **{"upload-length": str(LIMIT + 1)})
    untold = await send(ann, path, 0, pieces(b"x" * (LIMIT + 1), 100_000))

    assert [problem(told), problem(untold)] == [(413, "media_too_large")] * 2
    assert await remains(ann) == []


async def test_somebody_elses(ann: Person, ben: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))

    answers = [
        await ben.get(path),
        await send(ben, path, 0, wav),
        await ben.client.delete(path, headers=TUS),
    ]

    assert [problem(answer) for answer in answers] == [(404, "upload_not_found")] * 3
    assert (await look(ben, path)).status_code == 404
    assert await offset_of(ann, path) == 0


async def test_termination(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    await send(ann, path, 0, wav[:9000])

    answer = await ann.client.delete(path, headers=TUS)

    assert (answer.status_code, await remains(ann)) == (204, [])
    assert (await look(ann, path)).status_code == 404
    assert problem(await send(ann, path, 9000, wav[9000:])) == (404, "upload_not_found")


async def test_termination_leaves_the_media(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    sent = await send(ann, path, 0, wav)

    await ann.client.delete(path, headers=TUS)

    assert await media_of(ann, sent) == ("talk.wav", wav)


async def test_termination_ends_a_request_that_sends(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    headers = {"upload_offset": "0", "tus_resumable": "1.0.0"}
    kind = {"content_type": "application/offset+octet-stream"}
    async with call(ann.app, "PATCH", path, ann.key, None, **headers, **kind) as request:
        request.send(wav[:3000], more=True)
        await until_held(ann)
        await ann.client.delete(path, headers=TUS)
        request.send(wav[3000:], more=False)
        status = await request.started()

    assert (status, await remains(ann)) == (409, [])


async def test_an_expired_one_is_gone(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    await send(ann, path, 0, wav[:9000])
    await expire(ann, path)

    seen, sent = await look(ann, path), await send(ann, path, 9000, wav[9000:])
    await sweeping.sweep(ann.app.context)

    assert (seen.status_code, problem(sent)) == (410, (410, "upload_expired"))
    assert (await remains(ann), (await look(ann, path)).status_code) == ([], 404)


async def expire(ann: Person, path: str) -> None:
    async with ann.app.context.database.write() as transaction:
        await transaction.connection.execute(
            uploads.update()
            .where(uploads.c.user_id == ann.user.id)
            .values(expires_at=now() - timedelta(seconds=1))
        )


async def test_how_many_at_once(
    ann: Person, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_OPEN", 2)
    path = await begun(ann, len(wav))
    await begun(ann, 100)

    refused = await begin(ann, 100)
    await send(ann, path, 0, wav)
    answer = await begin(ann, 100)

    assert (problem(refused), answer.status_code) == ((429, "too_many_uploads"), 201)


async def test_the_same_beginning_again_is_one_upload(ann: Person, wav: bytes) -> None:
    key = {"idempotency-key": str(uuid4())}

    first, second = await begin(ann, len(wav), **key), await begin(ann, len(wav), **key)
    other = await begin(ann, 5, **key)

    assert second.headers["location"] == first.headers["location"]
    assert problem(other) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0"])
async def test_another_version(ann: Person, version: str | None) -> None:
    headers = {"upload-length": "5"} | ({"tus-resumable": version} if version else {})

    answer = await ann.client.post("/api/uploads", headers=headers)

    assert (problem(answer), answer.headers["tus-version"]) == ((412, "tus_version"), "1.0.0")


@pytest.mark.parametrize("kind", ["application/octet-stream", "", "multipart/form-data"])
async def test_another_content_type(ann: Person, wav: bytes, kind: str) -> None:
    path = await begun(ann, len(wav))

    answer = await send(ann, path, 0, wav, **{"content-type": kind})

    assert (problem(answer), await offset_of(ann, path)) == ((415, "upload_content_type"), 0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload-length": "-1"},
        {"upload-length": "5.0"},
        {"upload-length": "9" * 30},
        {"upload-length": "5", "upload-defer-length": "1"},
        {"upload-defer-length": "2"},
        {"upload-length": "5", "upload-metadata": "filename no-base64!"},
        {"upload-length": "5", "upload-metadata": "a YQ==,a YQ=="},
        {"upload-length": "5", "upload-metadata": "a " + "Y" * MOST_METADATA_CHARACTERS},
    ],
)
async def test_headers_that_make_no_sense(ann: Person, headers: dict[str, str]) -> None:
    answer = await ann.client.post("/api/uploads", headers={**TUS, **headers})

    assert problem(answer) == (400, "upload_header")


@pytest.mark.parametrize("offset", [None, "-1", "x"])
async def test_a_piece_says_where_it_belongs(
    ann: Person, wav: bytes, offset: str | None
) -> None:
    path = await begun(ann, len(wav))
    headers = {**BYTES, **({"upload-offset": offset} if offset else {})}

    answer = await ann.client.patch(path, content=wav, headers=headers)

    assert problem(answer) == (400, "upload_header")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"filename": "../../etc/ünï.wav"}, "ünï.wav"),
        ({"name": "by another key.wav"}, "by another key.wav"),
        ({"filename": "a\x00b\n.wav"}, "ab.wav"),
        ({"filetype": "audio/wav"}, "recording"),
    ],
)
async def test_names(ann: Person, sent: dict[str, str], kept: str) -> None:
    made = await begin(ann, 5, **metadata(**sent))

    assert (await ann.get(made.headers["location"])).json()["name"] == kept


async def test_methods_for_proxies_that_know_few(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    headers = {**BYTES, "upload-offset": "0", "x-http-method-override": "PATCH"}

    sent = await ann.client.post(path, content=wav[:100], headers=headers)
    ended = await ann.client.post(path, headers={**TUS, "x-http-method-override": "DELETE"})

    assert (sent.status_code, sent.headers["upload-offset"]) == (204, "100")
    assert (ended.status_code, (await look(ann, path)).status_code) == (204, 404)


async def test_a_job_for_what_was_uploaded(ann: Person, wav: bytes) -> None:
    path = await begun(ann, len(wav))
    sent = await send(ann, path, 0, wav)

    answer = await ann.client.post(
        "/api/jobs",
        json={"input": {"media_id": sent.headers["rhapsode-media-id"]}, "spec": {}},
    )

    assert (answer.status_code, answer.json()["name"]) == (201, "talk.wav")
