"""What has been kept for long enough goes, and nothing else; on real databases and stores."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from rhapsode.database import deliveries as deliveries_table
from rhapsode.database import jobs as jobs_table
from rhapsode.database import media as media_table
from rhapsode.database import transcripts as transcripts_table
from rhapsode.database.audit import AuditFilter
from rhapsode.database.tables import audit_events, media
from rhapsode.domain.audit import AuditEvent
from rhapsode.domain.deliveries import Delivery, DeliveryId, DeliveryKind, DeliveryState
from rhapsode.domain.errors import Conflict, Unavailable
from rhapsode.domain.jobs import Job, JobError, JobState, Retention
from rhapsode.domain.media import Media, MediaId, media_key
from rhapsode.domain.retention import RetentionPolicy
from rhapsode.domain.runners import Lease
from rhapsode.domain.users import User
from rhapsode.services import audit, deliveries, jobs, leases, orphans, retention, retrying
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.retrying import Fresh
from tests.api.people import CONTENT, chunks
from tests.database import rows
from tests.support.delivering import TRANSCRIPT
from tests.support.server import App, running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = timedelta(days=1)
FOR_EVER = RetentionPolicy(orphan_days=None, audit_days=None)


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


def under(app: App, **policy: float | None) -> Context:
    """The application under another policy."""
    wanted = replace(FOR_EVER, **policy)
    return replace(app.context, rules=replace(app.context.rules, retention=wanted))


async def recording(app: App, ann: User) -> Media:
    made = await rows.make_media(app.context.database, ann)
    await app.context.store.put(made.key, chunks(CONTENT))
    return made


async def running(app: App, ann: User, made: Media | None = None, **changes: Any) -> Lease:
    """A job of a recording that a runner works on."""
    made = made or await recording(app, ann)
    job = await rows.make_job(app.context.database, ann, made, **changes)
    await rows.set_job(app.context.database, job.id, queue_rank=-99)
    taken = await rows.claim(app.context.database)
    assert taken is not None
    assert (taken.id, taken.runner_id is None) == (job.id, False)
    assert taken.runner_id is not None
    return Lease(taken.runner_id, taken.id, taken.attempt)


async def finished(
    app: App,
    ann: User,
    made: Media | None = None,
    *,
    ago: timedelta = timedelta(0),
    **changes: Any,
) -> Job:
    """A job that ended well, as long ago as is said."""
    lease = await running(app, ann, made, **changes)
    await leases.result(app.context, lease, TRANSCRIPT, ())
    return await aged(app, lease, ago)


async def failed(app: App, ann: User, made: Media | None = None, **changes: Any) -> Job:
    lease = await running(app, ann, made, **changes)
    await leases.failure(app.context, lease, JobError("broken", "It broke."), permanent=True)
    return await aged(app, lease, timedelta(0))


async def aged(app: App, lease: Lease, ago: timedelta) -> Job:
    """Everything that the job's end noted lies so much further back."""
    columns = ("finished_at", "media_expires_at", "transcript_expires_at")
    async with app.context.database.read() as connection:
        table = jobs_table.jobs
        row = (await connection.execute(table.select().where(table.c.id == lease.job_id))).one()
    moved = {name: _before(getattr(row, name), ago) for name in columns}
    await rows.set_job(app.context.database, lease.job_id, **moved)
    return await rows.find(app.context.database, lease.job_id)


def _before(moment: datetime | None, ago: timedelta) -> datetime | None:
    return None if moment is None else moment - ago


async def has_media(app: App, media_id: MediaId | None) -> bool:
    """Whether row and object are there; they must agree."""
    assert media_id is not None
    async with app.context.database.read() as connection:
        query = media.select().where(media.c.id == media_id)
        row = (await connection.execute(query)).one_or_none()
    there = await app.context.store.exists(media_key(media_id))
    assert there == (row is not None)
    return there


async def has_transcript(app: App, ann: User, job: Job) -> bool:
    async with app.context.database.read() as connection:
        there = await transcripts_table.get(connection, job.id) is not None
    if there:
        await jobs.transcript(app.context, ann, job.id)
    else:
        with pytest.raises(Conflict) as refused:
            await jobs.transcript(app.context, ann, job.id)
        assert refused.value.code == "transcript_deleted"
    return there


async def trail(app: App, subject: object) -> list[AuditEvent]:
    return await audit.page(app.context, AuditFilter(subject=str(subject)), 10)


