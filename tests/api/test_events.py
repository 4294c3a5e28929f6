"""Server-sent events: one job to its end, and all of a person's jobs."""

import asyncio

import pytest

from tests.api.people import Person, Runner
from tests.api.wire import Call, call

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_job_from_the_queue_to_its_end(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    async with call(ann.app, "GET", f"/api/jobs/{job['id']}/events", ann.key) as stream:
        assert await stream.started() == 200
        states = [await state(stream)]
        lease = await runner.claimed()
        states.append(await state(stream))
        await lease.heartbeat({"stage": "transcribe", "fraction": 0.5})
        kind, body = await some(stream)
        await lease.result()
        states.append(await state(stream))
        end = await stream.event()

    assert (kind, body["progress"]) == ("job", {"stage": "transcribe", "fraction": 0.5})
    assert (states, end) == (["queued", "running", "finished"], None)


async def some(stream: Call) -> tuple[str, dict[str, object]]:
    found = await stream.event()
    assert found is not None
    return found


async def state(stream: Call) -> object:
    return (await some(stream))[1]["state"]


async def test_a_job_that_has_ended_ends_the_stream_at_once(
    ann: Person, runner: Runner
) -> None:
    job = await ann.job(runner)
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    async with call(ann.app, "GET", f"/api/jobs/{job['id']}/events", ann.key) as stream:
        events = [await stream.started(), await state(stream), await stream.event()]

    assert events == [200, "canceled", None]


async def test_a_job_that_is_deleted_ends_the_stream(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    async with call(ann.app, "GET", f"/api/jobs/{job['id']}/events", ann.key) as stream:
        await stream.started()
        await stream.event()

        await ann.client.delete(f"/api/jobs/{job['id']}")

        events = [await stream.event(), await stream.event()]

    assert events == [("job_deleted", {"id": job["id"]}), None]


async def test_all_jobs(ann: Person, ben: Person, runner: Runner) -> None:
    """Made, changed, deleted; and nobody else's."""
    async with call(ann.app, "GET", "/api/events", ann.key) as stream:
        await stream.started()
        await stream.chunk()  # from now on it listens
        await ben.job(runner)
        job = await ann.job(runner)
        made = await stream.event()
        await ann.client.post(f"/api/jobs/{job['id']}/cancel")
        changed = await some(stream)
        await ann.client.delete(f"/api/jobs/{job['id']}")
        deleted = await stream.event()

    assert made == ("job", job)
    assert (changed[0], changed[1]["id"], changed[1]["state"]) == ("job", job["id"], "canceled")
    assert deleted == ("job_deleted", {"id": job["id"]})


async def test_who_hangs_up_is_not_listened_for(ann: Person) -> None:
    listeners = ann.app.context.database.signals._listeners
    before = len(listeners)
    async with call(ann.app, "GET", "/api/events", ann.key) as stream:
        await stream.started()
        await stream.chunk()
        during = len(listeners)

    async with asyncio.timeout(20):
        while len(listeners) > before:
            await asyncio.sleep(0.01)
    assert during == before + 1


async def test_the_stream_is_not_kept_by_caches(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")

    answer = await ann.get(f"/api/jobs/{job['id']}/events")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
