"""The sender by itself: what it does about outages, long sends, faults, and other senders."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from rhapsode.domain.deliveries import Backoff, Delivery, DeliveryKind, DeliveryState
from rhapsode.domain.errors import Denied, Invalid, Unavailable
from rhapsode.domain.jobs import JobState
from rhapsode.services import sending, settling
from rhapsode.services.channels import Outcome, delivered
from rhapsode.services.context import Context
from rhapsode.services.sending import Pace, Sender
from tests.support.delivering import ended, sent, sent_until, transcribed
from tests.support.server import App

URLS = {"txt": "https://example.org/txt"}
PACE = Pace(backoff=Backoff(first=0.05, most=0.1, attempts=3), recheck_seconds=0.2)


@dataclass
class Channel:
    """Does what it is told at each attempt, and delivers after that."""

    steps: list[Callable[[], Any]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: delivered(200, 0.01))
    seconds: float = 0.0
    tried: list[Delivery] = field(default_factory=list)

    async def send(self, _context: Context, delivery: Delivery) -> Outcome:
        self.tried.append(delivery)
        await asyncio.sleep(self.seconds)
        if self.steps:
            self.steps.pop(0)()
        return self.outcome


@asynccontextmanager
async def senders(
    context: Context, channel: Channel, pace: Pace = PACE, count: int = 1
) -> AsyncIterator[None]:
    """Senders at work; at the end they stop as they do with the application."""
    made = [Sender(context, {DeliveryKind.ARTIFACT: channel.send}, pace) for _ in range(count)]
    tasks = [asyncio.create_task(sender.run()) for sender in made]
    try:
        yield
    finally:
        context.closing.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*tasks)


@pytest.fixture
async def context(app: App) -> Context:
    """The application's parts once its own sender has stopped."""
    app.context.closing.set()
    async with asyncio.timeout(10):
        while any("Sender.run" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    app.context.closing.clear()
    return app.context


def fails(error: Exception) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


async def job(context: Context, app: App) -> Any:
    return await transcribed(context, app.admin, URLS)


async def test_a_database_that_is_down_is_waited_for(
    app: App, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, down = sending.table.claim_due, [True, True]

    async def claim_due(*args: Any, **options: Any) -> list[Delivery]:
        if down:
            down.pop()
            raise Unavailable("database_unavailable", "The database does not answer.")
        return await real(*args, **options)

    monkeypatch.setattr(sending, "_OUTAGE_SECONDS", 0.1)
    monkeypatch.setattr(sending.table, "claim_due", claim_due)
    job_id, channel = await job(context, app), Channel()
    async with senders(context, channel):
        assert (await ended(context, job_id)).state is JobState.FINISHED
    assert (len(channel.tried), down) == (1, [])


async def test_what_cannot_be_noted_at_once_is_noted_later(
    app: App, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, down = settling.settle, [True, True]

    async def settle(*args: Any) -> bool:
        if down:
            down.pop()
            raise Unavailable("database_unavailable", "The database does not answer.")
        return await real(*args)

    monkeypatch.setattr(settling, "settle", settle)
    job_id, channel = await job(context, app), Channel()
    async with senders(context, channel):
        assert (await ended(context, job_id)).state is JobState.FINISHED
    assert len(channel.tried) == 1


async def test_a_long_send_is_nobody_elses(app: App, context: Context) -> None:
    pace = Pace(backoff=PACE.backoff, claim_seconds=0.6, recheck_seconds=0.1)
    job_id, channel = await job(context, app), Channel(seconds=2.0)
    async with senders(context, channel, pace, count=3):
        assert (await ended(context, job_id)).state is JobState.FINISHED
    assert len(channel.tried) == 1


async def test_several_senders_send_each_once(app: App, context: Context) -> None:
    jobs = [await job(context, app) for _ in range(20)]
    channel = Channel(seconds=0.05)
    async with senders(context, channel, count=3):
        for job_id in jobs:
            assert (await ended(context, job_id)).state is JobState.FINISHED
    assert len({item.id for item in channel.tried}) == len(channel.tried) == 20


@pytest.mark.parametrize(
    ("error", "attempts", "told"),
    [
        (Unavailable("x", "It is down."), 2, None),
        (RuntimeError("a fault of ours, with a secret"), 2, None),
        (Denied("x", "It may not be."), 1, "It may not be."),
        (Invalid("x", "It is no URL."), 1, "It is no URL."),
    ],
    ids=["unavailable", "fault", "denied", "invalid"],
)
async def test_what_a_channel_raises_is_an_outcome(
    app: App, context: Context, error: Exception, attempts: int, told: str | None
) -> None:
    job_id, channel = await job(context, app), Channel([fails(error)])
    async with senders(context, channel):
        state = (await ended(context, job_id)).state
    found = (await sent(context, job_id))["txt"]
    assert (found.attempts, found.error) == (attempts, told)
    assert state is (JobState.FINISHED if attempts == 2 else JobState.FAILED)


async def test_what_no_database_keeps_is_settled_all_the_same(
    app: App, context: Context
) -> None:
    odd = Outcome(state=DeliveryState.DEAD, error="gr\udcfc\udcdfe\0.", response="\ud800")
    job_id, channel = await job(context, app), Channel(outcome=odd)
    async with senders(context, channel):
        assert (await ended(context, job_id)).state is JobState.FAILED
    found = (await sent(context, job_id))["txt"]
    assert (found.error, found.response) == ("gr??e\N{REPLACEMENT CHARACTER}.", "?")
    assert len(channel.tried) == 1


async def test_a_fault_of_ours_is_told_without_its_details(app: App, context: Context) -> None:
    fault = fails(RuntimeError("https://example.org/txt?secret=hush"))
    pace = Pace(backoff=Backoff(first=60), recheck_seconds=0.1)
    job_id, channel = await job(context, app), Channel([fault])
    async with senders(context, channel, pace):
        found = await sent_until(context, job_id, "txt", lambda item: item.error is not None)
    assert (found.state, "hush" in (found.error or "")) == (DeliveryState.PENDING, False)


async def test_a_kind_that_nobody_sends_is_given_up(app: App, context: Context) -> None:
    job_id = await job(context, app)
    sender = Sender(context, {}, PACE)
    task = asyncio.create_task(sender.run())
    assert (await ended(context, job_id)).state is JobState.FAILED
    context.closing.set()
    await task
    error = (await sent(context, job_id))["txt"].error
    assert error == "This server cannot send deliveries of the kind 'artifact'."


async def test_a_lost_signal_costs_time_only(
    app: App, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel()
    monkeypatch.setattr(Sender, "_heard", lambda *_: None)
    async with senders(context, channel):
        await asyncio.sleep(0.1)
        job_id = await job(context, app)
        assert (await ended(context, job_id)).state is JobState.FINISHED
