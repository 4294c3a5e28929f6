"""Orphans go, unless there are so many that somebody mixed up a database and a store."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from rhapsode.database import media as media_table
from rhapsode.database.tables import media
from rhapsode.domain.media import MediaId, media_key
from rhapsode.domain.users import User
from rhapsode.services import orphans
from rhapsode.services.context import now
from tests.api.people import CONTENT, chunks
from tests.database import rows
from tests.support.keeping import (
    has_media,
    recording,
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
