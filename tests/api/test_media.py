"""Uploads: what arrives is stored and looked into; what cannot be used leaves nothing."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from rhapsode.database.tables import media as table
from tests.api.people import Person, client_of, problem
from tests.api.wire import call
from tests.support import recordings
from tests.support.recordings import tone_sound
from tests.support.server import running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recordings.tone(tmp_path_factory.mktemp("wav") / "a.wav", 0.5).read_bytes()


async def upload(ann: Person, content: Any, name: str = "talk.wav", **headers: str) -> Any:
    return await ann.client.post(
        "/api/media", params={"name": name}, content=content, headers=headers
    )


async def remains(ann: Person) -> list[Any]:
    """What the database and the store hold of this person, whatever its state."""
    async with ann.app.context.database.read() as connection:
        query = select(table.c.id, table.c.state).where(table.c.user_id == ann.user.id)
        rows = [tuple(row) for row in await connection.execute(query)]
    keys = await ann.app.context.store.keys("media")
    owned = {f"media/{row[0]}" for row in rows}
    return [*rows, *(key for key in keys if key in owned)]


async def orphans(ann: Person) -> set[str]:
    """Objects that no row knows."""
    async with ann.app.context.database.read() as connection:
        rows = set((await connection.execute(select(table.c.id))).scalars())
    keys = await ann.app.context.store.keys("media")
    return set(keys) - {f"media/{row}" for row in rows}


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_the_bare_bytes(ann: Person, wav: bytes) -> None:
    answer = await upload(ann, wav)

    body = answer.json()
    assert answer.status_code == 201
    assert body == {
        "id": body["id"],
        "name": "talk.wav",
        "state": "ready",
        "size": len(wav),
        "digest": hashlib.sha256(wav).hexdigest(),
        "media_type": "audio/wav",
        "duration": 0.5,
        "created_at": body["created_at"],
        "probe": {
            "container": "wav",
            "codec": "pcm_s16le",
            "channels": 1,
            "sample_rate": 16000,
            "duration": 0.5,
            "has_video": False,
        },
    }


async def test_what_was_uploaded_is_got_back(ann: Person, wav: bytes) -> None:
    made = (await upload(ann, wav)).json()

    got = await ann.get(f"/api/media/{made['id']}")
    content = await ann.get(f"/api/media/{made['id']}/content")
    listed = await ann.get("/api/media", digest=made["digest"])

    assert (got.json(), content.content) == (made, wav)
    assert listed.json() == {"items": [made], "next": None}


async def test_a_form(ann: Person, wav: bytes) -> None:
    answer = await ann.client.post(
        "/api/media", files={"anything": ("talk.wav", wav)}, data={"other": "field"}
    )

    assert (answer.status_code, answer.json()["size"]) == (201, len(wav))


async def test_a_stream_of_unknown_length(ann: Person, wav: bytes) -> None:
    answer = await upload(ann, pieces(wav))

    assert (answer.status_code, answer.json()["size"]) == (201, len(wav))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("🎤 ünï.wav", "🎤 ünï.wav"),
        ('a"b.wav', 'a"b.wav'),
        ("..\\evil.wav", "evil.wav"),
    ],
)
@pytest.mark.parametrize("way", ["query", "form"])
async def test_names(ann: Person, wav: bytes, way: str, name: str, kept: str) -> None:
    if way == "form" and name.startswith("..\\"):
        pytest.skip("httpx escapes backslashes as no browser does")
    files = {"file": (name, wav)}
    sent = (
        upload(ann, wav, name) if way == "query" else ann.client.post("/api/media", files=files)
    )

    answer = await sent

    assert (answer.status_code, answer.json()["name"]) == (201, kept)


Factory = Callable[[Path], Path]
BAD: dict[str, tuple[Factory, str]] = {
    "empty": (recordings.empty, "media_empty"),
    "text": (recordings.text, "media_unreadable"),
    "truncated": (
        lambda path: recordings.mp4_truncated(path, tone_sound(1)),
        "media_truncated",
    ),
    "silent film": (recordings.video_without_sound, "media_without_audio"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_recording_leaves_nothing(
    ann: Person, tmp_path: Path, kind: str
) -> None:
    factory, code = BAD[kind]
    content = factory(tmp_path / "file").read_bytes()

    answer = await upload(ann, content, f"{kind}.wav")

    assert problem(answer) == (422, code)
    assert (await remains(ann), await orphans(ann)) == ([], set())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"--x\r\nbroken", "upload_without_file"),
        (b"no boundary at all", "upload_malformed"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n', None),
        (b"", "upload_without_file"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.wav"\r\n\r\nabc',
            "upload_cut",
        ),
    ],
)
async def test_broken_forms(ann: Person, body: bytes, code: str | None) -> None:
    answer = await ann.client.post(
        "/api/media",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=x"},
    )

    assert problem(answer) == (422, code or "upload_without_file")
    assert await remains(ann) == []


async def test_a_form_without_a_boundary(ann: Person) -> None:
    answer = await ann.client.post(
        "/api/media", content=b"x", headers={"content-type": "multipart/form-data"}
    )

    assert problem(answer) == (422, "upload_malformed")


async def test_two_files_in_one_form(ann: Person, wav: bytes) -> None:
    answer = await ann.client.post(
        "/api/media", files=[("a", ("a.wav", wav)), ("b", ("b.wav", wav))]
    )

    assert problem(answer) == (422, "one_file_at_a_time")
    assert await remains(ann) == []


async def test_too_large_by_its_announced_length(ann: Person) -> None:
    answer = await upload(ann, b"x" * 1_000_001)

    assert problem(answer) == (413, "media_too_large")
    assert await remains(ann) == []


async def test_too_large_by_what_comes(ann: Person) -> None:
    answer = await upload(ann, pieces(b"x" * 1_000_001, 100_000))

    assert problem(answer) == (413, "media_too_large")
    assert (await remains(ann), await orphans(ann)) == ([], set())


async def test_an_upload_that_is_cut_off_leaves_nothing(ann: Person, wav: bytes) -> None:
    async with call(ann.app, "POST", "/api/media", ann.key, None) as request:
        request.send(wav[:5000], more=True)
        request.hang_up()
        status = await request.started()

    assert status == 422
    assert (await remains(ann), await orphans(ann)) == ([], set())


async def test_an_upload_whose_request_is_cancelled_leaves_nothing(
    ann: Person, wav: bytes
) -> None:
    """As when the server stops in the middle."""
    feeding = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield wav
        feeding.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(upload(ann, endless()))
    async with asyncio.timeout(20):
        await feeding.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    async with asyncio.timeout(20):
        while await remains(ann):  # the removal goes on by itself
            await asyncio.sleep(0.02)
    assert await orphans(ann) == set()


async def test_the_same_upload_again_makes_one_media(ann: Person, wav: bytes) -> None:
    key = {"idempotency-key": str(uuid4())}

    first, second = await upload(ann, wav, **key), await upload(ann, wav, **key)

    assert (second.status_code, second.json()) == (201, first.json())
    assert len((await ann.get("/api/media")).json()["items"]) == 1


async def test_the_same_upload_three_times_at_once_makes_one_media(
    ann: Person, wav: bytes
) -> None:
    key = {"idempotency-key": str(uuid4())}

    answers = await asyncio.gather(*(upload(ann, wav, **key) for _ in range(3)))

    items = (await ann.get("/api/media")).json()["items"]
    assert [answer.json() for answer in answers] == items * 3
    assert len(await remains(ann)) == 2  # a row and its object


async def test_an_idempotency_key_means_one_upload(ann: Person, wav: bytes) -> None:
    key = {"idempotency-key": str(uuid4())}
    await upload(ann, wav, **key)

    answer = await upload(ann, wav, "other.wav", **key)

    assert problem(answer) == (422, "idempotency_key_reused")


async def test_deleting(ann: Person) -> None:
    media = await ann.media()

    answer = await ann.client.delete(f"/api/media/{media.id}")

    again = await ann.client.delete(f"/api/media/{media.id}")
    assert (answer.status_code, problem(again)) == (204, (404, "media_not_found"))
    assert await remains(ann) == []


@pytest.mark.parametrize("digest", ["x", "D" * 64, "d" * 63])
async def test_what_is_no_digest_is_refused(ann: Person, digest: str) -> None:
    assert problem(await ann.get("/api/media", digest=digest)) == (422, "invalid_request")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.check_call(["umount", "-l", folder])


@pytest.mark.parametrize("announced", [True, False])
async def test_a_full_disk(tmp_path: Path, small_disk: Path, announced: bool) -> None:
    settings = settings_for(tmp_path, storage={"url": str(small_disk)})
    content = b"x" * 3_000_000
    async with running_app(settings) as app:
        sent = content if announced else pieces(content, 100_000)

        answer = await client_of(app, app.key).post("/api/media", content=sent)

        assert problem(answer) == (507, "storage_full")
        assert await app.context.store.keys("media") == []
        assert (await app.client.get("/api/media")).json()["items"] == []


async def test_what_no_answer_can_read_is_told(ann: Person) -> None:
    media = await ann.media()
    await ann.app.context.store.delete(media.key)

    answer = await ann.get(f"/api/media/{media.id}/content")

    assert problem(answer) == (404, "object_not_found")
