"""Recordings by URL, with the real runner, the real server and a real S3 server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import jiwer
import pytest

from rhapsode.client import Client, Http, RunnerApi
from rhapsode.client.views import Wishes
from rhapsode.domain.errors import Invalid
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Job, JobState
from rhapsode.domain.runners import Capabilities, EngineOffer
from tests.support.misbehaving import Misbehaving, drip, endless, file, misbehaving, status
from tests.support.recordings import noise_sound, write_wav
from tests.support.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.support.site import Site, ended, offered, reached, runner, running_site
from tests.support.speech import model_path, models_folder, plain, sample_text

LOCAL = {"allow_networks": ["127.0.0.0/8"], "least_url_seconds": 0}
ALLOW = ("--allow-network", "127.0.0.0/8")
SECRET = "s3cret-of-the-url"
SPEC = {"engine": "puppet", "model": "quick"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    limits = {"max_upload_bytes": 50_000_000}
    with running_site(folder, outbound=LOCAL, server=limits) as running:
        yield running


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that fetches for its runners."""
    folder = tmp_path_factory.mktemp("passing")
    with running_site(folder, outbound={**LOCAL, "fetch_by": "server"}) as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as server:
        yield server


def presigned(s3: S3, content: bytes, seconds: int = 3600, key: str = "talk.wav") -> str:
    client = s3.client()
    client.put_object(Bucket="tests", Key=key, Body=content)
    url: str = client.generate_presigned_url(
        "get_object", {"Bucket": "tests", "Key": key}, ExpiresIn=seconds
    )
    return url


async def by_url(client: Client, url: str, *, keep: bool = False, **spec: Any) -> Job:
    await offered(client)
    return await client.submit(url, {**SPEC, **spec}, Wishes(keep=keep))


def said_nothing(site: Site, folder: Path) -> bool:
    """Whether no log shows what the URL keeps secret."""
    logs = site.server.log.read_text() + (folder / "runner.log").read_text()
    return SECRET not in logs and "X-Amz-Signature" not in logs


async def test_speech_at_a_presigned_url(
    site: Site, s3_server: S3, speech: bytes, tmp_path: Path
) -> None:
    model_path("tiny.en")
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--threads", "2")
    url = presigned(s3_server, speech)
    async with runner(site, tmp_path / "a", *options, *ALLOW), site.client() as client:
        spec = {"engine": "faster-whisper", "model": "tiny.en"}
        job = await ended(client, await client.submit(url, spec))
        assert (job.state, job.attempt, job.name) == (JobState.FINISHED, 1, "talk.wav")
        assert job.duration == pytest.approx(11.0, abs=0.1)
        assert job.media_id is None
        text = await client.transcript(job.id, Format.TXT)
        assert jiwer.wer(plain(sample_text("jfk")), plain(text)) < 0.1
    assert site.stored() == []
    assert said_nothing(site, tmp_path / "a")


async def test_what_is_kept_is_the_jobs_media(
    site: Site, s3_server: S3, speech: bytes, tmp_path: Path
) -> None:
    async with runner(site, tmp_path / "b", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, presigned(s3_server, speech), keep=True))
        assert job.state is JobState.FINISHED
        assert job.media_id is not None
        media = await client.media(job.media_id)
        assert (media.name, media.size, media.digest) == (
            "talk.wav",
            len(speech),
            sha256(speech).hexdigest(),
        )
        assert media.duration == pytest.approx(11.0, abs=0.1)
        assert site.stored() == [f"media/{job.media_id}"]
        again = await ended(client, await client.submit(job.media_id, SPEC))
        assert again.state is JobState.FINISHED
        await client.delete_job(again.id, keep_media=True)
        await client.delete_job(job.id)
    assert site.stored() == []


async def test_a_url_that_has_expired(
    site: Site, s3_server: S3, speech: bytes, tmp_path: Path
) -> None:
    async with site.client() as client:
        async with runner(site, tmp_path / "c", *ALLOW):
            await offered(client)
        url = presigned(s3_server, speech, seconds=1)
        job = await by_url(client, url)
        await asyncio.sleep(2)  # the server looks at the clock
        async with runner(site, tmp_path / "d", *ALLOW):
            job = await ended(client, job)
        assert (job.state, job.attempt) == (JobState.EXPIRED, 1)
        assert job.error is not None
        assert job.error.code == "input_expired"
        shown = url.partition("?")[0]
        assert job.error.message.startswith(f"{shown} does not work any more: it answers 403")
        assert "its signature expired at" in job.error.message
        with pytest.raises(Invalid) as refusal:
            await by_url(client, url)
        assert refusal.value.code == "url_expired"
    assert said_nothing(site, tmp_path / "d")


