"""Queue: jobs claimed and finished per second through HTTP, against bare SQL.

Both sides work on the same rows of the same database, one after the other, so that whatever
else the machine does meanwhile hits both.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import psutil

from bench.report import Figure, listed, median, note
from bench.worker import Worker
from bench.world import POSTGRESQL, World

PART = "queue"
_JOBS = {1: 200, 8: 500}
"""Jobs a round for so many runners, 500 for more; a table of 1,000 rows has 800 waiting."""

_MOST_WAITING = 100_000


def queued_of(rows: int) -> int:
    """How many of a table's rows are jobs that wait."""
    return min(rows * 4 // 5, _MOST_WAITING)


@dataclass
class Cell:
    """One table size and number of runners, with what was measured."""

    world: World
    kind: str
    rows: int
    runners: int
    fleet: Worker
    bare: Worker
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self) -> None:
        """One round of each."""
        jobs = _JOBS.get(self.runners, 500)
        await self.world.rows.renew()
        before = self._server_seconds()
        done = await self.fleet.ask(do="drain", jobs=jobs)
        self.cpu.append((self._server_seconds() - before) / done["jobs"] * 1000)
        self.ours.append(done["jobs"] / done["seconds"])
        await self.world.rows.renew()
        done = await self.bare.ask(do="drain", jobs=jobs)
        self.theirs.append(jobs / done["seconds"])
        note(
            f"{self.name}: {self.ours[-1]:.0f}/s, bare SQL {self.theirs[-1]:.0f}/s"
            f", server CPU {self.cpu[-1]:.1f} ms a pair"
        )

    def _server_seconds(self) -> float:
        """The processor time that the server has used so far."""
        assert self.world.server.process is not None
        used = psutil.Process(self.world.server.process.pid).cpu_times()
        return float(used.user + used.system)

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.rows:,} rows, {self.runners} runners"

    @property
    def rate(self) -> float:
        return median(self.ours)

    @property
    def ratio(self) -> float:
        """Of rounds that ran right after one another."""
        return median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    def figure(self) -> Figure:
        return Figure(
            part=PART,
            name=f"claim+finish ÷ bare SQL: {self.name}",
            value=self.ratio,
            at_least=0.15 if self.kind == POSTGRESQL else None,
            detail=f"{listed(self.ours)} /s through HTTP, {listed(self.theirs)} /s bare; "
            f"server CPU {median(self.cpu):.1f} ms a pair",
        )


async def measure(
    worlds: dict[int, World], kind: str, runners: list[int], rounds: int
) -> list[Figure]:
    """All numbers of runners on the smallest table, and 8 of them on every larger one."""
    async with AsyncExitStack() as stack:
        cells = []
        for rows, world in worlds.items():
            for count in runners if rows == min(worlds) else [min(8, max(runners))]:
                fleet = await stack.enter_async_context(world.fleet(count))
                bare = await stack.enter_async_context(world.bare(count))
                cells.append(Cell(world, kind, rows, count, fleet, bare))
        for _ in range(rounds):
            for cell in cells:
                await cell.measure()
    return [*(cell.figure() for cell in cells), *_flatness(cells)]


def _flatness(cells: list[Cell]) -> list[Figure]:
    small, figures = cells[0].rows, []
    for cell in cells:
        same = [c for c in cells if (c.rows, c.runners) == (small, cell.runners)]
        if cell.rows == small or not same:
            continue
        ratio = median(a / b for a, b in zip(cell.ours, same[0].ours, strict=True))
        figures.append(
            Figure(
                part=PART,
                name=f"claim+finish at {cell.rows:,} ÷ at {small:,} rows: {cell.kind}",
                value=ratio,
                at_least=0.8,
                at_most=1.2,
                detail=f"{cell.rate:.0f} /s, {same[0].rate:.0f} /s; {cell.runners} runners",
            )
        )
    return figures
