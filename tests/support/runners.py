"""Runners for tests: in this process, or as the real program."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rhapsode.client import Http
from rhapsode.runner.config import ChildSettings, RunnerConfig
from rhapsode.runner.supervisor import Supervisor
from tests.support import engines

CHECKOUT = Path(__file__).resolve().parents[2]


def environment(folder: Path) -> dict[str, str]:
    """The variables with which a process finds the puppet engine among its plug-ins."""
    plugin = folder / "plugin"
    if not plugin.exists():
        engines.install(plugin)
    return {"PYTHONPATH": os.pathsep.join([str(plugin), str(CHECKOUT)])}


def config(url: str, token: str, folder: Path, **changes: Any) -> RunnerConfig:
    """A runner's configuration that keeps everything below `folder`."""
    child: dict[str, Any] = {"models_folder": folder / "models", "device": "cpu", "threads": 2}
    child |= changes.pop("child", {})
    given: dict[str, Any] = {"name": "test", "scratch": folder / "scratch"}
    given |= {"drain_seconds": 5.0, "progress_seconds": 0.1, "claim_seconds": 5.0, **changes}
    return RunnerConfig(server=url, token=token, child=ChildSettings(**child), **given)


@asynccontextmanager
async def running(settings: RunnerConfig) -> AsyncIterator[Supervisor]:
    """A supervisor at work in this process; it leaves at the end of the block."""
    async with Http(settings.server, settings.token) as http:
        supervisor = Supervisor(settings, http)
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
        finally:
            supervisor.leave(at_once=True)
            await asyncio.wait_for(task, 10)


def command(url: str, folder: Path, *options: str) -> list[str]:
    """The command line of the real program."""
    program = "import typer; from rhapsode.cli.runner import runner; typer.run(runner)"
    places = ("--models-dir", str(folder / "models"), "--scratch-dir", str(folder / "scratch"))
    return [sys.executable, "-c", program, "--server", url, *places, *options]


async def start(
    url: str, token: str, folder: Path, *options: str, **more: Any
) -> asyncio.subprocess.Process:
    """The real program, started; its log comes by standard error."""
    variables = {**os.environ, **environment(folder), "RHAPSODE_RUNNER_TOKEN": token}
    return await asyncio.create_subprocess_exec(
        *command(url, folder, *options),
        env=variables,
        stderr=asyncio.subprocess.PIPE,
        **more,
    )
