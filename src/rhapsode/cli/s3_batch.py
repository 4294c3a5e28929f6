"""Objects in, outputs beside them: a batch that can be killed and started again.

Nothing of it is kept on this machine. What a run finds in the bucket and among the server's
jobs tells what is done, what is running and what is still to be asked for.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rhapsode.cli.exits import ExitCode, code_of
from rhapsode.cli.s3_plan import Item
from rhapsode.cli.s3_watch import Watch, patiently
from rhapsode.domain.errors import Conflict, DomainError, Invalid, NotFound
from rhapsode.domain.jobs import TERMINAL, Job, JobState

if TYPE_CHECKING:
    from rhapsode.cli.s3_store import Store
    from rhapsode.client import Client

_RENEWALS = 3
"""How often a job gets fresh links in one run: more would not help it either."""

_PAGE = 200


class Standing(StrEnum):
    """What became of one recording in this run."""

    WAITING = "not started"
    SKIPPED = "had outputs"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Outcome:
    """One recording of the batch, and how it stands."""

    item: Item
    standing: Standing = Standing.WAITING
    job: Job | None = None
    taken_up: bool = False
    """Whether an earlier run had asked for it."""
    error: DomainError | None = None

    @property
    def code(self) -> ExitCode:
        """The exit code, were this the only one."""
        return code_of(self.error) if self.error else ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of every recording; `spec` and `wishes` as the client takes them."""

    input_bucket: str
    output_bucket: str
    spec: Mapping[str, Any]
    wishes: Mapping[str, Any]
    again: bool = False


Report = Callable[[Outcome], None]