async def test_a_url_that_was_tampered_with(
    site: Site, s3_server: S3, speech: bytes, tmp_path: Path
) -> None:
    url = presigned(s3_server, speech).replace("talk.wav", "other.wav")
    async with runner(site, tmp_path / "e", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, url))
    assert job.state is JobState.EXPIRED
    assert job.error is not None
    assert "(SignatureDoesNotMatch)" in job.error.message


async def test_a_cut_connection_is_resumed(
    site: Site, web: Misbehaving, speech: bytes, tmp_path: Path
) -> None:
    url = web.at("/a.wav", file(speech, cut_after=100_000), file(speech))
    async with runner(site, tmp_path / "f", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, f"{url}?t={SECRET}", keep=True))
        assert (job.state, job.attempt) == (JobState.FINISHED, 1)
        assert job.media_id is not None
        assert (await client.media(job.media_id)).digest == sha256(speech).hexdigest()
    assert [r.headers.get("range") for r in web.requests] == [None, "bytes=100000-"]
    assert said_nothing(site, tmp_path / "f")


PAGE = b"<!doctype html><title>Sign in to continue</title>"


@pytest.mark.parametrize("keep", [False, True])
async def test_a_page_instead_of_a_recording(
    site: Site, web: Misbehaving, tmp_path: Path, keep: bool
) -> None:
    before = site.stored()
    url = web.at("/a.wav", status(200, PAGE, Content_Type="text/html"))
    async with runner(site, tmp_path / "g", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, f"{url}?t={SECRET}", keep=keep))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert (job.error.code, job.error.message) == (
        "input_not_media",
        f"{url} is no recording: it leads to a web page titled 'Sign in to continue'.",
    )
    assert site.stored() == before


async def test_nothing_at_all_is_no_recording(
    site: Site, web: Misbehaving, tmp_path: Path
) -> None:
    async with runner(site, tmp_path / "h", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, web.at("/a", status(200)), keep=True))
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("input_not_media", 1)


async def test_an_endless_body_ends_at_the_servers_limit(
    site: Site, web: Misbehaving, tmp_path: Path
) -> None:
    async with runner(site, tmp_path / "i", *ALLOW), site.client() as client:
        job = await ended(client, await by_url(client, web.at("/a", endless())))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "input_too_large"


async def test_a_runner_decides_by_itself_whom_it_speaks_to(
    site: Site, web: Misbehaving, tmp_path: Path
) -> None:
    async with runner(site, tmp_path / "j"), site.client() as client:
        job = await ended(client, await by_url(client, web.at("/a", status(200))))
    assert (job.state, job.attempt) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error.code == "address_refused"
    assert web.requests == []


async def test_cancel_during_a_slow_fetch(
    site: Site, web: Misbehaving, speech: bytes, tmp_path: Path
) -> None:
    slow = web.at("/slow", drip(speech, 0.05))
    async with runner(site, tmp_path / "k", *ALLOW), site.client() as client:
        job = await by_url(client, slow)
        await reached(client, job, "fetching media")
        following = await by_url(client, web.at("/a", file(speech)))
        asked = time.monotonic()
        await client.cancel(job.id)
        assert (await ended(client, following)).state is JobState.FINISHED
        assert time.monotonic() - asked < 2
        assert (await client.job(job.id)).state is JobState.CANCELED
        scratch = tmp_path / "k" / "scratch"
        assert [p.name for p in scratch.rglob("*") if p.is_file()] == ["lock"]


async def test_progress_where_the_length_is_unknown(
    site: Site, web: Misbehaving, tmp_path: Path
) -> None:
    async def slowly(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000)
        await asyncio.sleep(3600)

    async with runner(site, tmp_path / "l", *ALLOW), site.client() as client:
        job = await by_url(client, web.at("/a", slowly))
        await reached(client, job, "fetching media, 2 MB")
        await client.cancel(job.id)


