"""Cancels, restarts and farewells in the middle of a job."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.formats import Format
from rhapsode.settings import Settings
from tests.acceptance import damage
from tests.acceptance.books import media_states
from tests.acceptance.clips import SPEC, clip
from tests.acceptance.conftest import Installation, install
from tests.acceptance.fleet import Fleet, Runner, fleet_settings, gone, scratch_files
from tests.acceptance.program import Document, Program, program
from tests.support import recordings
from tests.support.speech import models_folder, plain

NORMAL_PULSE = {"lease_seconds": 60, "heartbeat_seconds": 15, "sweep_seconds": 10}
"""The defaults, with which nothing may depend on a heartbeat that comes soon."""


def long_speech(folder: Path, minutes: float) -> Path:
    """A speech over and over again."""
    times = round(minutes * 60 / 11)
    return recordings.write_wav(folder / "long.wav", [np.tile(damage.speech(), times)])


@asynccontextmanager
async def installed(
    fleet: Fleet, settings: Settings, *runners: str
) -> AsyncIterator[tuple[Installation, Program]]:
    """A server with external runners, and a program that uses it."""
    made = await asyncio.to_thread(install, fleet, settings)
    for name in runners:
        token = await asyncio.to_thread(made.runner_token, name)
        fleet.runner(name, made.server.url, token)
    async with program(made.key, made.server.url) as driver:
        yield made, driver


def bare(folder: Path, **queue: float) -> Settings:
    """A server without a runner of its own."""
    return fleet_settings(folder, runner={"enabled": False}, queue=queue)


async def in_the_middle(driver: Program, path: Path, **spec: object) -> Document:
    """A job of a long recording, once some of it is transcribed."""
    job = await driver.submit(path, {**SPEC, **spec})
    async with asyncio.timeout(90):
        while (job["progress"] or {}).get("stage") != "transcribing" or not job["progress"][
            "fraction"
        ]:
            await asyncio.sleep(0.1)
            job = await driver.json("GET", f"/api/jobs/{job['id']}")
    assert job["state"] == "running"
    return job


def all_of_it(text: str, path: Path) -> bool:
    """Whether the speech, in which the country is named twice, is there from end to end.

    Give or take a fifth: Whisper draws lots where text repeats itself as much as this does.
    """
    said = recordings.read_wav(path)[0].size / recordings.RATE / 11
    return abs(plain(text).split().count("country") - 2 * said) <= 2 * said / 5


async def test_cancel_frees_the_runner_within_two_seconds(fleet: Fleet, tmp_path: Path) -> None:
    async with installed(fleet, bare(tmp_path, **NORMAL_PULSE), "one") as (_, driver):
        job = await in_the_middle(driver, long_speech(tmp_path, 8))
        after = await driver.submit(clip(tmp_path, 1).path, SPEC)
        await asyncio.sleep(0.6)  # not at the moment of a heartbeat
        asked = time.time()
        canceled = await driver.json("POST", f"/api/jobs/{job['id']}/cancel")
        assert canceled["state"] == "canceled"
        after = await driver.ended(after["id"])
        started = datetime.fromisoformat(after["started_at"]).timestamp()
        assert (after["state"], after["attempt"]) == ("finished", 1)
        assert started - asked < 2.0
        job = await driver.json("GET", f"/api/jobs/{job['id']}")
        assert (job["state"], job["error"]) == ("canceled", None)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_runner_finishes_its_job_over_a_restart_of_the_server(
    fleet: Fleet, tmp_path: Path, end: str
) -> None:
    async with installed(fleet, bare(tmp_path, **NORMAL_PULSE), "one") as (made, driver):
        path = long_speech(tmp_path, 2)
        job = await in_the_middle(driver, path)
        assert await asyncio.to_thread(getattr(made.server, end)) in {0, None}
        await asyncio.to_thread(made.server.start)
        job = await driver.ended(job["id"], 150)
        assert (job["state"], job["attempt"]) == ("finished", 1)
        assert all_of_it(await driver.text(job["id"]), path)


async def test_job_outlives_a_server_that_is_away_for_longer_than_its_lease(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with installed(fleet, bare(tmp_path), "one") as (made, driver):
        job = await in_the_middle(driver, long_speech(tmp_path, 10))
        made.server.kill()
        await asyncio.sleep(5)  # the lease is 3 s
        await asyncio.to_thread(made.server.start)
        job = await in_the_middle(driver, tmp_path / "long.wav")
        assert job["attempt"] == 1
        await driver.json("POST", f"/api/jobs/{job['id']}/cancel")


async def test_killed_runner_s_job_is_done_by_another(fleet: Fleet, tmp_path: Path) -> None:
    async with installed(fleet, bare(tmp_path), "one") as (made, driver):
        path = long_speech(tmp_path, 1)
        job = await in_the_middle(driver, path)
        (one,) = fleet.runners
        one.signal(signal.SIGKILL)
        token = await asyncio.to_thread(made.runner_token, "two")
        fleet.runner("two", made.server.url, token)
        job = await driver.ended(job["id"], 120)
        assert (job["state"], job["attempt"], job["runner_name"]) == ("finished", 2, "two")
        assert all_of_it(await driver.text(job["id"]), path)


async def test_runner_that_is_told_to_stop_finishes_first(fleet: Fleet, tmp_path: Path) -> None:
    async with installed(fleet, bare(tmp_path)) as (made, driver):
        token = await asyncio.to_thread(made.runner_token, "one")
        one = fleet.runner("one", made.server.url, token, "--drain-seconds", "100")
        job = await in_the_middle(driver, long_speech(tmp_path, 1))
        assert await asyncio.to_thread(one.stop) == 0
        job = await driver.json("GET", f"/api/jobs/{job['id']}")
        assert (job["state"], job["attempt"]) == ("finished", 1)
        assert scratch_files(one.scratch) == []


@pytest.mark.parametrize(
    ("drain_seconds", "ends"), [(60, ("finished", 1)), (0.2, ("queued", 2))]
)
async def test_server_that_is_told_to_stop_takes_care_of_its_runner_s_job(
    fleet: Fleet, tmp_path: Path, drain_seconds: float, ends: tuple[str, int]
) -> None:
    settings = fleet_settings(tmp_path, runner={"drain_seconds": drain_seconds})
    async with installed(fleet, settings) as (made, driver):
        job = await in_the_middle(driver, long_speech(tmp_path, 1))
        assert await asyncio.to_thread(made.server.stop) == 0
        await asyncio.to_thread(gone, fleet, 2)
        assert scratch_files(settings.data / "runner") == []
        without = settings.model_copy(update={"runner": bare(tmp_path).runner})
        made.server.settings = without
        (made.server.folder / "rhapsode.yml").unlink()
        await asyncio.to_thread(made.server.start)
        job = await driver.json("GET", f"/api/jobs/{job['id']}")
        assert (job["state"], job["attempt"]) == ends
        await asyncio.to_thread(made.server.stop)


async def test_server_that_is_told_to_stop_ends_streams_of_events(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with (
        installed(fleet, bare(tmp_path)) as (made, driver),
        driver.client.stream("GET", f"{made.server.url}/api/events") as events,
    ):
        asked = time.monotonic()
        assert await asyncio.to_thread(made.server.stop) == 0
        assert time.monotonic() - asked < 5
        await events.aread()


async def test_killed_server_s_upload_is_never_listed(fleet: Fleet, tmp_path: Path) -> None:
    settings = bare(tmp_path)
    async with installed(fleet, settings) as (made, driver):
        with socket.create_connection(("127.0.0.1", made.server.port)) as connection:
            head = [
                "POST /api/media?name=half.wav HTTP/1.1",
                "Host: x",
                "Content-Length: 9999999",
            ]
            head += [f"Authorization: Bearer {made.key}", "", ""]
            connection.sendall("\r\n".join(head).encode() + b"\1" * 3_000_000)
            await _until_states(settings, {"receiving"})
            made.server.kill()
        await asyncio.to_thread(made.server.start)
        assert (await driver.json("GET", "/api/media"))["items"] == []
        await _until_states(settings, set())
        assert [path for path in (settings.data / "objects").rglob("*") if path.is_file()] == []


async def _until_states(settings: Settings, wanted: set[str]) -> None:
    async with asyncio.timeout(20):
        while await media_states(settings) != wanted:
            await asyncio.sleep(0.1)


async def test_runner_on_another_machine(fleet: Fleet, tmp_path: Path) -> None:
    """All that it has is the address and a token; it fetches the model itself."""
    async with installed(fleet, bare(tmp_path, **NORMAL_PULSE)) as (made, driver):
        token = await asyncio.to_thread(made.runner_token, "far")
        far = Runner("far", made.server.url, token, tmp_path)
        models = far.scratch.parent / "models"
        options = ("--models-dir", str(models), "--mirror-dir", str(models_folder()))
        fleet.runner("far", made.server.url, token, *options)
        spoken = clip(tmp_path, 1)
        job = await driver.ended((await driver.submit(spoken.path, SPEC))["id"])
        assert (job["state"], job["runner_name"]) == ("finished", "far")
        assert plain(await driver.text(job["id"])) == spoken.text
        assert [path.name for path in (models / "faster-whisper").iterdir()] == ["tiny.en"]
        (seen,) = (await driver.json("GET", "/api/runners"))["items"]
        assert (seen["name"], seen["job_id"]) == ("far", None)


async def test_every_format_of_a_real_transcript(fleet: Fleet, tmp_path: Path) -> None:
    async with installed(fleet, fleet_settings(tmp_path)) as (_, driver):
        job = await driver.ended((await driver.submit(clip(tmp_path, 1).path, SPEC))["id"])
        for kind in Format:
            answer = await driver.request(
                "GET",
                f"/api/jobs/{job['id']}/transcript",
                params={"format": kind.value, "download": "1"},
            )
            assert answer.is_success
            assert "country" in answer.text
            name = f"clip-001.{kind.value}"
            assert f'filename="{name}"' in answer.headers["content-disposition"]