@dataclass(kw_only=True)
class Batch:
    """Brings recordings to their outputs, so many at a time.

    `known` maps the address of a recording to the newest job that wants the same of it.
    """

    client: "Client"
    store: "Store"
    order: Order
    watch: Watch
    report: Report
    known: dict[str, Job] = field(default_factory=dict)

    async def run(self, outcomes: Sequence[Outcome], in_flight: int) -> None:
        """All of them; what an earlier run started comes first."""
        await self._learn(outcomes)
        waiting = iter(sorted(outcomes, key=lambda it: self._active(it.item) is None))
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(self._work(waiting))

    async def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Which jobs there are already, and which outputs."""
        self.known = await self._jobs([outcome.item for outcome in outcomes])
        wanted = {key for outcome in outcomes for key in outcome.item.outputs.values()}
        present: set[str] = set()
        if not self.order.again:
            bucket = self.order.output_bucket
            present = await asyncio.to_thread(self.store.present, bucket, wanted)
        for outcome in outcomes:
            whole = present.issuperset(outcome.item.outputs.values())
            if whole and self._active(outcome.item) is None:
                outcome.standing = Standing.SKIPPED
                self.report(outcome)

    async def _jobs(self, items: Sequence[Item]) -> dict[str, Job]:
        by_address = {self._address(item): item for item in items}
        found: dict[str, Job] = {}
        async for job in jobs_below(self.client, _common(by_address)):
            address = job.source.url if job.source else ""
            item = by_address.get(address)
            if item is not None and self._is_for(job, item):
                found.setdefault(address, job)
        return found

    def _address(self, item: Item) -> str:
        return self.store.address(self.order.input_bucket, item.key)

    def _is_for(self, job: Job, item: Item) -> bool:
        """Whether a job wants the same of its recording, and puts it to the same places."""
        bucket = self.order.output_bucket
        same_places = all(
            job.outputs.get(name) == self.store.address(bucket, key)
            for name, key in item.outputs.items()
        )
        return same_places and all(
            getattr(job.spec, name) == value for name, value in self.order.spec.items()
        )

    def _active(self, item: Item) -> Job | None:
        job = self.known.get(self._address(item))
        return None if job is None or job.state in TERMINAL else job

    async def _work(self, waiting: Iterator[Outcome]) -> None:
        for outcome in waiting:
            if outcome.standing is Standing.SKIPPED:
                continue
            try:
                await self._one(outcome)
                outcome.standing = Standing.DONE
            except DomainError as error:
                outcome.error, outcome.standing = error, Standing.FAILED
            self.report(outcome)

    async def _one(self, outcome: Outcome) -> None:
        """From whatever there is to a job that has finished."""
        outcome.job = await self._job_for(outcome)
        outcome.standing = Standing.RUNNING
        self.report(outcome)
        for renewals in range(_RENEWALS + 1):
            outcome.job = await self.watch.end_of(outcome.job, self._reporter(outcome))
            if outcome.job.state is not JobState.EXPIRED or renewals == _RENEWALS:
                break
            outcome.job = await self._renewed(outcome.item, outcome.job)
        if outcome.job.state is not JobState.FINISHED:
            raise _unfinished(outcome.job)

    def _reporter(self, outcome: Outcome) -> Callable[[Job], None]:
        def heard(job: Job) -> None:
            outcome.job = job
            self.report(outcome)

        return heard

    async def _job_for(self, outcome: Outcome) -> Job:
        """The job that an earlier run asked for, set going again if need be, or a new one."""
        known = self.known.get(self._address(outcome.item))
        outcome.taken_up = known is not None
        if known is None or (self.order.again and known.state in TERMINAL):
            outcome.taken_up = False
            return await self._submitted(outcome.item, known)
        if known.state not in TERMINAL:
            return known
        try:
            return await self._renewed(outcome.item, known)
        except (Conflict, NotFound):  # its transcript was deleted since, or itself
            outcome.taken_up = False
            return await self._submitted(outcome.item, known)

    async def _renewed(self, item: Item, job: Job) -> Job:
        """Fresh links; what was transcribed is only delivered again."""
        url, outputs = self._links(item)
        try:
            return await patiently(lambda: self.client.retry(job.id, url=url, outputs=outputs))
        except Conflict:
            now = await patiently(lambda: self.client.job(job.id))
            if now.state in TERMINAL:
                raise
            return now  # it was set going before: the answer to that got lost

    def _links(self, item: Item) -> tuple[str, dict[str, str]]:
        order, store = self.order, self.store
        outputs = {
            name: store.put_link(order.output_bucket, key) for name, key in item.outputs.items()
        }
        return store.get_link(order.input_bucket, item.key), outputs

    async def _submitted(self, item: Item, after: Job | None) -> Job:
        """A new job. Two runs at once that both want it get the same one."""
        await asyncio.to_thread(self._ensure_there, item)
        url, outputs = self._links(item)
        try:
            return await self._asked(url, outputs, self._key(item, after))
        except Invalid as error:
            if error.code != "idempotency_key_reused":
                raise
        # The links of another run differ from ours, and so did its request.
        found = (await self._jobs([item])).get(self._address(item))
        if found is not None and (after is None or found.id != after.id):
            return found
        return await self._asked(url, outputs, str(uuid4()))  # that one was deleted since

    async def _asked(self, url: str, outputs: Mapping[str, str], key: str) -> Job:
        from rhapsode.client import Wishes

        wishes = Wishes(**self.order.wishes, outputs=outputs, key=key)
        return await patiently(lambda: self.client.submit(url, self.order.spec, wishes))

    def _ensure_there(self, item: Item) -> None:
        bucket = self.order.input_bucket
        if not self.store.exists(bucket, item.key):
            raise NotFound("no_object", f"There is no '{item.key}' in the bucket '{bucket}'.")

    def _key(self, item: Item, after: Job | None) -> str:
        """The same for the same wish, as long as no later job answers it."""
        wish = [
            self._address(item),
            self.order.output_bucket,
            sorted(item.outputs.items()),
            sorted(self.order.spec.items()),
            str(after.id) if after else "",
        ]
        return "s3-" + hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def _unfinished(job: Job) -> DomainError:
    hint = f"The job is {job.id}."
    if job.error:
        return Invalid(job.error.code, job.error.message, hint=hint)
    return Invalid("job_ended", f"The job was {job.state}.", hint=hint)


def _common(addresses: Iterable[str]) -> str:
    """What all of these begin with."""
    ordered = sorted(addresses)
    first, last = ordered[0], ordered[-1]
    same = 0
    while same < len(first) and first[same : same + 1] == last[same : same + 1]:
        same += 1
    return first[:same]


async def jobs_below(client: "Client", address: str) -> AsyncIterator[Job]:
    """Our jobs whose recording's URL begins like this, the newest first."""
    cursor: str | None = None
    while True:
        page = await client.job_page(source=address, cursor=cursor, limit=_PAGE)
        for job in page.items:
            yield job
        cursor = page.next
        if cursor is None:
            return
