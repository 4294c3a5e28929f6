"""The runner as a program: its signals, its orphans, what it says, what it needs."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runner.test_execution import beats_while, files, lives, until
from tests.support.faulty import TOKEN, FaultyServer, problem, serving
from tests.support.ports import free_port
from tests.support.runners import CHECKOUT, config, running, start

SECRET = "postgresql://rhapsode:secret@db/rhapsode"


@asynccontextmanager
async def program(
    server: FaultyServer, folder: Path, *options: str, **more: Any
) -> AsyncIterator[Process]:
    process = await start(server.url, server.token, folder, *options, **more)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def busy(server: FaultyServer, speech: bytes, prompt: str) -> str:
    """A job that the runner is in the middle of."""
    job = await server.add(speech, model="quick", prompt=prompt)
    await server.seen(lambda: beats_while(server, job, "transcribing"))
    return job


async def test_idle_runner_leaves_at_once(faulty: FaultyServer, tmp_path: Path) -> None:
    async with program(faulty, tmp_path) as process:
        await faulty.seen(lambda: faulty.registered)
        asked = time.monotonic()
        process.terminate()
        assert await process.wait() == 0
        assert time.monotonic() - asked < 1.5
    assert files(tmp_path / "scratch") == []


async def test_job_that_arrives_while_leaving_is_given_back(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with running(config(faulty.url, TOKEN, tmp_path)) as runner:
        await faulty.seen(lambda: faulty.claims)
        runner.leave()
        job = await faulty.add(speech, model="quick")
        assert (await faulty.final(job, 5)).kind == "give-back"


async def test_job_is_finished_before_leaving(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with program(faulty, tmp_path) as process:
        job = await busy(faulty, speech, "sleep 2")
        process.terminate()
        assert (await faulty.final(job)).kind == "result"
        assert await process.wait() == 0


async def test_job_is_given_back_when_it_takes_too_long(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with program(faulty, tmp_path, "--drain-seconds", "0.5") as process:
        job = await busy(faulty, speech, "stubborn 60")
        process.terminate()
        assert (await faulty.final(job)).kind == "give-back"
        assert await process.wait() == 0


async def test_second_signal_gives_back_at_once(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    async with program(faulty, tmp_path) as process:
        job = await busy(faulty, speech, "sleep 60")
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        assert (await faulty.final(job, 2)).kind == "give-back"
        assert await process.wait() == 0


@pytest.mark.parametrize("prompt", ["sleep 60", "native 60"])
async def test_killed_supervisor_leaves_no_child(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, prompt: str
) -> None:
    async with program(faulty, tmp_path) as process:
        await busy(faulty, speech, prompt)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 1
        process.kill()
        await until(lambda: not any(lives(child) for child in children), 3)
    left = files(tmp_path / "scratch")
    assert "media" in left
    async with program(faulty, tmp_path):
        await faulty.seen(lambda: len(faulty.registered) == 2)
        assert files(tmp_path / "scratch") == ["lock"]


async def test_runner_leaves_with_its_parent(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    parent = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:]); time.sleep(99)"
    from tests.support.runners import command, environment

    arguments = command(faulty.url, tmp_path, "--exit-with-parent")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", parent, *arguments),
        env={**os.environ, **environment(tmp_path), "RHAPSODE_RUNNER_TOKEN": TOKEN},
    )
    job = await busy(faulty, speech, "sleep 60")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    process.kill()
    await process.wait()
    assert (await faulty.final(job)).kind == "give-back"
    await until(lambda: not any(lives(child) for child in family), 5)


async def test_refused_token_ends_it_with_a_sentence(
    faulty: FaultyServer, tmp_path: Path
) -> None:
    faulty.faults["register"].append(problem(401, "unauthenticated"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rhapsode", "runner", "--server", faulty.url),
        *("--scratch-dir", str(tmp_path), "--log-level", "error"),
        env={**os.environ, "RHAPSODE_RUNNER_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert (process.returncode, said.decode()) == (4, "error: It is unauthenticated.\n")


async def test_token_that_is_refused_later_is_tried_again(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.runners import config, running

    monkeypatch.setattr("rhapsode.runner.supervisor.REFUSED_SECONDS", 0.1)
    async with running(config(faulty.url, TOKEN, tmp_path)):
        await faulty.final(await faulty.add(speech, model="quick"))
        faulty.faults["claim"].extend([problem(401, "unauthenticated") for _ in "123"])
        await faulty.add(speech, model="quick")
        job = await faulty.add(speech, model="quick")
        assert (await faulty.final(job)).kind == "result"


async def test_server_that_forgot_the_runner_is_told_again(
    faulty: FaultyServer, tmp_path: Path, speech: bytes
) -> None:
    faulty.faults["claim"].append(problem(404, "runner_not_found"))
    async with program(faulty, tmp_path):
        assert (await faulty.final(await faulty.add(speech, model="quick"))).kind == "result"
        assert len(faulty.registered) == 2


async def test_runner_outlives_its_server(tmp_path: Path, speech: bytes) -> None:
    """The server is away when the runner starts, and again in the middle of a job."""
    server = FaultyServer(free_port())
    async with program(server, tmp_path):
        await asyncio.sleep(1)
        async with serving(server):
            job = await busy(server, speech, "sleep 2")
        async with serving(server):
            assert (await server.final(job)).kind == "result"
            assert (
                await server.final(await server.add(speech, model="quick"))
            ).kind == "result"
            assert len(server.registered) == 1


async def test_download_goes_on_after_a_restart(tmp_path: Path, speech: bytes) -> None:
    server = FaultyServer(free_port())
    server.cut_media_at.append(100_000)
    async with program(server, tmp_path):
        async with serving(server):
            job = await server.add(speech, model="quick")
            await until(lambda: bool(server.ranges), 20)
        await asyncio.sleep(1)
        async with serving(server):
            assert (await server.final(job)).kind == "result"
    assert server.ranges == [None, "bytes=100000-"]


async def test_token_is_in_no_log_and_in_no_child(
    faulty: FaultyServer, tmp_path: Path, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RHAPSODE_DATABASE__URL", SECRET)
    async with program(faulty, tmp_path, "--log-level", "debug") as process:
        await busy(faulty, speech, "sleep 1")
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        assert [TOKEN in " ".join(member.cmdline()) for member in family] == [False, False]
        assert {TOKEN, SECRET} & set(family[1].environ().values()) == set()
        process.terminate()
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    assert TOKEN not in said
    events = [json.loads(line)["event"] for line in said.splitlines()]
    wanted = ["registered", "job claimed", "job progress", "job finished", "left"]
    assert [event for event in dict.fromkeys(events) if event in wanted] == wanted


def test_runner_needs_neither_database_nor_web_framework() -> None:
    program = textwrap.dedent("""
        import sys
        for name in ("sqlalchemy", "fastapi", "starlette", "uvicorn", "obstore", "alembic"):
            sys.modules[name] = None
        import rhapsode.cli.runner, rhapsode.runner.main, rhapsode.runner.supervisor
        import rhapsode.runner.child, rhapsode.runner.workshop, rhapsode.client
        heavy = {"torch", "ctranslate2", "faster_whisper", "onnxruntime", "huggingface_hub"}
        print(sorted(heavy & set(sys.modules)))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_supervisor_imports_no_engine() -> None:
    program = (
        "import sys, rhapsode.runner.main; "
        "print([n for n in sys.modules if n.split('.')[:2] == ['rhapsode', 'engines']], "
        "'numpy' in sys.modules, 'av' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[] False False\n"
