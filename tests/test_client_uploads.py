"""The client's uploads against a server that fails in every way on its way."""

import os
import time
from pathlib import Path

import httpx
import pytest

from rhapsode.client import Client, Notes, tus
from rhapsode.domain.errors import DomainError, Invalid
from tests.support.tus import Fault, PretendUploads, problem

SIZE = 30_000_000


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "talk \u2728.wav"
    path.write_bytes(os.urandom(1_000_000) * (SIZE // 1_000_000))
    return path


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries, and pieces that stay small."""
    monkeypatch.setattr("rhapsode.client.retry.Backoff.seconds", lambda _: 0.0)
    monkeypatch.setattr(tus, "_MOST_BYTES", tus._LEAST_BYTES)


def client_of(server: PretendUploads) -> Client:
    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        found = server.answer(request, request.url.path.removeprefix("/api/").split("/"))
        assert found is not None
        return found

    return Client("http://server", "rhk_x", transport=httpx.MockTransport(answer))


def broken(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the connection broke")


def fine(_: httpx.Request) -> None:
    return None


def refused(status: int, code: str) -> Fault:
    return lambda _: problem(status, code)


def pieces(server: PretendUploads) -> int:
    return sum(method == "PATCH" for method, _ in server.requests)


async def test_it_goes_up_in_pieces(large: Path) -> None:
    server, progress = PretendUploads(), list[int]()

    async with client_of(server) as client:
        media = await client.upload(large, report=progress.append)

    (content,) = server.content.values()
    assert (content == large.read_bytes(), media.name, pieces(server)) == (True, large.name, 8)
    assert (progress[0], progress[-1], progress) == (0, SIZE, sorted(progress))


@pytest.mark.parametrize(
    "fault",
    [
        broken,
        refused(500, "internal_error"),
        refused(503, "server_stopping"),
        refused(409, "upload_offset"),
        refused(409, "upload_taken"),
        refused(460, "upload_checksum"),
    ],
)
async def test_a_fault_in_the_middle_costs_one_piece(large: Path, fault: Fault) -> None:
    server = PretendUploads()
    server.faults.extend([fine, fine, fine, fine, fault])  # POST, GET, PATCH, GET, PATCH

    async with client_of(server) as client:
        await client.upload(large)

    (content,) = server.content.values()
    assert (content == large.read_bytes(), pieces(server)) == (True, 9)


async def test_an_answer_that_is_lost_costs_nothing(large: Path) -> None:
    server = PretendUploads()

    def served_but_lost(request: httpx.Request) -> httpx.Response:
        server.answer(request, request.url.path.removeprefix("/api/").split("/"))
        raise httpx.ReadError("the connection broke")

    server.faults.extend([fine, fine, served_but_lost])

    async with client_of(server) as client:
        await client.upload(large)

    (content,) = server.content.values()
    assert content == large.read_bytes()


@pytest.mark.parametrize(
    ("status", "code"), [(404, "upload_not_found"), (410, "upload_expired")]
)
async def test_an_upload_that_is_gone_begins_anew(large: Path, status: int, code: str) -> None:
    server = PretendUploads()
    server.faults.extend([fine, fine, fine, refused(status, code)])

    async with client_of(server) as client:
        await client.upload(large)

    assert [len(content) for content in server.content.values()] == [4 * 2**20, SIZE]


@pytest.mark.parametrize(
    ("status", "code"),
    [(413, "media_too_large"), (429, "too_many_uploads"), (401, "unauthenticated")],
)
async def test_a_refusal_is_heard_at_once(large: Path, status: int, code: str) -> None:
    server = PretendUploads()
    server.faults.append(refused(status, code))

    async with client_of(server) as client:
        with pytest.raises(DomainError) as caught:
            await client.upload(large)

    assert (caught.value.code, server.requests) == (code, [("POST", "/api/uploads")])


async def test_it_gives_up_at_last(large: Path) -> None:
    server = PretendUploads()
    server.faults.extend([fine] * 3 + [broken] * 100)

    async with client_of(server) as client:
        with pytest.raises(DomainError) as caught:
            await client.upload(large)

    assert (caught.value.code, len(server.requests)) == ("server_unreachable", 3 + tus.TRIES)


async def test_another_run_goes_on(large: Path, tmp_path: Path) -> None:
    server, notes = PretendUploads(), Notes(tmp_path / "notes")
    server.faults.extend([fine] * 7 + [broken] * tus.TRIES)
    async with client_of(server) as client:
        with pytest.raises(DomainError):
            await client.upload(large, notes=notes)
    server.faults.clear()
    before = pieces(server)

    async with client_of(server) as client:
        await client.upload(large, notes=notes)

    (content,) = server.content.values()
    assert (content == large.read_bytes(), pieces(server) - before) == (True, 5)


async def test_another_run_takes_what_is_finished(large: Path, tmp_path: Path) -> None:
    server, notes = PretendUploads(), Notes(tmp_path / "notes")
    async with client_of(server) as client:
        first = await client.upload(large, notes=notes)

        second = await client.upload(large, notes=notes)
        client.forget_upload(large, notes)
        third = await client.upload(large, notes=notes)

    assert (first.id == second.id, first.id == third.id) == (True, False)


async def test_a_file_that_changed_is_another_one(large: Path, tmp_path: Path) -> None:
    server, notes = PretendUploads(), Notes(tmp_path / "notes")
    async with client_of(server) as client:
        await client.upload(large, notes=notes)
        large.write_bytes(b"something else")
        await client.upload(large, notes=notes)

    assert [len(content) for content in server.content.values()] == [SIZE, 14]


async def test_a_file_that_changes_meanwhile_is_told(large: Path, tmp_path: Path) -> None:
    server, notes = PretendUploads(), Notes(tmp_path / "notes")

    def growing(_: httpx.Request) -> None:
        with large.open("ab") as file:
            file.write(b"more")

    server.faults.extend([fine, fine, growing])

    async with client_of(server) as client:
        with pytest.raises(Invalid) as caught:
            await client.upload(large, notes=notes)

    assert (caught.value.code, list((tmp_path / "notes").iterdir())) == ("file_changed", [])


async def test_what_is_no_recording_is_told(large: Path, tmp_path: Path) -> None:
    server = PretendUploads(lambda _: problem(422, "media_unreadable", "It is none."))
    notes = Notes(tmp_path / "notes")

    async with client_of(server) as client:
        with pytest.raises(Invalid, match="It is none") as caught:
            await client.upload(large, notes=notes)

    assert caught.value.code == "media_unreadable"


async def test_a_failure_that_another_run_finds(large: Path, tmp_path: Path) -> None:
    server = PretendUploads(lambda _: problem(422, "media_unreadable", "It is none."))
    notes = Notes(tmp_path / "notes")

    def served_but_lost(request: httpx.Request) -> httpx.Response:
        server.answer(request, request.url.path.removeprefix("/api/").split("/"))
        raise httpx.ReadError("the connection broke")

    server.faults.extend([fine] * 16 + [served_but_lost] + [fine] * 99)

    async with client_of(server) as client:
        with pytest.raises(Invalid, match="It is none"):
            await client.upload(large, notes=notes)

    assert list((tmp_path / "notes").iterdir()) == []


def test_notes_that_are_old_or_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    notes = Notes(folder)
    folder.mkdir()
    old, damaged = folder / "old.json", folder / "damaged.json"
    for path in (old, damaged):
        path.write_text("no JSON")
    past = time.time() - 8 * 86400
    os.utime(old, (past, past))

    upload_id = tus.UUID(int=7)
    notes.note("new", upload_id, tmp_path)

    assert (notes.recall("damaged"), notes.recall("new")) == (None, upload_id)
    assert sorted(path.name for path in folder.iterdir()) == ["damaged.json", "new.json"]


def test_notes_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    notes = Notes(tmp_path / "file" / "notes")

    notes.note("key", tus.UUID(int=7), tmp_path)

    assert notes.recall("key") is None


async def test_a_file_that_is_gone_by_then_is_forgotten_without_ado(
    large: Path, tmp_path: Path
) -> None:
    server, notes = PretendUploads(), Notes(tmp_path / "notes")
    async with client_of(server) as client:
        media = await client.upload(large, notes=notes)
        large.unlink()
        client.forget_upload(large, notes)

    assert list(server.media) == [str(media.id)]
