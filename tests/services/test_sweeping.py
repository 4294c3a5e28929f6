"""What time does: leases lapse, uploads are given up, interrupted removals are finished."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from rhapsode.database import jobs as jobs_table
from rhapsode.database import media as media_table
from rhapsode.database import partials as partials_table
from rhapsode.database.tables import media, runners
from rhapsode.domain.errors import NotFound, Unavailable
from rhapsode.domain.jobs import JobState
from rhapsode.domain.media import Media, MediaId, MediaState
from rhapsode.domain.transcripts import Segment
from rhapsode.services import media as media_service
from rhapsode.services import sweeping
from rhapsode.services.context import Context, new_id, now
from tests.database import rows
from tests.support.server import App

EARLIER = timedelta(hours=2)


async def chunks(content: bytes = b"abc"):  # type: ignore[no-untyped-def]
    yield content


async def left(context: Context) -> tuple[list[str], list[str]]:
    """States of the media that have a row, and the keys that have an object."""
    async with context.database.read() as connection:
        states = list((await connection.execute(select(media.c.state))).scalars())
    return sorted(states), await context.store.keys("media")


async def receiving(app: App, age: timedelta) -> Media:
    """An upload of which nothing was heard for so long, with its object."""
    item = Media(
        id=MediaId(new_id()),
        user_id=app.admin.id,
        name="a.wav",
        state=MediaState.RECEIVING,
        size=0,
        created_at=now() - age,
    )
    async with app.context.database.write() as transaction:
        await media_table.insert(transaction.connection, item)
    await app.context.store.put(item.key, chunks())
    return item


async def test_an_upload_whose_server_was_killed_is_removed(app: App) -> None:
    await receiving(app, EARLIER)

    assert await media_service.sweep(app.context) == 1
    assert await left(app.context) == ([], [])


async def test_an_upload_that_goes_on_is_left_alone(app: App) -> None:
    item = await receiving(app, timedelta(0))

    assert await media_service.sweep(app.context) == 0
    assert await left(app.context) == (["receiving"], [item.key])


async def test_a_removal_waits_for_the_store(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    context = app.context
    made = await rows.make_media(context.database, app.admin)
    await context.store.put(made.key, chunks())

    async def down(_key: str) -> None:
        raise Unavailable("object_store_unavailable", "The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(context.store, "delete", down)
        await media_service.delete(context, app.admin, made.id)
    during = await left(context)
    await media_service.sweep(context)

    assert during == (["deleting"], [made.key])
    assert await left(context) == ([], [])


async def test_a_recording_that_is_being_removed_is_gone_for_people(app: App) -> None:
    made = await rows.make_media(app.context.database, app.admin)
    async with app.context.database.write() as transaction:
        await media_table.mark_deleting(transaction.connection, made.id, now())

    with pytest.raises(NotFound):
        await media_service.get(app.context, app.admin, made.id)


async def test_sweepers_at_once_lose_nothing(app: App) -> None:
    context = app.context
    jobs = [await rows.make_job(context.database, app.admin) for _ in range(5)]
    while await rows.claim(context.database):
        pass

    counts = await asyncio.gather(*(sweeping.lapse(context) for _ in range(4)))

    states = {(await rows.find(context.database, job.id)).state for job in jobs}
    assert (sum(counts), states) == (5, {JobState.QUEUED})


async def test_an_exhausted_job_says_why(app: App) -> None:
    job = await rows.make_job(app.context.database, app.admin, max_attempts=1)
    await rows.claim(app.context.database)

    await sweeping.lapse(app.context)

    found = await rows.find(app.context.database, job.id)
    assert (found.state, found.error) == (JobState.FAILED, sweeping.EXHAUSTED)


async def test_a_lost_signal_costs_time_only(app: App) -> None:
    requirement = frozenset({"faster-whisper/base"})
    async with app.context.claims.waiting(requirement) as waiter:
        await rows.make_job(app.context.database, app.admin)  # written, but told to nobody
        await sweeping.wake(app.context)

        assert waiter.woken_for == "faster-whisper/base"


async def test_what_has_expired_is_forgotten(app: App) -> None:
    await rows.make_runner(app.context.database)  # last heard of long ago

    await sweeping.clean_up(app.context)

    async with app.context.database.read() as connection:
        assert list((await connection.execute(select(runners.c.id))).scalars()) == []


async def test_partials_are_forgotten_soon_after_their_jobs_end(app: App) -> None:
    database = app.context.database
    running = await rows.make_job(database, app.admin)
    ended = await rows.make_job(database, app.admin, state=JobState.FAILED)
    await rows.set_job(database, ended.id, finished_at=now() - timedelta(minutes=5))
    async with database.write() as transaction:
        for job in (running, ended):
            heard = [Segment(0.0, 1.0, "Sing to me")]
            await partials_table.insert(transaction.connection, job.id, 1, 0, heard)

    await sweeping.clean_up(app.context)

    async with database.read() as connection:
        assert await partials_table.since(connection, ended.id, 0, 0) == []
        assert len(await partials_table.since(connection, running.id, 0, 0)) == 1


async def test_a_sweep_that_fails_does_not_end_the_sweeping(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = asyncio.Queue[int]()

    async def failing(_context: Context) -> None:
        rounds.put_nowait(1)
        raise Unavailable("x", "y") if rounds.qsize() % 2 else ZeroDivisionError

    monkeypatch.setattr(sweeping, "sweep", failing)
    quick = replace(app.context, rules=replace(app.context.rules, sweep_seconds=0.001))
    task = asyncio.create_task(sweeping.run(quick))
    async with asyncio.timeout(10):
        while rounds.qsize() < 4:
            await asyncio.sleep(0.001)
    task.cancel()

    assert not task.done()


async def test_counting_goes_on_after_a_sweep(app: App) -> None:
    await rows.make_job(app.context.database, app.admin)
    await rows.claim(app.context.database)
    await sweeping.sweep(app.context)

    async with app.context.database.read() as connection:
        counts = await jobs_table.count_by_state(connection)
    assert (counts[JobState.QUEUED], counts[JobState.RUNNING]) == (1, 0)