def deleted(app: App, kind: str, reason: str) -> float:
    found = app.context.recorder.metrics.registry.get_sample_value(
        "rhapsode_deleted_total", {"kind": kind, "reason": reason}
    )
    return found or 0.0


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


async def told(app: App, job: Job) -> DeliveryId:
    """A delivery of the job that is tried again tomorrow."""
    made = Delivery(
        id=DeliveryId(new_id()),
        user_id=job.user_id,
        job_id=job.id,
        kind=DeliveryKind.EMAIL,
        subject="job.finished",
        destination="mail",
        state=DeliveryState.PENDING,
        next_at=now() + DAY,
        created_at=now(),
    )
    async with app.context.database.write() as transaction:
        await deliveries_table.insert(transaction.connection, [made])
    return made.id


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


# Orphans


async def stray(app: App) -> MediaId:
    """An object that no row knows."""
    media_id = MediaId(uuid4())
    await app.context.store.put(media_key(media_id), chunks(CONTENT))
    return media_id


async def test_an_object_without_a_row_goes(app: App, ann: User) -> None:
    kept = [await recording(app, ann) for _ in range(2)]
    orphan = await stray(app)
    await app.context.store.put("media/what-is-this", chunks(CONTENT))
    await asyncio.sleep(1.1)  # S3 tells the time of writing in whole seconds

    await orphans.sweep(under(app, orphan_days=0))

    assert not await app.context.store.exists(media_key(orphan))
    assert [await has_media(app, item.id) for item in kept] == [True, True]
    assert await app.context.store.exists("media/what-is-this")
    (noted,) = await trail(app, orphan)
    assert (noted.action, noted.detail) == (
        "object.deleted",
        {"reason": "orphan", "key": media_key(orphan), "size": len(CONTENT)},
    )


async def test_a_young_object_is_left_alone(app: App, ann: User) -> None:
    await recording(app, ann)
    orphan = await stray(app)

    assert await orphans.sweep(under(app, orphan_days=1)) == 0
    assert await orphans.sweep(under(app, orphan_days=None)) == 0

    assert await app.context.store.exists(media_key(orphan))
    await app.context.store.delete(media_key(orphan))


async def test_a_row_without_its_object_goes_unless_a_job_waits_for_it(
    app: App, ann: User
) -> None:
    kept, lost, awaited = [await recording(app, ann) for _ in range(3)]
    await rows.make_job(app.context.database, ann, awaited)
    for item in (lost, awaited):
        await app.context.store.delete(item.key)

    await orphans.sweep(under(app, orphan_days=0))

    assert await has_media(app, kept.id)
    assert not await has_media(app, lost.id)
    async with app.context.database.read() as connection:
        assert await media_table.get(connection, awaited.id) is not None
    assert [item.detail["reason"] for item in await trail(app, lost.id)] == ["orphan"]


@pytest_asyncio.fixture(loop_scope="module")
async def alone(app: App) -> AsyncIterator[App]:
    """The same, with everything that other tests stored put aside."""
    async with app.context.database.write() as transaction:
        hidden = media.update().where(media.c.state == "ready").values(state="hidden")
        await transaction.connection.execute(hidden)
    yield app
    async with app.context.database.write() as transaction:
        shown = media.update().where(media.c.state == "hidden").values(state="ready")
        await transaction.connection.execute(shown)


async def test_a_store_that_lost_almost_everything_is_taken_for_the_wrong_one(
    alone: App, ann: User
) -> None:
    made = [await recording(alone, ann) for _ in range(3)]
    for item in made[:2]:
        await alone.context.store.delete(item.key)

    assert await orphans.sweep(under(alone, orphan_days=0)) == 0

    async with alone.context.database.write() as transaction:
        for item in made:
            assert await media_table.get(transaction.connection, item.id) is not None
            await media_table.mark_deleting(transaction.connection, item.id, now())


async def test_a_database_that_knows_hardly_any_object_is_taken_for_the_wrong_one(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("wrong")
    settings = settings_for(folder, queue={"sweep_seconds": 3600})
    async with running_app(settings) as app:
        strays = [await stray(app) for _ in range(3)]
        await recording(app, app.admin)
        await asyncio.sleep(0.05)

        assert await orphans.sweep(under(app, orphan_days=0)) == 0

        for media_id in strays:
            assert await app.context.store.exists(media_key(media_id))


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
            while await has_media(app, job.media_id):
                await asyncio.sleep(0.05)