async def test_killed_in_the_middle_of_the_fetch(
    site: Site, web: Misbehaving, speech: bytes, tmp_path: Path
) -> None:
    url = web.at("/a.wav", drip(speech, 0.05), file(speech))
    async with site.client() as client:
        async with runner(site, tmp_path / "m", *ALLOW) as process:
            job = await by_url(client, url)
            await reached(client, job, "fetching media")
            process.kill()
        scratch = tmp_path / "m" / "scratch"
        assert any(p.name == "media" for p in scratch.rglob("*"))
        async with runner(site, tmp_path / "m", *ALLOW):
            job = await ended(client, job)
            async with asyncio.timeout(5):
                while [p.name for p in scratch.rglob("*") if p.is_file()] != ["lock"]:
                    await asyncio.sleep(0.02)
    assert (job.state, job.attempt) == (JobState.FINISHED, 2)


async def test_keeping_again_is_fine(
    site: Site, web: Misbehaving, speech: bytes, tmp_path: Path
) -> None:
    """The runner did not hear the first answer; the second comes over a real connection."""
    path = write_wav(tmp_path / "long.wav", [noise_sound(1000.0)])
    async with runner(site, tmp_path / "p", *ALLOW), site.client() as client:
        await offered(client)
    async with site.client() as client, Http(site.server.url, site.token) as http:
        job = await by_url(client, web.at("/a", file(speech)), keep=True)
        offer = EngineOffer(engine="puppet", models=("quick",))
        api = RunnerApi(http)
        known = await api.register("by hand", "1", Capabilities(engines=(offer,)))
        assignment = await api.claim(known.runner_id, 10)
        assert assignment is not None
        assert assignment.job_id == job.id
        lease = api.lease(known.runner_id, assignment)
        await lease.keep_media(path)
        first = (await client.job(job.id)).media_id
        await lease.keep_media(path)
        assert (await client.job(job.id)).media_id == first is not None
        await lease.give_back()
        await client.cancel(job.id)


async def test_s3_urls_are_presigned_as_the_job_starts(
    s3_server: S3, speech: bytes, tmp_path: Path
) -> None:
    presigned(s3_server, speech, key="räume/a b+c.wav")
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    s3_input = {"endpoint": s3_server.endpoint, "buckets": ["tests"], **keys}
    with running_site(tmp_path, outbound=LOCAL, s3_input=s3_input) as site:
        async with runner(site, tmp_path / "q", *ALLOW), site.client() as client:
            job = await ended(client, await by_url(client, "s3://tests/räume/a b+c.wav"))
            assert (job.state, job.attempt, job.name) == (JobState.FINISHED, 1, "a b+c.wav")
            gone = await ended(client, await by_url(client, "s3://tests/gone.wav"))
            assert gone.state is JobState.EXPIRED
            assert gone.error is not None
            assert "gone.wav does not work any more" in gone.error.message
        assert said_nothing(site, tmp_path / "q")


async def test_by_way_of_the_server(
    passing: Site, web: Misbehaving, speech: bytes, tmp_path: Path
) -> None:
    """The runner may not reach anything but its server, and nothing is stored there."""
    url = web.at("/a.wav", file(speech, cut_after=100_000), file(speech))
    async with runner(passing, tmp_path / "n"), passing.client() as client:
        job = await ended(client, await by_url(client, f"{url}?t={SECRET}"))
        assert (job.state, job.attempt) == (JobState.FINISHED, 1)
        assert passing.stored() == []
        kept = await ended(client, await by_url(client, url, keep=True))
        assert kept.media_id is not None
        assert (await client.media(kept.media_id)).digest == sha256(speech).hexdigest()
    assert [r.headers.get("range") for r in web.requests][:2] == [None, "bytes=100000-"]
    assert said_nothing(passing, tmp_path / "n")


@pytest.mark.parametrize(
    ("answer", "state", "code"),
    [
        (status(404), JobState.EXPIRED, "input_expired"),
        (status(401), JobState.FAILED, "input_refused"),
        (status(200, PAGE), JobState.FAILED, "input_not_media"),
        (status(302, Location="http://10.0.0.1/"), JobState.FAILED, "address_refused"),
        (status(302, Location="/a"), JobState.FAILED, "input_redirects"),
    ],
)
async def test_by_way_of_the_server_what_does_not_work(
    passing: Site, web: Misbehaving, tmp_path: Path, answer: Any, state: JobState, code: str
) -> None:
    url = web.at("/a", answer)
    async with runner(passing, tmp_path / "o"), passing.client() as client:
        job = await ended(client, await by_url(client, f"{url}?t={SECRET}"))
    assert (job.state, job.attempt) == (state, 1)
    assert job.error is not None
    assert job.error.code == code
    assert SECRET not in job.error.message
    assert said_nothing(passing, tmp_path / "o")
