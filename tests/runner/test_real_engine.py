"""The real child with the real engine, a real model and real speech."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jiwer

from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.runner.handle import Child
from rhapsode.runner.messages import Done, Failed, Perform
from tests.runner.test_execution import beats_while
from tests.support.faulty import TOKEN, FaultyServer
from tests.support.runners import config, running
from tests.support.speech import model_path, models_folder, plain, sample, sample_text

SPEC = JobSpec(engine="faster-whisper", model="tiny.en", language="en")


@asynccontextmanager
async def child_with(folder: Path, **settings: Any) -> AsyncIterator[Child]:
    child = Child(config("http://unused", TOKEN, folder, child=settings).child, 60)
    try:
        await child.ensure()
        yield child
    finally:
        await child.close()


async def done(child: Child, folder: Path, run: str) -> tuple[float, float]:
    """Seconds for loading and for transcribing."""
    work = child.prepare(run, SPEC, lambda _: None)
    loaded = await work.loaded
    child.perform(Perform(run, SPEC, str(sample("jfk")), str(folder / "result.json")))
    final = await work.over
    assert isinstance(final, Done)
    return loaded, final.seconds


async def test_second_job_needs_no_loading(tmp_path: Path) -> None:
    model_path("tiny.en")
    async with child_with(tmp_path, models_folder=models_folder(), pull=False) as child:
        pid = child.pid
        first, _ = await done(child, tmp_path, "job/1")
        second, _ = await done(child, tmp_path, "job/2")
        assert first > 0.1
        assert second < 0.01
        assert child.pid == pid


async def test_missing_model_is_fetched(tmp_path: Path) -> None:
    """From a folder here; that the networks work too is the catalogue's test."""
    model_path("tiny.en")
    sources = {"mirror_folder": models_folder(), "hub": False, "registry": False}
    async with child_with(tmp_path, **sources) as child:
        stages = list[Progress]()
        work = child.prepare("job/1", SPEC, stages.append)
        assert await work.until_loaded() is None
    names = [progress.stage for progress in stages]
    assert (names[0], names[-1]) == ("fetching model", "loading")
    assert (tmp_path / "models" / "faster-whisper" / "tiny.en" / "model.bin").is_file()


async def test_model_that_may_not_be_fetched(tmp_path: Path) -> None:
    async with child_with(tmp_path, pull=False) as child:
        capabilities = await child.ensure()
        assert "faster-whisper" not in [offer.engine for offer in capabilities.engines]
        final = await child.prepare("job/1", SPEC, lambda _: None).over
    assert isinstance(final, Failed)
    assert (final.code, final.permanent) == ("model_missing", False)


async def test_real_speech_becomes_text(faulty: FaultyServer, tmp_path: Path) -> None:
    model_path("tiny.en")
    settings = config(faulty.url, TOKEN, tmp_path, child={"models_folder": models_folder()})
    async with running(settings):
        job = await faulty.add(
            sample("jfk").read_bytes(), engine="faster-whisper", model="tiny.en"
        )
        result = await faulty.final(job, 60)
    transcript = result.body["transcript"]
    said = " ".join(segment["text"] for segment in transcript["segments"])
    assert jiwer.wer(plain(sample_text("jfk")), plain(said)) < 0.1
    assert transcript["language"] == "en"
    assert transcript["segments"][0]["words"]


async def test_cancel_in_the_middle_of_a_file(faulty: FaultyServer, tmp_path: Path) -> None:
    model_path("tiny.en")
    settings = config(faulty.url, TOKEN, tmp_path, child={"models_folder": models_folder()})
    async with running(settings) as runner:
        job = await faulty.add(
            sample("two-cities").read_bytes(), engine="faster-whisper", model="tiny.en"
        )
        await faulty.seen(lambda: beats_while(faulty, job, "transcribing"))
        await asyncio.sleep(0.5)
        pid, claims, canceled = runner.child_pid, faulty.claims, time.monotonic()
        faulty.canceled.add(job)
        await faulty.seen(lambda: faulty.claims > claims)
        assert time.monotonic() - canceled < faulty.heartbeat_seconds + 2
        await faulty.final(await faulty.add(b"no recording", model="quick"))
        assert runner.child_pid == pid, "it was killed, though the engine can stop by itself"
    assert faulty.of(job, "result") is None
