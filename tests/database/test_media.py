"""Media: the row comes before its object and goes after it."""

from datetime import timedelta

from uuid_utils.compat import uuid7

from rhapsode.database import media
from rhapsode.database.engine import Database
from rhapsode.domain.media import Media, MediaId, MediaState
from rhapsode.domain.users import User
from tests.database.rows import LATER, NOW, PROBE, make_media, make_user


async def receiving(database: Database, user: User) -> Media:
    item = Media(
        id=MediaId(uuid7()),
        user_id=user.id,
        name="talk.wav",
        state=MediaState.RECEIVING,
        size=0,
        created_at=NOW,
    )
    async with database.write() as transaction:
        await media.insert(transaction.connection, item)
    return item


async def test_a_media_survives_its_row(database: Database) -> None:
    made = await make_media(database, await make_user(database))

    async with database.read() as connection:
        assert await media.get(connection, made.id) == made


async def test_what_is_being_received_is_not_shown(database: Database) -> None:
    user = await make_user(database)
    item = await receiving(database, user)

    async with database.read() as connection:
        found = await media.get(connection, item.id)
        listed = await media.page(connection, user.id, before=None, digest=None, limit=9)

    assert (found, listed) == (None, [])


async def test_a_digest_finds_its_media(database: Database) -> None:
    user = await make_user(database)
    made = await make_media(database, user)

    async with database.read() as connection:
        found = [
            await media.page(connection, user.id, before=None, digest=digest, limit=9)
            for digest in ("d" * 64, "e" * 64)
        ]

    assert found == [[made], []]


async def test_an_upload_that_was_given_up_cannot_settle(database: Database) -> None:
    item = await receiving(database, await make_user(database))
    since = NOW + timedelta(seconds=1)

    async with database.write() as transaction:
        given_up = await media.mark_abandoned(transaction.connection, since, LATER)
        settled = await media.settle(
            transaction.connection, item.id, size=1, digest="d", probe=PROBE, now=LATER
        )
        alive = await media.touch(transaction.connection, item.id, LATER)

    gone = [found.id for found in given_up]
    assert (gone, settled, alive) == ([item.id], None, False)


async def test_an_upload_that_is_alive_is_not_given_up(database: Database) -> None:
    item = await receiving(database, await make_user(database))

    async with database.write() as transaction:
        await media.touch(transaction.connection, item.id, LATER)
        assert await media.mark_abandoned(transaction.connection, LATER, LATER) == []


async def test_only_what_is_being_deleted_is_removed(database: Database) -> None:
    made = await make_media(database, await make_user(database))

    async with database.write() as transaction:
        await media.remove(transaction.connection, made.id)
        kept = await media.get(transaction.connection, made.id)
        await media.mark_deleting(transaction.connection, made.id, NOW)
        doomed = await media.deleting(transaction.connection, 9)
        await media.remove(transaction.connection, made.id)
        rest = await media.deleting(transaction.connection, 9)

    assert (kept, doomed, rest) == (made, [made.id], [])
