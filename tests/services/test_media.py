"""Uploads that stand still, come twice at once, or go to folders with odd names."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.media import Media
from rhapsode.services import media
from rhapsode.services.idempotency import once
from rhapsode.services.media import Incoming
from tests.support.recordings import tone
from tests.support.server import App, running_app, settings_for


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def silent() -> AsyncIterator[bytes]:
    yield b"RIFF"
    await asyncio.Event().wait()


async def test_an_upload_that_stands_still_is_given_up(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, queue={"abandoned_upload_seconds": 0.2})
    async with running_app(settings) as app:
        with pytest.raises(Invalid, match="stood still"):
            await media.receive(app.context, app.admin, Incoming("a.wav", None, silent()))

        assert await app.context.store.keys("media") == []


async def test_one_key_for_two_recordings_at_once_keeps_one_and_refuses_the_other(
    app: App, tmp_path: Path
) -> None:
    bodies = [
        tone(tmp_path / f"{hertz}.wav", seconds=1, hertz=hertz).read_bytes()
        for hertz in (440, 550)
    ]

    async def send(body: bytes) -> Media:
        request = once(app.admin.id, "the-same-key", "POST media", "a.wav")
        incoming = Incoming("a.wav", None, chunks(body))
        return await media.receive(app.context, app.admin, incoming, request=request)

    results = await asyncio.gather(*map(send, bodies), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["Invalid", "Media"]
    assert len(await app.context.store.keys("media")) == 1


async def test_a_data_folder_may_have_any_name(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "meine Daten für 100%")
    async with running_app(settings) as app:
        body = tone(tmp_path / "tone.wav", seconds=1).read_bytes()
        stored = await media.receive(
            app.context, app.admin, Incoming("a.wav", len(body), chunks(body))
        )

    assert settings.storage_folder is not None
    assert (settings.storage_folder / stored.key).read_bytes() == body
