"""The real runner with the real server: the protocol's rules from end to end."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import jiwer
import psutil
import pytest

from rhapsode.client import Client, Unreachable
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Job, JobState
from rhapsode.domain.media import MediaId
from rhapsode.domain.transcripts import Transcript
from tests.support.site import Site, ended, offered, reached, runner, running_site
from tests.support.speech import model_path, models_folder, plain, sample, sample_text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


async def uploaded(client: Client) -> MediaId:
    return (await client.upload(sample("jfk"))).id


async def puppet(client: Client, media: MediaId, prompt: str = "say") -> Job:
    """A job for the puppet engine, which the server knows once a runner has offered it."""
    await offered(client)
    spec = {"engine": "puppet", "model": "quick", "prompt": prompt}
    return await client.submit(media, spec)


async def loaded_by(client: Client, name: str) -> list[str]:
    """The models in the memory of the runner of that name, as the server knows them."""
    listed = await client.http.json("GET", "/api/runners")
    found: list[str] = next(
        (r["capabilities"].get("loaded", []) for r in listed["items"] if r["name"] == name), []
    )
    return found


async def test_speech_becomes_a_transcript(site: Site, tmp_path: Path) -> None:
    model_path("tiny.en")
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--threads", "2")
    async with runner(site, tmp_path / "a", *options), site.client() as client:
        spec = {"engine": "faster-whisper", "model": "tiny.en"}
        job = await ended(client, await client.submit(await uploaded(client), spec))
        assert (job.state, job.attempt, job.language) == (JobState.FINISHED, 1, "en")
        async with asyncio.timeout(20):
            while not (loaded := await loaded_by(client, "a")):
                await asyncio.sleep(0.1)
        assert loaded == ["faster-whisper/tiny.en"]
        text = await client.transcript(job.id, Format.TXT)
        assert jiwer.wer(plain(sample_text("jfk")), plain(text)) < 0.1
        assert "-->" in await client.transcript(job.id, Format.SRT)


async def test_crash_costs_an_attempt_each_time(site: Site, tmp_path: Path) -> None:
    async with runner(site, tmp_path / "b"), site.client() as client:
        media = await uploaded(client)
        job = await ended(client, await puppet(client, media, "die SIGSEGV"))
        assert (job.state, job.attempt) == (JobState.FAILED, 3)
        assert job.error is not None
        assert job.error.code == "engine_crashed"
        assert "SIGSEGV" in job.error.message
        assert (await ended(client, await puppet(client, media))).state is JobState.FINISHED


@pytest.mark.parametrize("prompt", ["sleep 60", "native 60"])
async def test_cancel_frees_the_runner(site: Site, tmp_path: Path, prompt: str) -> None:
    async with runner(site, tmp_path / "c"), site.client() as client:
        media = await uploaded(client)
        job = await puppet(client, media, prompt)
        await reached(client, job, "transcribing")
        following = await puppet(client, media)
        asked = time.monotonic()
        assert (await client.cancel(job.id)).state is JobState.CANCELED
        assert (await ended(client, following)).state is JobState.FINISHED
        assert time.monotonic() - asked < 0.5 + 2 + 1.5  # a heartbeat, the limit, a new child
        assert (await client.job(job.id)).state is JobState.CANCELED


async def test_server_killed_in_the_middle_of_a_job(site: Site, tmp_path: Path) -> None:
    async with runner(site, tmp_path / "d"), site.client() as client:
        job = await puppet(client, await uploaded(client), "sleep 3")
        await reached(client, job, "transcribing")
        await asyncio.to_thread(site.server.kill)
        with pytest.raises(Unreachable):
            await client.job(job.id)
        await asyncio.to_thread(site.server.start)
        job = await ended(client, job)
        assert (job.state, job.attempt) == (JobState.FINISHED, 1)


async def test_job_given_back_goes_to_the_next_runner(site: Site, tmp_path: Path) -> None:
    async with site.client() as client:
        async with runner(site, tmp_path / "e", "--drain-seconds", "0.2") as process:
            job = await puppet(client, await uploaded(client), "sleep 3")
            await reached(client, job, "transcribing")
            process.terminate()
            assert await process.wait() == 0
        async with runner(site, tmp_path / "f"):
            job = await ended(client, job)
    assert (job.state, job.runner_name) == (JobState.FINISHED, "f")


async def test_killed_runner_loses_the_job_to_another(site: Site, tmp_path: Path) -> None:
    async with site.client() as client, runner(site, tmp_path / "g") as process:
        job = await puppet(client, await uploaded(client), "sleep 2")
        await reached(client, job, "transcribing")
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        async with runner(site, tmp_path / "h"):
            job = await ended(client, job)
        assert not any(member.is_running() for member in family)
    assert (job.state, job.runner_name) == (JobState.FINISHED, "h")
    assert job.attempt == 2


async def test_runner_stays_one_process_and_one_child(site: Site, tmp_path: Path) -> None:
    async with runner(site, tmp_path / "i"), site.client() as client:
        media = await uploaded(client)
        texts = set()
        for _ in range(5):
            job = await ended(client, await puppet(client, media))
            document = await client.http.json("GET", f"/api/jobs/{job.id}/transcript")
            texts.add(Transcript.from_dict(document).text)
        assert len(texts) == 1, "the puppet says its process id"
