"""One job in a runner, with an engine that misbehaves in every way known."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.engines import BEGUN, NAME
from tests.support.faulty import TOKEN, FaultyServer, problem
from tests.support.runners import config, running

CRASHED = "The engine's process crashed: it was ended by "


def texts(result: Any) -> list[str]:
    return [segment["text"] for segment in result.body["transcript"]["segments"]]


async def test_result_reaches_the_server(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)) as runner:
        job = await faulty.add(speech, model="quick", prompt="say hello")
        result = await faulty.final(job)
        assert (result.kind, texts(result)) == (
            "result",
            [f"quick {runner.child_pid} hello"],
        )
        assert result.body["transcript"]["language"] == "en"


async def test_models_stay_loaded(faulty: FaultyServer, tmp_path: Path, speech: bytes) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)) as runner:
        first = await faulty.add(speech, model="slow-to-load")
        await faulty.final(first)
        pid = runner.child_pid
        started = time.monotonic()
        second = await faulty.add(speech, model="slow-to-load")
        assert texts(await faulty.final(second)) == [f"slow-to-load {pid}"]
        assert time.monotonic() - started < 1.5  # loading it takes 2 s
        third = await faulty.add(speech, model="other")
        assert texts(await faulty.final(third)) == [f"other {pid}"]
        fourth = await faulty.add(speech, model="slow-to-load")
        started = time.monotonic()
        assert texts(await faulty.final(fourth)) == [f"slow-to-load {pid}"]
        assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("prompt", "code", "message"),
    [
        (
            "die SIGSEGV",
            "engine_crashed",
            f"{CRASHED}SIGSEGV.",
        ),
        (
            "die SIGKILL",
            "engine_crashed",
            f"{CRASHED}SIGKILL, as the system does when memory runs out.",
        ),
        ("null", "engine_crashed", f"{CRASHED}SIGSEGV."),
        ("devour", "engine_crashed", f"{CRASHED}SIGABRT."),
        (
            "exit 3",
            "engine_crashed",
            "The engine's process crashed: it ended with exit code 3.",
        ),
        ("raise it", "engine_error", "The engine failed: ValueError: two lines of it"),
        ("allocate", "runner_out_of_memory", "The runner has too little memory for it."),
        ("disk", "runner_storage_full", "The runner's disk is full."),
    ],
)
async def test_broken_engine_costs_one_attempt_and_not_the_runner(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, prompt: str, code: str, message: str
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(speech, model="quick", prompt=prompt))
        assert (failure.kind, failure.body) == (
            "failure",
            {"code": code, "message": message, "permanent": False},
        )
        result = await faulty.final(await faulty.add(speech, model="quick"))
        assert result.kind == "result"


@pytest.mark.parametrize(
    ("model", "code"), [("crash-on-load", "engine_crashed"), ("bad-model", "model_unloadable")]
)
async def test_model_that_does_not_load(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, model: str, code: str
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(speech, model=model))
        assert (failure.body["code"], failure.body["permanent"]) == (code, False)
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"


@pytest.mark.parametrize("prompt", ["stubborn 60", "native 60"])
async def test_hung_engine_is_killed(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, prompt: str
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path, hang_seconds=1.5)):
        failure = await faulty.final(await faulty.add(speech, model="quick", prompt=prompt))
        assert failure.body["code"] == "engine_hung"
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"


async def test_computing_is_not_hanging(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path, hang_seconds=1.0)):
        result = await faulty.final(await faulty.add(speech, model="quick", prompt="spin 3"))
        assert result.kind == "result"


@pytest.mark.parametrize("prompt", ["sleep 60", "stubborn 60", "native 60"])
async def test_cancel_takes_effect_within_two_seconds(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, prompt: str
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)) as runner:
        job = await faulty.add(speech, model="quick", prompt=prompt)
        await until((tmp_path / "models" / NAME / BEGUN).exists, 20)
        child, folder = psutil.Process(runner.child_pid), tmp_path / "scratch"
        polite = prompt == "sleep 60"
        faulty.canceled.add(job)
        canceled = time.monotonic()
        await until(lambda: files(folder) == ["lock"] if polite else not lives(child))
        assert time.monotonic() - canceled < faulty.heartbeat_seconds + 2
        result = await faulty.final(await faulty.add(speech, model="quick"))
        assert result.kind == "result"
        assert lives(child) == polite
        kinds = {report.kind for report in faulty.reports if report.job == job}
        assert kinds == {"heartbeat"}


def beats_while(server: FaultyServer, job: str, stage: str) -> list[Any]:
    return [
        report
        for report in server.reports
        if (report.job, report.kind) == (job, "heartbeat")
        and (report.body["progress"] or {}).get("stage") == stage
    ]


async def test_lost_lease_drops_the_work_and_the_files(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        job = await faulty.add(speech, model="quick", prompt="sleep 60")
        await faulty.seen(lambda: beats_while(faulty, job, "transcribing"))
        faulty.lost.add(job)
        result = await faulty.final(await faulty.add(speech, model="quick"))
        assert result.kind == "result"
        await until(lambda: files(tmp_path / "scratch") == ["lock"])
    assert list((tmp_path / "scratch").iterdir()) == []


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_chatter_does_not_disturb(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        job = await faulty.add(speech, model="quick", prompt="print")
        assert (await faulty.final(job)).kind == "result"


async def test_heartbeats_go_on_while_native_code_holds_the_child(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        job = await faulty.add(speech, model="quick", prompt="native 3")
        await faulty.final(job)
        beats = [r for r in faulty.reports if (r.job, r.kind) == (job, "heartbeat")]
        assert len(beats) >= 8


async def test_fault_in_the_heartbeat_ends_the_job(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    async with running(config(faulty.url, TOKEN, tmp_path)):
        with monkeypatch.context() as patch:
            patch.setattr("rhapsode.client.Lease.heartbeat", broken)
            failure = await faulty.final(
                await faulty.add(speech, model="quick", prompt="sleep 60")
            )
        assert (failure.kind, failure.body["code"], failure.body["permanent"]) == (
            "failure",
            "runner_fault",
            False,
        )
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"


@pytest.mark.parametrize(
    ("media", "code"), [(b"", "media_empty"), (b"not a recording" * 999, "media_unreadable")]
)
async def test_bad_media_fails_for_good(
    faulty: FaultyServer, tmp_path: Path, media: bytes, code: str
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(media, model="quick"))
        assert (failure.body["code"], failure.body["permanent"]) == (code, True)


async def test_wrong_digest_may_be_tried_again(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(speech, digest="0" * 64, model="quick"))
        assert failure.body["code"] == "media_digest_mismatch"
        assert failure.body["permanent"] is False


async def test_download_goes_on_where_it_broke(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    faulty.cut_media_at.extend([100_000, 50_000])
    async with running(config(faulty.url, TOKEN, tmp_path)):
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"
        assert faulty.ranges == [None, "bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize(("status", "permanent"), [(413, True), (422, True), (500, False)])
async def test_refused_result_becomes_a_failure(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, status: int, permanent: bool
) -> None:
    refusals = [problem(status, "result_too_large" if status == 413 else "no") for _ in "123"]
    faulty.faults["result"].extend(refusals)
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(speech, model="quick"))
        assert (failure.body["code"], failure.body["permanent"]) == (
            "result_refused",
            permanent,
        )
        faulty.faults["result"].clear()
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"


async def test_result_is_sent_until_it_arrives(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    faulty.faults["result"].extend([problem(503, "unready"), problem(502, "bad_gateway")])
    async with running(config(faulty.url, TOKEN, tmp_path)):
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"


async def test_no_room_on_the_disk(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhapsode.runner.recording.free_bytes", lambda _: 1_000)
    async with running(config(faulty.url, TOKEN, tmp_path)):
        failure = await faulty.final(await faulty.add(speech, model="quick"))
        assert failure.body["code"] == "runner_storage_full"
        assert "no room" in failure.body["message"]


async def test_preloaded_model_is_there_for_the_first_job(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    names = ("no-such-model", "puppet/slow-to-load")
    async with running(config(faulty.url, TOKEN, tmp_path, preload=names)):
        await faulty.seen(lambda: faulty.claims)
        started = time.monotonic()
        job = await faulty.add(speech, model="slow-to-load")
        assert (await faulty.final(job)).kind == "result"
        assert time.monotonic() - started < 1.5  # loading it takes 2 s


async def test_scratch_that_is_gone(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)):
        await faulty.seen(lambda: faulty.claims)
        shutil.rmtree(tmp_path / "scratch")
        failure = await faulty.final(await faulty.add(speech, model="quick"))
        assert failure.body["code"] == "runner_storage"
        assert failure.body["permanent"] is False


async def test_child_dead_between_jobs_is_replaced(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)) as runner:
        await faulty.final(await faulty.add(speech, model="quick"))
        child = psutil.Process(runner.child_pid)
        child.kill()
        child.wait(5)
        job = await faulty.add(speech, model="quick")
        assert (await faulty.final(job)).kind in {"result", "failure"}
