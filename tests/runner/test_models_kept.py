"""Models of a real child, as a runner's supervisor sees them: kept, unloaded, mended."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.jobs import JobSpec
from rhapsode.runner.handle import Child
from rhapsode.runner.messages import Done, Failed, Final, Perform
from tests.support import engines
from tests.support.faulty import TOKEN, FaultyServer
from tests.support.runners import config, running
from tests.support.speech import engine_model, model_path, models_folder, sample

WHISPER = JobSpec(engine="faster-whisper", model="tiny.en", language="en")
MOONSHINE = JobSpec(engine="moonshine", model="tiny-en", language="en")


@asynccontextmanager
async def child_with(folder: Path, **settings: Any) -> AsyncIterator[Child]:
    given = {"models_folder": models_folder(), "pull": False, **settings}
    child = Child(config("http://unused", TOKEN, folder, child=given).child, 60)
    try:
        await child.ensure()
        yield child
    finally:
        await child.close()


async def perform(child: Child, spec: JobSpec, folder: Path) -> Final:
    await child.ensure()
    run = f"{spec.engine}/{time.monotonic()}"
    work = child.prepare(run, spec, lambda _: None)
    child.perform(Perform(run, spec, str(sample("jfk")), str(folder / "result.json")))
    return await asyncio.wait_for(work.over, 60)


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.05)


async def test_several_models_are_held_and_go_when_idle(tmp_path: Path) -> None:
    model_path("tiny.en"), engine_model("moonshine", "tiny-en")
    async with child_with(tmp_path, idle_seconds=4.0, keep=("moonshine/tiny-en",)) as child:
        assert child.loaded == ()
        assert isinstance(await perform(child, WHISPER, tmp_path), Done)
        assert isinstance(await perform(child, MOONSHINE, tmp_path), Done)
        assert child.loaded == ("faster-whisper/tiny.en", "moonshine/tiny-en")
        await until(lambda: child.loaded == ("moonshine/tiny-en",))


async def test_a_small_budget_holds_one(tmp_path: Path) -> None:
    async with child_with(tmp_path, memory_budget=60_000_000) as child:
        assert isinstance(await perform(child, MOONSHINE, tmp_path), Done)
        assert isinstance(await perform(child, WHISPER, tmp_path), Done)
        assert child.loaded == ("faster-whisper/tiny.en",)


async def test_a_dead_child_holds_nothing(tmp_path: Path) -> None:
    async with child_with(tmp_path) as child:
        await perform(child, MOONSHINE, tmp_path)
        assert child.loaded
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSEGV)
        await until(lambda: child.loaded == ())


def _copied(folder: Path) -> Path:
    """A folder of models that holds one, whose files can be damaged."""
    target = folder / "own" / "moonshine" / "tiny-en"
    shutil.copytree(engine_model("moonshine", "tiny-en"), target)
    return target


async def test_a_damaged_model_is_named_with_its_remedy(tmp_path: Path) -> None:
    model = _copied(tmp_path)
    weights = model / "encoder_model.ort"
    weights.write_bytes(bytes(weights.stat().st_size))
    async with child_with(tmp_path, models_folder=tmp_path / "own") as child:
        failed = await perform(child, MOONSHINE, tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.permanent) == ("model_damaged", False)
    assert failed.message == (
        "The model moonshine/tiny-en is damaged on this runner: encoder_model.ort. "
        "`rhapsode models pull moonshine/tiny-en` gets it again."
    )


async def test_a_damaged_model_is_fetched_for_the_next_attempt(tmp_path: Path) -> None:
    weights = _copied(tmp_path) / "encoder_model.ort"
    weights.write_bytes(bytes(weights.stat().st_size))
    sources = {"mirror_folder": models_folder(), "hub": False, "registry": False}
    settings = {"models_folder": tmp_path / "own", "pull": True, **sources}
    async with child_with(tmp_path, **settings) as child:
        assert isinstance(await perform(child, MOONSHINE, tmp_path), Failed)
        assert isinstance(await perform(child, MOONSHINE, tmp_path), Done)


async def test_after_a_crash_models_are_read_again(tmp_path: Path) -> None:
    """Damage that loads all the same would show as nonsense, or as the next crash."""
    tokens = _copied(tmp_path) / "tokenizer.bin"
    content = tokens.read_bytes()
    async with child_with(tmp_path, models_folder=tmp_path / "own") as child:
        assert isinstance(await perform(child, MOONSHINE, tmp_path), Done)
        tokens.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSEGV)
        await until(lambda: child.pid is None)
        failed = await perform(child, MOONSHINE, tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.code, "tokenizer.bin" in failed.message) == ("model_damaged", True)


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine among the plug-ins whose import is the end of any process."""
    code = "import ctypes; ctypes.string_at(0)"
    folder = engines.install_code(tmp_path / "deadly", "crasher", code)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{os.environ['PYTHONPATH']}")


@pytest.mark.usefixtures("deadly")
async def test_an_engine_whose_import_kills_is_left_out(tmp_path: Path) -> None:
    child = Child(config("http://unused", TOKEN, tmp_path).child, 60)
    try:
        with pytest.raises(Unavailable) as failure:
            await child.ensure()
        assert failure.value.code == "child_start"
        offered = [offer.engine for offer in (await child.ensure()).engines]
    finally:
        await child.close()
    assert "puppet" in offered
    assert "crasher" not in offered


@pytest.mark.usefixtures("deadly")
async def test_such_an_engine_does_not_take_the_runner_down(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        result = await faulty.final(await faulty.add(speech, model="quick"), 30)
        assert result.kind == "result"


async def test_claims_tell_what_is_loaded(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    settings = config(faulty.url, TOKEN, tmp_path, preload=("puppet/quick",))
    async with running(settings):
        await faulty.seen(lambda: faulty.loaded == ["puppet/quick"])
        await faulty.final(await faulty.add(speech, model="other"))
        await faulty.seen(lambda: faulty.loaded == ["puppet/quick", "puppet/other"])
