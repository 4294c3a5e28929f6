"""Uploads: what a process leaves half done, another one ends; nothing is left over."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from rhapsode.database import uploads as table
from rhapsode.database.audit import AuditFilter
from rhapsode.database.tables import media as media_table
from rhapsode.database.tables import uploads as uploads_table
from rhapsode.domain.audit import Action
from rhapsode.domain.errors import Conflict, DomainError, Invalid, Limited, Unavailable
from rhapsode.domain.uploads import Upload, UploadError, UploadId, UploadState, parts_prefix
from rhapsode.services import assembling, audit, inflow, media, sweeping, uploads
from rhapsode.services.context import Context, now
from rhapsode.services.uploads import Piece
from rhapsode.storage.objects import StoreConfig
from tests.support.recordings import tone
from tests.support.server import App, running_app, settings_for


@pytest.fixture
async def app(
    database_url: str, store_config: StoreConfig, tmp_path: Path
) -> AsyncIterator[App]:
    """On each database with each store; it sweeps when told only."""
    settings = settings_for(
        tmp_path, database_url=database_url, store=store_config, queue={"sweep_seconds": 3600}
    )
    async with running_app(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "PART_BYTES", 4000)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tone(tmp_path_factory.mktemp("wav") / "a.wav", 0.5).read_bytes()


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


async def begun(app: App, size: int | None) -> Upload:
    return await uploads.create(app.context, app.admin, size=size, metadata={})


async def send(
    app: App, upload: Upload, body: bytes, offset: int = 0, context: Context | None = None
) -> Upload:
    piece = Piece(offset=offset, chunks=chunks(body), length=len(body))
    return await uploads.append(context or app.context, app.admin, upload.id, piece)


async def look(app: App, upload: Upload) -> Upload:
    async with app.context.database.read() as connection:
        found = await table.get(connection, upload.id)
    assert found is not None
    return found


async def settled(app: App, upload: Upload) -> Upload:
    """The upload once nobody has anything more to do with it."""
    async with asyncio.timeout(20):
        while (found := await look(app, upload)).state is UploadState.ASSEMBLING:
            await asyncio.sleep(0.02)
        while await app.context.store.keys(parts_prefix(upload.id)):
            await asyncio.sleep(0.02)
    return found


async def media_states(app: App) -> list[str]:
    async with app.context.database.read() as connection:
        return list((await connection.execute(select(media_table.c.state))).scalars())


async def objects(app: App) -> list[str]:
    store = app.context.store
    return [*await store.keys("uploads"), *await store.keys("media")]


def probing(app: App, probe: Callable[[str], Awaitable[Any]]) -> Context:
    """The same application with another look inside recordings."""
    return replace(app.context, probe=probe)


async def test_killed_while_assembling_another_process_ends_it(app: App, wav: bytes) -> None:
    """A killed process holds on to the upload until its time is over, and says no more."""
    upload = await begun(app, len(wav))
    reached = asyncio.Event()

    async def hang(_: str) -> Any:
        reached.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(send(app, upload, wav, context=probing(app, hang)))
    async with asyncio.timeout(20):
        await reached.wait()
    task = app.context.tasks._tasks.pop(upload.id)  # nobody knows of it any more
    sending.cancel()

    await sweeping.sweep(app.context)
    held = await look(app, upload)
    await lapse(app, upload)
    await sweeping.sweep(app.context)
    ended = await settled(app, upload)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (held.state, ended.state) == (UploadState.ASSEMBLING, UploadState.FINISHED)
    assert ended.media_id is not None
    found = await media.get(app.context, app.admin, ended.media_id)
    assert found.digest == hashlib.sha256(wav).hexdigest()
    assert (await media_states(app), await objects(app)) == (["ready"], [found.key])


async def lapse(app: App, upload: Upload) -> None:
    async with app.context.database.write() as transaction:
        await transaction.connection.execute(
            uploads_table.update()
            .where(uploads_table.c.id == upload.id)
            .values(held_until=now() - timedelta(seconds=1))
        )


async def test_a_process_that_stops_leaves_it_to_the_next_one(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    reached = asyncio.Event()

    async def hang(_: str) -> Any:
        reached.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(send(app, upload, wav, context=probing(app, hang)))
    async with asyncio.timeout(20):
        await reached.wait()
    await app.context.tasks.close()
    sending.cancel()
    assert await media_states(app) == []

    other = replace(app.context, tasks=type(app.context.tasks)())
    await uploads.get(other, app.admin, upload.id)  # any question takes it up
    ended = await settled(app, upload)

    assert (ended.state, await media_states(app)) == (UploadState.FINISHED, ["ready"])


async def test_the_client_need_not_wait(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    release = asyncio.Event()

    async def slow(key: str) -> Any:
        await release.wait()
        return await app.context.probe(key)

    context = probing(app, slow)
    hurried = replace(context, rules=replace(context.rules, assembly_wait_seconds=0.05))
    answer = await send(app, upload, wav, context=hurried)
    release.set()
    ended = await settled(app, upload)

    assert (answer.state, answer.media_id) == (UploadState.ASSEMBLING, None)
    assert (ended.state, ended.media_id is None) == (UploadState.FINISHED, False)


async def test_a_store_that_does_not_answer_is_tried_again(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))

    async def away(_: str) -> Any:
        raise Unavailable("object_store_unavailable", "The object store does not answer.")

    answer = await send(app, upload, wav, context=probing(app, away))
    await lapse(app, upload)
    await sweeping.sweep(app.context)
    ended = await settled(app, upload)

    reason = UploadError("object_store_unavailable", "The object store does not answer.")
    assert (answer.state, answer.error) == (UploadState.ASSEMBLING, reason)
    assert (ended.state, ended.error) == (UploadState.FINISHED, None)
    assert await media_states(app) == ["ready"]


async def test_what_a_full_disk_refuses_is_kept(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))

    async def full(_: str) -> Any:
        raise Limited("storage_full", "There is no room left.")

    answer = await send(app, upload, wav, context=probing(app, full))

    assert (answer.state, answer.error and answer.error.code) == (
        UploadState.ASSEMBLING,
        "storage_full",
    )


async def test_a_part_that_is_gone_fails_the_upload(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    await send(app, upload, wav[:9000])
    await app.context.store.delete((await app.context.store.keys(parts_prefix(upload.id)))[1])

    with pytest.raises(Invalid, match="stored file is gone"):
        await send(app, upload, wav[9000:], 9000)

    assert (await media_states(app), await objects(app)) == ([], [])


async def test_a_part_that_is_cut_fails_the_upload(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    await send(app, upload, wav[:9000])
    await app.context.store.put_bytes(
        (await app.context.store.keys(parts_prefix(upload.id)))[1], b"less"
    )

    with pytest.raises(Invalid) as caught:
        await send(app, upload, wav[9000:], 9000)

    assert (caught.value.code, await objects(app)) == ("upload_damaged", [])


async def test_termination_in_the_middle_of_assembling(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    reached, release = asyncio.Event(), asyncio.Event()

    async def slow(key: str) -> Any:
        reached.set()
        await release.wait()
        return await app.context.probe(key)

    sending = asyncio.create_task(send(app, upload, wav, context=probing(app, slow)))
    async with asyncio.timeout(20):
        await reached.wait()
    await uploads.delete(app.context, app.admin, upload.id)
    release.set()

    with pytest.raises(DomainError) as caught:
        await sending
    assert caught.value.code == "upload_not_found"
    assert (await media_states(app), await objects(app)) == ([], [])


async def test_several_replicas_make_one_media(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    replicas = [replace(app.context, tasks=type(app.context.tasks)()) for _ in range(4)]
    await send(app, upload, wav[:9000])
    async with app.context.database.write() as transaction:
        await transaction.connection.execute(
            uploads_table.update()
            .where(uploads_table.c.id == upload.id)
            .values(state=UploadState.ASSEMBLING, size=9000)
        )

    answers = await asyncio.gather(*(assembling.ended(r, upload.id, 20) for r in replicas))

    assert {a and a.media_id for a in answers} == {(await look(app, upload)).media_id}
    assert await media_states(app) == ["ready"]


async def test_killed_after_the_end_the_parts_go_all_the_same(
    app: App, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: Any) -> None:
        return None

    upload = await begun(app, len(wav))
    with monkeypatch.context() as patch:
        patch.setattr(assembling, "forget_parts", killed)
        await send(app, upload, wav)
    before = await app.context.store.keys(parts_prefix(upload.id))

    await lapse(app, upload)
    await sweeping.sweep(app.context)

    assert (len(before), await app.context.store.keys(parts_prefix(upload.id))) == (5, [])
    assert await uploads.sweep(app.context) == 0


async def test_objects_that_were_not_counted_go_with_the_upload(app: App, wav: bytes) -> None:
    """As a kill between the object and its row leaves them."""
    upload = await begun(app, len(wav))
    await app.context.store.put_bytes(f"{parts_prefix(upload.id)}/000-stray", b"stray")

    ended = await send(app, upload, wav)

    assert ended.media_id is not None
    assert await objects(app) == [f"media/{ended.media_id}"]


async def test_objects_of_uploads_that_nobody_knows_go(app: App, wav: bytes) -> None:
    known, unknown = await begun(app, len(wav)), UploadId(uuid4())
    await send(app, known, wav[:100])
    await app.context.store.put_bytes(f"{parts_prefix(unknown)}/000-stray", b"stray")
    await app.context.store.put_bytes("uploads/not-ours/file", b"somebody else's")

    removed = await uploads.sweep_orphans(app.context)

    assert removed == 1
    assert {key.split("/")[1] for key in await objects(app)} == {str(known.id), "not-ours"}
    trail = await audit.page(app.context, AuditFilter(subject=str(unknown)), 10)
    assert [(item.action, item.detail) for item in trail] == [
        (Action.UPLOAD_DELETED, {"reason": "orphan"})
    ]


async def test_who_was_replaced_changes_nothing(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    blocked, go_on = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield wav[:4000]
        blocked.set()
        await go_on.wait()
        yield wav[4000:8000]

    first = asyncio.create_task(
        uploads.append(
            app.context, app.admin, upload.id, Piece(offset=0, chunks=halting(), length=8000)
        )
    )
    async with asyncio.timeout(20):
        await blocked.wait()
        while (await look(app, upload)).received < 4000:
            await asyncio.sleep(0.02)
    ended = await send(app, upload, wav[4000:], 4000)
    go_on.set()

    with pytest.raises(Conflict) as caught:
        await first
    assert (caught.value.code, ended.state) == ("upload_taken", UploadState.FINISHED)
    assert await objects(app) == [f"media/{ended.media_id}"]


async def test_a_server_that_stops_keeps_what_came(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))

    async def halting() -> AsyncIterator[bytes]:
        yield wav[:1234]
        app.context.closing.set()
        await asyncio.Event().wait()

    piece = Piece(offset=0, chunks=halting())
    with pytest.raises(Unavailable) as caught:
        await uploads.append(app.context, app.admin, upload.id, piece)

    assert (caught.value.code, (await look(app, upload)).received) == ("server_stopping", 1234)


async def test_one_that_stands_still_is_cut_off_and_kept(app: App, wav: bytes) -> None:
    upload = await begun(app, len(wav))
    rules = replace(app.context.rules, abandoned_upload_seconds=0.1)

    async def halting() -> AsyncIterator[bytes]:
        yield wav[:4000]
        await asyncio.Event().wait()

    piece = Piece(offset=0, chunks=halting())
    with pytest.raises(Invalid, match="stood still"):
        await uploads.append(replace(app.context, rules=rules), app.admin, upload.id, piece)

    assert (await look(app, upload)).received == 4000
