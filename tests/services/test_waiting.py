"""Who waits for a job: woken one at a time, and no wake-up is lost."""

import asyncio

from rhapsode.database.signals import Signal, Signals, Topic
from rhapsode.services.waiting import ClaimQueue, Waiter, first_of


def queued(requirement: str) -> Signal:
    return Signal(Topic.JOB_QUEUED, "job", "user", requirement)


def woken(*waiters: Waiter) -> list[str | None]:
    return [waiter.woken_for for waiter in waiters]


async def test_the_longest_waiting_is_woken() -> None:
    signals = Signals()
    queue = ClaimQueue(signals)
    async with queue.waiting({"a"}) as first, queue.waiting({"a"}) as second:
        signals.emit([queued("a")])

        assert woken(first, second) == ["a", None]


async def test_each_job_wakes_another() -> None:
    signals = Signals()
    queue = ClaimQueue(signals)
    async with queue.waiting({"a"}) as first, queue.waiting({"a"}) as second:
        signals.emit([queued("a"), queued("a"), queued("a")])

        assert woken(first, second) == ["a", "a"]


async def test_only_who_can_is_woken() -> None:
    signals = Signals()
    queue = ClaimQueue(signals)
    async with queue.waiting({"a"}) as first, queue.waiting({"a", "b"}) as second:
        signals.emit([queued("b"), queued("c")])

        assert woken(first, second) == [None, "b"]


async def test_who_leaves_with_a_wake_up_passes_it_on() -> None:
    queue = ClaimQueue(Signals())
    async with queue.waiting({"a"}) as fitting, queue.waiting({"b"}) as other:
        async with queue.waiting({"a", "b"}):
            pass
        async with queue.waiting({"a", "b"}) as leaving:
            leaving.wake("a")

        assert woken(fitting, other) == ["a", None]


async def test_who_has_looked_passes_nothing_on() -> None:
    queue = ClaimQueue(Signals())
    async with queue.waiting({"a"}) as other:
        async with queue.waiting({"a"}) as leaving:
            leaving.wake("a")
            used = leaving.looking()

        assert (used, woken(other)) == ("a", [None])


async def test_waiting_ends_when_the_server_closes() -> None:
    closing = asyncio.Event()
    queue = ClaimQueue(Signals())
    async with queue.waiting({"a"}) as waiter:
        closing.set()

        assert await waiter.wait(20, closing) is False


async def test_waiting_ends_when_woken_or_when_the_time_is_over() -> None:
    queue = ClaimQueue(Signals())
    async with queue.waiting({"a"}) as waiter:
        in_vain = await waiter.wait(0.01, asyncio.Event())
        queue.wake("a")

        assert (in_vain, await waiter.wait(20, asyncio.Event())) == (False, True)


async def test_nobody_waits() -> None:
    queue = ClaimQueue(Signals())

    assert (queue.is_idle, queue.wake("a")) == (True, False)


async def test_the_first_of_several() -> None:
    happened, other = asyncio.Event(), asyncio.Event()
    happened.set()

    assert await first_of(20, other, happened) is True
