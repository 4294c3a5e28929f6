"""A real server and real runners, each a process, and what tests wait for there."""

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.client import Client
from rhapsode.domain.jobs import Job
from tests.support.runners import start
from tests.support.server import EMAIL, Server, running_server, settings_for

QUEUE = {"heartbeat_seconds": 0.5, "lease_seconds": 15, "sweep_seconds": 1}


@dataclass
class Site:
    """A server, and the secrets for it."""

    server: Server
    key: str
    token: str

    def client(self) -> Client:
        return Client(self.server.url, self.key)

    def stored(self) -> list[str]:
        """What lies in the object store."""
        folder = self.server.folder / "data" / "objects"
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@contextmanager
def running_site(folder: Path, **sections: dict[str, Any]) -> Iterator[Site]:
    """A server that beats and sweeps faster than people need."""
    sections = {**sections, "queue": {**QUEUE, **sections.get("queue", {})}}
    with running_server(settings_for(folder, **sections), folder) as server:
        key = server.secret("--api-key", "tests", "--user", EMAIL)
        yield Site(server, key, server.secret("--runner", "tests"))


@asynccontextmanager
async def runner(site: Site, folder: Path, *options: str) -> AsyncIterator[Process]:
    """The program at work in a folder of its own; its log is `runner.log` there."""
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


async def offered(client: Client, engine: str = "puppet") -> None:
    """Wait until a runner has told the server of an engine."""
    async with asyncio.timeout(20):
        while not any(e["name"] == engine for e in (await client.options())["engines"]):
            await asyncio.sleep(0.1)


async def ended(client: Client, job: Job) -> Job:
    """The job once it has ended."""
    async with asyncio.timeout(60):
        return [state async for state in client.follow(job.id)][-1]


async def reached(client: Client, job: Job, stage: str) -> Job:
    """The job once its progress is at a stage that begins so."""
    async with asyncio.timeout(20):
        async with contextlib.aclosing(client.follow(job.id)) as states:
            async for state in states:
                if state.progress is not None and state.progress.stage.startswith(stage):
                    return state
    raise AssertionError(f"the job ended before '{stage}'")
