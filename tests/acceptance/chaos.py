"""Kills at random moments while work goes on, and counts what that came to."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.clips import SPEC, Clip, clip
from tests.acceptance.fleet import Fleet, Runner, engines_of, kill_all, tree_of
from tests.acceptance.program import Program
from tests.support.server import Server
from tests.support.speech import plain

_AHEAD = 12
"""So many jobs wait or run at a time: submitting, too, goes on until the end."""

_KINDS = {"server and all below": 3, "server alone": 3, "runner": 4, "engine": 3, "all": 1}


@dataclass
class Storm:
    """Submits clips and kills whatever serves them. `seed` repeats its decisions.

    `calm_seconds` is the mean time between two kills, of which there are `most_kills`. It
    must fit the machine: where everything is killed while it starts, no work is ever done.
    """

    fleet: Fleet
    folder: Path
    count: int
    seed: int
    calm_seconds: float
    most_kills: int

    kills: Counter[str] = field(default_factory=Counter, init=False)
    job_ids: dict[str, Clip] = field(default_factory=dict, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def server(self) -> Server:
        return self.fleet.servers[0]

    async def rage(self, program: Program) -> None:
        """Until every job has ended; then everything runs."""
        started = time.monotonic()
        killing = asyncio.create_task(self._kill_on())
        try:
            await self._work(program, killing)
        finally:
            killing.cancel()
            await asyncio.wait({killing})
        self._restore()
        self.seconds = time.monotonic() - started

    async def _work(self, program: Program, killing: "asyncio.Task[None]") -> None:
        room = asyncio.Semaphore(_AHEAD)
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                await room.acquire()
                if killing.done():
                    killing.result()  # what went wrong there ends the test
                group.create_task(self._one(program, number, room))

    async def _one(self, program: Program, number: int, room: asyncio.Semaphore) -> None:
        wanted = clip(self.folder, number)
        job = await program.submit(wanted.path, SPEC)
        self.job_ids[job["id"]] = wanted
        while job["state"] in {"queued", "running", "delivering"}:
            await asyncio.sleep(1.0)
            job = await program.json("GET", f"/api/jobs/{job['id']}")
        room.release()

    async def _kill_on(self) -> None:
        kinds, weights = list(_KINDS), list(_KINDS.values())
        while self.kills.total() < self.most_kills:
            await asyncio.sleep(self._random.expovariate(1 / self.calm_seconds))
            kind = self._random.choices(kinds, weights)[0]
            victim = self._random.choice(self.fleet.runners)
            if self._kill(kind, victim):
                self.kills[kind] += 1
            await asyncio.sleep(self._random.uniform(0, 0.7))
            self._restore()

    def _kill(self, kind: str, victim: Runner) -> bool:
        server = self.server.process
        runners = [runner.process for runner in self.fleet.runners if runner.process]
        assert server is not None
        assert victim.process is not None
        if kind == "engine":
            engines = engines_of(self._random.choice([server, victim.process]))
            kill_all(engines)
            return bool(engines)
        doomed = {
            "server and all below": tree_of(server),
            "server alone": tree_of(server)[:1],
            "runner": tree_of(victim.process)[:1],
            "all": [p for top in (server, *runners) for p in tree_of(top)],
        }[kind]
        kill_all(doomed)
        return bool(doomed)

    def _restore(self) -> None:
        """Start what is dead, without waiting for it to be up."""
        server = self.server
        if server.process is None or server.process.poll() is not None:
            server.launch()
        for runner in self.fleet.runners:
            if runner.process is None or runner.process.poll() is not None:
                runner.start()

    async def texts(self, program: Program) -> dict[str, tuple[str, str]]:
        """For each job whose text is not what was said: what was said, and its text."""
        wrong = {}
        for job_id, wanted in self.job_ids.items():
            found = plain(await program.text(job_id))
            if found != wanted.text:
                wrong[wanted.path.name] = (wanted.text, found)
        return wrong

    def report(self, database: str, program: Program, attempts: list[int]) -> str:
        """The storm in figures."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.kills.most_common())
        tries = ", ".join(f"{n}: {c}" for n, c in sorted(Counter(attempts).items()))
        return (
            f"{self.count} jobs on {database}, seed {self.seed}: {self.seconds:.0f} s, "
            f"{program.retries} requests repeated\n"
            f"  kills           {self.kills.total()}: {kinds}\n"
            f"  jobs by attempt {tries}"
        )
