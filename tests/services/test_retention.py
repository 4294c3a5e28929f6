"""What has been kept for long enough goes, and nothing else; on real databases and stores."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from rhapsode.database import deliveries as deliveries_table
from rhapsode.database import media as media_table
from rhapsode.database.tables import audit_events, media
from rhapsode.domain.errors import Conflict, Unavailable
from rhapsode.domain.jobs import JobState, Retention
from rhapsode.domain.media import Media
from rhapsode.domain.users import User
from rhapsode.services import deliveries, jobs, retention, retrying
from rhapsode.services.context import now
from rhapsode.services.retrying import Fresh
from tests.database import rows
from tests.support.keeping import (
    DAY,
    deleted,
    failed,
    finished,
    has_media,
    has_row,
    has_transcript,
    recording,
    told,
    trail,
    under,
)
from tests.support.server import App, running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    params=["sqlite and folder", "postgresql and s3"], scope="module", loop_scope="module"
)
async def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[App]:
    """Its own sweeper sleeps, so that each test sees what its own sweeps do."""
    folder = tmp_path_factory.mktemp("retention")
    url, store = None, None
    if request.param != "sqlite and folder":
        url = request.getfixturevalue("postgres_server").create()
        store = request.getfixturevalue("s3_server").create()
    settings = settings_for(
        folder, database_url=url, store=store, queue={"sweep_seconds": 3600}
    )
    async with running_app(settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def ann(app: App) -> User:
    return await rows.make_user(app.context.database)


async def test_a_recording_goes_at_once_where_its_job_says_so(app: App, ann: User) -> None:
    before = deleted(app, "media", "retention")
    job = await finished(app, ann, retention=Retention(media_days=0))

    assert await retention.sweep(under(app)) == 1

    assert not await has_media(app, job.media_id)
    assert await has_transcript(app, ann, job)
    found = await rows.find(app.context.database, job.id)
    assert (found.media_id, found.state) == (None, JobState.FINISHED)
    (noted,) = await trail(app, job.media_id)
    assert (noted.action, noted.actor_id, noted.subject_kind) == (
        "media.deleted",
        None,
        "media",
    )
    assert noted.detail == {"reason": "retention", "owner": str(ann.id), "size": 10}
    assert deleted(app, "media", "retention") == before + 1
    assert await retention.sweep(under(app)) == 0


@pytest.mark.parametrize(("days", "stays"), [(2.9, True), (3.1, False)])
async def test_a_job_says_for_how_many_days(
    app: App, ann: User, days: float, stays: bool
) -> None:
    wanted = Retention(media_days=3, transcript_days=3)
    job = await finished(app, ann, retention=wanted, ago=days * DAY)

    await retention.sweep(under(app, media_days=0, transcript_days=0))

    assert await has_media(app, job.media_id) is stays
    assert await has_transcript(app, ann, job) is stays


@pytest.mark.parametrize(("days", "stays"), [(29.9, True), (30.1, False)])
async def test_the_policy_counts_where_a_job_says_nothing(
    app: App, ann: User, days: float, stays: bool
) -> None:
    job = await finished(app, ann, ago=days * DAY)

    await retention.sweep(under(app, media_days=30, transcript_days=30))

    assert await has_media(app, job.media_id) is stays
    assert await has_transcript(app, ann, job) is stays


async def test_without_a_policy_everything_stays(app: App, ann: User) -> None:
    job = await finished(app, ann, ago=10_000 * DAY)

    assert await retention.sweep(under(app)) == 0

    assert await has_media(app, job.media_id)
    assert await has_transcript(app, ann, job)


async def test_a_job_may_leave_one_of_two_to_the_policy(app: App, ann: User) -> None:
    job = await finished(app, ann, retention=Retention(media_days=9), ago=5 * DAY)

    await retention.sweep(under(app, media_days=1, transcript_days=1))

    assert await has_media(app, job.media_id)
    assert not await has_transcript(app, ann, job)


async def test_a_policy_counts_for_what_ended_before_it(app: App, ann: User) -> None:
    job = await finished(app, ann, ago=5 * DAY)
    await retention.sweep(under(app, media_days=7))
    first = await has_media(app, job.media_id)

    await retention.sweep(under(app, media_days=4))

    assert first
    assert not await has_media(app, job.media_id)


async def test_a_shared_recording_lives_until_the_last_job_has_done_with_it(
    app: App, ann: User
) -> None:
    made = await recording(app, ann)
    await finished(app, ann, made, retention=Retention(media_days=0))
    last = await finished(app, ann, made, retention=Retention(media_days=2), ago=DAY)
    await retention.sweep(under(app))
    during = await has_media(app, made.id)

    await rows.set_job(app.context.database, last.id, media_expires_at=now())
    await retention.sweep(under(app))

    assert during
    assert not await has_media(app, made.id)


@pytest.mark.parametrize("state", ["queued", "running", "delivering"])
async def test_a_recording_that_a_job_still_needs_stays(
    app: App, ann: User, state: str
) -> None:
    made = await recording(app, ann)
    await finished(app, ann, made, retention=Retention(media_days=0))
    other = await finished(app, ann, made, retention=Retention(media_days=0))
    await rows.set_job(app.context.database, other.id, state=state)

    await retention.sweep(under(app, media_days=0))

    assert await has_media(app, made.id)
    await rows.set_job(app.context.database, other.id, state="finished")
    await retention.sweep(under(app))
    assert not await has_media(app, made.id)


async def test_nothing_goes_before_everybody_was_told(app: App, ann: User) -> None:
    wanted = Retention(media_days=0, transcript_days=0)
    job = await finished(app, ann, retention=wanted, ago=DAY)
    delivery = await told(app, job)
    await retention.sweep(under(app))
    during = await has_media(app, job.media_id), await has_transcript(app, ann, job)

    async with app.context.database.write() as transaction:
        await deliveries_table.cancel(transaction.connection, [delivery], now(), "Enough.")
    await retention.sweep(under(app))

    after = await has_media(app, job.media_id), await has_transcript(app, ann, job)
    assert (during, after) == ((True, True), (False, False))


async def test_a_transcript_stays_for_a_minute_for_whoever_waits_for_it(
    app: App, ann: User
) -> None:
    job = await finished(app, ann, retention=Retention(transcript_days=0))
    await retention.sweep(under(app))
    during = await has_transcript(app, ann, job)

    await rows.set_job(app.context.database, job.id, transcript_expires_at=now())
    await retention.sweep(under(app))

    gone = await rows.find(app.context.database, job.id)
    (noted,) = await trail(app, job.id)
    assert during
    assert not await has_transcript(app, ann, job)
    assert (gone.state, gone.transcript_deleted_at is None) == (JobState.FINISHED, False)
    assert (noted.action, noted.detail["reason"]) == ("transcript.deleted", "retention")


@pytest.mark.parametrize("state", ["failed", "expired"])
@pytest.mark.parametrize(("days", "stays"), [(6.9, True), (7.1, False)])
async def test_a_transcript_that_was_not_delivered_stays_for_a_week(
    app: App, ann: User, state: str, days: float, stays: bool
) -> None:
    job = await finished(app, ann, ago=days * DAY)
    await rows.set_job(app.context.database, job.id, state=state)

    await retention.sweep(under(app, transcript_days=0))

    assert await has_transcript(app, ann, job) is stays


async def test_a_deleted_transcript_cannot_be_delivered(app: App, ann: User) -> None:
    job = await finished(app, ann, ago=DAY)
    await retention.sweep(under(app, transcript_days=0))

    with pytest.raises(Conflict) as refused:
        await deliveries.give_urls(
            app.context, ann, job.id, {"txt": "https://example.org/a.txt"}
        )

    assert refused.value.code == "transcript_deleted"


async def test_a_job_without_its_recording_cannot_be_tried_again(app: App, ann: User) -> None:
    job = await failed(app, ann, retention=Retention(media_days=0))
    await retention.sweep(under(app))

    with pytest.raises(Conflict) as refused:
        await retrying.retry(app.context, ann, job.id, Fresh())

    assert refused.value.code == "media_deleted"


async def test_a_canceled_job_lets_its_recording_go(app: App, ann: User) -> None:
    made = await recording(app, ann)
    job = await rows.make_job(
        app.context.database, ann, made, retention=Retention(media_days=0)
    )
    await jobs.cancel(app.context, ann, job.id)

    await retention.sweep(under(app))

    assert not await has_media(app, made.id)


async def test_two_sweepers_at_once_delete_each_thing_once(app: App, ann: User) -> None:
    ended = [
        await finished(app, ann, ago=DAY, retention=Retention(media_days=0, transcript_days=0))
        for _ in range(4)
    ]
    context = under(app)

    counts = await asyncio.gather(*(retention.sweep(context) for _ in range(3)))

    assert sum(counts) == 8
    for job in ended:
        assert not await has_media(app, job.media_id)
        assert len(await trail(app, job.media_id)) == 1
        assert len(await trail(app, job.id)) == 1


async def test_more_than_a_batch_goes_in_one_sweep(
    app: App, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    ended = [await finished(app, ann, retention=Retention(media_days=0)) for _ in range(5)]

    assert await retention.sweep(under(app)) == 5

    assert [await has_media(app, job.media_id) for job in ended] == [False] * 5


async def test_a_store_that_does_not_answer_gets_its_deletions_later(
    app: App, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await finished(app, ann, retention=Retention(media_days=0))
    assert job.media_id is not None

    async def down(_key: str) -> None:
        raise Unavailable("object_store_unavailable", "The object store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(app.context.store, "delete", down)
        await retention.sweep(under(app))
    async with app.context.database.read() as connection:
        waiting = await media_table.deleting(connection, 10)

    await retention.media_service.sweep(app.context)

    assert waiting == [job.media_id]
    assert not await has_media(app, job.media_id)


# Recordings without a job


async def touched(app: App, item: Media, ago: timedelta) -> None:
    async with app.context.database.write() as transaction:
        statement = media.update().where(media.c.id == item.id)
        await transaction.connection.execute(statement.values(touched_at=now() - ago))


async def test_an_unused_recording_goes_and_a_used_one_stays(app: App, ann: User) -> None:
    unused, young, used = [await recording(app, ann) for _ in range(3)]
    job = await finished(app, ann, used)
    for item, ago in ((unused, 8 * DAY), (young, 6 * DAY), (used, 8 * DAY)):
        await touched(app, item, ago)

    await retention.clean_up(under(app, unused_media_days=7))

    left = [await has_media(app, item.id) for item in (unused, young, used)]
    assert left == [False, True, True]
    assert [item.detail["reason"] for item in await trail(app, unused.id)] == ["unused"]
    await jobs.delete(app.context, ann, job.id, keep_media=True)
    await retention.clean_up(under(app, unused_media_days=7))
    assert await has_media(app, used.id)


async def test_a_recording_is_left_an_hour_to_find_its_job(app: App, ann: User) -> None:
    fresh, old = await recording(app, ann), await recording(app, ann)
    await touched(app, fresh, timedelta(minutes=50))
    await touched(app, old, timedelta(minutes=70))

    await retention.clean_up(under(app, unused_media_days=0))

    assert [await has_media(app, item.id) for item in (fresh, old)] == [True, False]


# The trail itself


async def test_old_entries_of_the_trail_go(app: App, ann: User) -> None:
    job = await finished(app, ann)
    await jobs.delete(app.context, ann, job.id, keep_media=True)
    context = under(app, audit_days=30)
    await retention.clean_up(context)
    during = len(await trail(app, job.id))

    async with app.context.database.write() as transaction:
        aged_entries = audit_events.update().where(audit_events.c.subject_id == str(job.id))
        await transaction.connection.execute(aged_entries.values(at=now() - 31 * DAY))
    await retention.clean_up(context)

    assert (during, await trail(app, job.id)) == (1, [])


async def test_the_application_sweeps_by_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = settings_for(
        tmp_path_factory.mktemp("alive"),
        queue={"sweep_seconds": 0.1},
        retention={"media_days": 0},
    )
    async with running_app(settings) as app:
        job = await finished(app, app.admin)
        async with asyncio.timeout(15):
            while await has_row(app, job.media_id):
                await asyncio.sleep(0.05)
        assert not await has_media(app, job.media_id)
