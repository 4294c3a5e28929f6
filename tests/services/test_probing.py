"""Looking into recordings: what fails there must not be blamed on the recording."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.services.probing import Prober
from rhapsode.storage.objects import StoreConfig, open_store
from tests.support.ports import free_port
from tests.support.recordings import tone


async def stored(config: StoreConfig, folder: Path) -> str:
    recording = tone(folder / "tone.wav", seconds=1)

    async def chunks() -> AsyncIterator[bytes]:
        yield recording.read_bytes()

    await open_store(config).put("media/a", chunks())
    return "media/a"


async def test_a_worker_that_died_idle_is_replaced(
    store_config: StoreConfig, tmp_path: Path
) -> None:
    key = await stored(store_config, tmp_path)
    prober = Prober(store_config, workers=1)
    first = await prober.probe(key)
    (worker,) = prober._idle
    os.kill(worker.pid, signal.SIGKILL)

    assert await prober.probe(key) == first
    await prober.close()


async def test_a_store_that_is_away_is_not_a_bad_recording() -> None:
    config = StoreConfig(
        url="s3://bucket",
        endpoint=f"http://127.0.0.1:{free_port()}",
        access_key_id="a",
        secret_access_key="b",
        allow_http=True,
    )
    prober = Prober(config)

    with pytest.raises(Unavailable) as refusal:
        await prober.probe("media/a")

    assert refusal.value.code == "object_store_unavailable"
    await prober.close()


async def test_a_worker_gets_no_secrets(
    store_config: StoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RHAPSODE_DATABASE__URL", "postgresql://rhapsode:secret@db/rhapsode")
    prober = Prober(store_config, workers=1)
    await prober.probe(await stored(store_config, tmp_path))
    (worker,) = prober._idle
    names = psutil.Process(worker.pid).environ()
    assert [name for name in names if name.startswith("RHAPSODE_")] == []
    await prober.close()
