"""The runner beside the server, whatever becomes of the database or of itself."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from rhapsode.bootstrap import embedded
from rhapsode.bootstrap.embedded import EmbeddedRunner
from rhapsode.domain.errors import Unavailable
from rhapsode.services.context import Context
from tests.support.server import settings_for

SECRET = "postgresql://rhapsode:secret@db/rhapsode"


class Runner(EmbeddedRunner):
    """In place of the real program, one that sleeps, with a child that does too."""

    def _command(self, name: str) -> list[str]:
        child = "[sys.executable, '-c', 'import time; time.sleep(60)']"
        program = f"import subprocess, sys; subprocess.run({child})"
        return [sys.executable, "-c", program]


def a_runner(folder: Path, monkeypatch: pytest.MonkeyPatch, failures: int = 0) -> Runner:
    """One whose database does not answer so many times."""
    left = iter(range(failures))

    async def replace_token(_context: object, _name: str) -> Any:
        if next(left, None) is not None:
            raise Unavailable("database_unavailable", "The database does not answer.")
        return SimpleNamespace(secret="rhr_fresh")

    monkeypatch.setattr(embedded.runners, "replace_token", replace_token)
    monkeypatch.setattr(embedded, "_RESTART_SECONDS", (0.01,))
    (folder / "data").mkdir()
    return Runner(settings_for(folder), cast("Context", None), 8080)


async def begun(count: int) -> list[psutil.Process]:
    """The sleepers below this process, once there are so many; test servers do not count."""
    async with asyncio.timeout(20):
        while len(found := _sleepers()) < count:
            await asyncio.sleep(0.02)
    return found


def _sleepers() -> list[psutil.Process]:
    return [
        process for process in psutil.Process().children(recursive=True) if _sleeps(process)
    ]


def _sleeps(process: psutil.Process) -> bool:
    try:
        return "time.sleep(60)" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


async def test_it_outlives_a_database_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = a_runner(tmp_path, monkeypatch, failures=3)
    running = asyncio.create_task(runner.run())
    first = await begun(2)
    runner.kill()
    await asyncio.to_thread(psutil.wait_procs, first, 5)
    assert {item.pid for item in await begun(2)} & {item.pid for item in first} == set()
    runner.kill()
    await runner.stop()
    await asyncio.wait_for(running, 5)


async def test_it_gets_no_secret_of_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RHAPSODE_DATABASE__URL", SECRET)
    monkeypatch.setenv("RHAPSODE_RUNNER_HANG_SECONDS", "7")
    runner = a_runner(tmp_path, monkeypatch)
    running = asyncio.create_task(runner.run())
    seen = (await begun(2))[0].environ()
    runner.kill()
    await runner.stop()
    running.cancel()
    ours = {name: text for name, text in seen.items() if name.startswith("RHAPSODE_")}
    assert ours == {"RHAPSODE_RUNNER_TOKEN": "rhr_fresh", "RHAPSODE_RUNNER_HANG_SECONDS": "7"}


def test_it_speaks_to_the_networks_that_the_server_may_speak_to(tmp_path: Path) -> None:
    networks = ["10.0.0.0/8", "fd00::/8"]
    settings = settings_for(tmp_path, outbound={"allow_networks": networks})

    command = EmbeddedRunner(settings, cast("Context", None), 8080)._command("a")

    places = [i for i, word in enumerate(command) if word == "--allow-network"]
    assert [command[i + 1] for i in places] == networks


async def test_killed_is_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = a_runner(tmp_path, monkeypatch)
    running = asyncio.create_task(runner.run())
    family = await begun(2)
    stopping = asyncio.create_task(runner.stop())
    runner.kill()
    await asyncio.wait_for(stopping, 5)
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 5)
    assert alive == []
    await asyncio.wait_for(running, 5)
