"""The real runner with the real server: the protocol's rules from end to end."""

import asyncio
import contextlib
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import jiwer
import psutil
import pytest

from rhapsode.client import Client, Unreachable
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Job, JobState
from rhapsode.domain.media import MediaId
from rhapsode.domain.transcripts import Transcript
from tests.support.runners import start
from tests.support.server import EMAIL, Server, running_server, settings_for
from tests.support.speech import model_path, models_folder, plain, sample, sample_text


@dataclass
class Site:
    """A server, and the secrets for it."""

    server: Server
    key: str
    token: str

    def client(self) -> Client:
        return Client(self.server.url, self.key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    queue = {"heartbeat_seconds": 0.5, "lease_seconds": 15, "sweep_seconds": 1}
    with running_server(settings_for(folder, queue=queue), folder) as server:
        key = server.secret("--api-key", "tests", "--user", EMAIL)
        yield Site(server, key, server.secret("--runner", "tests"))


@asynccontextmanager
async def runner(site: Site, folder: Path, *options: str) -> AsyncIterator[Process]:
    folder.mkdir(exist_ok=True)
    process = await start(site.server.url, site.token, folder, "--name", folder.name, *options)
    reading = asyncio.create_task(_kept(process, folder / "runner.log"))
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


async def _kept(process: Process, log: Path) -> None:
    assert process.stderr is not None
    with log.open("ab") as file:
        async for line in process.stderr:
            file.write(line)


async def uploaded(client: Client) -> MediaId:
    return (await client.upload(sample("jfk"))).id


async def puppet(client: Client, media: MediaId, prompt: str = "say") -> Job:
    """A job for the puppet engine, which the server knows once a runner has offered it."""
    async with asyncio.timeout(20):
        while not any(e["name"] == "puppet" for e in (await client.options())["engines"]):
            await asyncio.sleep(0.1)
    spec = {"engine": "puppet", "model": "quick", "prompt": prompt}
    return await client.submit(media, spec)


async def ended(client: Client, job: Job) -> Job:
    async with asyncio.timeout(60):
        return [state async for state in client.follow(job.id)][-1]


async def reached(client: Client, job: Job, stage: str) -> Job:
    async with asyncio.timeout(20):
        async with contextlib.aclosing(client.follow(job.id)) as states:
            async for state in states:
                if state.progress is not None and state.progress.stage == stage:
                    return state
    raise AssertionError(f"the job ended before '{stage}'")


async def test_speech_becomes_a_transcript(site: Site, tmp_path: Path) -> None:
    model_path("tiny.en")
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--threads", "2")
    async with runner(site, tmp_path / "a", *options), site.client() as client:
        spec = {"engine": "faster-whisper", "model": "tiny.en"}
        job = await ended(client, await client.submit(await uploaded(client), spec))
        assert (job.state, job.attempt, job.language) == (JobState.FINISHED, 1, "en")
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
