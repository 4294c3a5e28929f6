"""Speakers told apart by the real runner, and a voice known again: from end to end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhapsode.client.voices import Voices
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Job, JobState
from tests.support import conversations, recordings
from tests.support.site import Site, ended, runner, running_site
from tests.support.speech import model_path, models_folder, sample


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    model_path("tiny.en")
    conversations.diariser()
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


def _finished(job: Job) -> Job:
    assert job.state is JobState.FINISHED, job.error
    return job


def _cli(site: Site, *arguments: str) -> str:
    environment = {
        **os.environ,
        "RHAPSODE_SERVER": site.server.url,
        "RHAPSODE_API_KEY": site.key,
    }
    command = [sys.executable, "-m", "rhapsode", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
async def test_a_voice_is_enrolled_and_named_in_a_call(site: Site, tmp_path: Path) -> None:
    options = ("--models-dir", str(models_folder()), "--device", "cpu", "--threads", "2")
    spec = {"model": "tiny.en", "layout": "diarisation"}
    async with runner(site, tmp_path / "a", *options), site.client() as client:
        async with asyncio.timeout(30):
            while "diarisation" not in (await client.options())["layouts"]:
                await asyncio.sleep(0.1)

        alone = recordings.write_wav(tmp_path / "anna.wav", [conversations.telephone(1)])
        media = await client.upload(alone)
        one = {**spec, "speakers": {"exact": 1}}
        job = _finished(await ended(client, await client.submit(media.id, one)))
        _cli(site, "voices", "add", "Anna", str(job.id))
        assert [item["name"] for item in await Voices(client.http).all()] == ["Anna"]

        media = await client.upload(sample("two-speakers"))
        call = _finished(await ended(client, await client.submit(media.id, spec)))
        text = await client.transcript(call.id, Format.TXT)
        names = {line.partition(": ")[0] for line in text.split("\n\n")}
        assert len(names) == 2
        (other,) = names - {"Anna"}

        _cli(site, "voices", "speakers", str(call.id), f"{other}=Bert")
        vtt = await client.transcript(call.id, Format.VTT)
        assert "<v Anna>" in vtt
        assert "<v Bert>" in vtt
        assert other not in vtt
