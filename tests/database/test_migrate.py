"""Migrations lead to exactly the tables, on each database."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import select

from rhapsode.database.engine import open_database
from rhapsode.database.migrate import _config, differences, is_downgrade, migrate
from rhapsode.database.tables import transcripts
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobState, Notify
from tests.database.rows import NOW, find, make_job, make_media, make_user, set_job

_SCRIPT = ScriptDirectory.from_config(_config())
NEWEST = _SCRIPT.get_current_head()
KNOWN = sorted(item.revision for item in _SCRIPT.walk_revisions())


async def test_migrations_equal_the_tables(database_url: str) -> None:
    database = open_database(database_url)

    reached = await migrate(database)

    assert (reached, await differences(database)) == (NEWEST, [])
    await database.close()


async def test_migrations_go_down_and_up_again(database_url: str) -> None:
    database = open_database(database_url)
    await migrate(database)

    assert await migrate(database, "base") == "base"
    assert await migrate(database) == NEWEST
    await database.close()


async def test_jobs_outlive_the_way_down_and_up(database_url: str) -> None:
    database = open_database(database_url)
    await migrate(database)
    user = await make_user(database)
    finished = await make_job(database, user, state=JobState.FINISHED)
    delivering = await make_job(
        database, user, state=JobState.DELIVERING, outputs={"txt": "https://example.org/txt"}
    )
    failed = await make_job(database, user, state=JobState.FAILED)
    for job in (finished, delivering):
        await set_job(database, job.id, transcribed_at=NOW)
        async with database.write() as transaction:
            row = {"job_id": job.id, "attempt": 1, "document": b"", "created_at": NOW}
            await transaction.connection.execute(transcripts.insert().values(row))
    await set_job(database, finished.id, finished_at=NOW)

    await migrate(database, "0001")
    await migrate(database)

    after = [await find(database, job.id) for job in (finished, delivering, failed)]
    assert [(job.state, job.transcribed_at, job.finished_at) for job in after] == [
        (JobState.FINISHED, NOW, NOW),
        (JobState.FINISHED, NOW, NOW),
        (JobState.FAILED, None, None),
    ]
    assert [(job.outputs, job.notify) for job in after] == [({}, Notify())] * 3
    async with database.read() as connection:
        kept = (await connection.execute(select(transcripts.c.job_id))).scalars()
        assert set(kept) == {finished.id, delivering.id}
    await database.close()


async def test_rebuilding_a_table_keeps_what_refers_to_it(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    await migrate(database)
    user = await make_user(database)
    await make_media(database, user)

    async with database.rebuild() as connection:
        for statement in (
            "CREATE TABLE fresh AS SELECT * FROM users",
            "DELETE FROM users",
            "INSERT INTO users SELECT * FROM fresh",
        ):
            await connection.exec_driver_sql(statement)

    async with database.read() as connection:
        enforced = (await connection.exec_driver_sql("PRAGMA foreign_keys")).scalar_one()
        kept = (await connection.exec_driver_sql("SELECT count(*) FROM media")).scalar_one()
    assert (enforced, kept) == (1, 1)
    await database.close()


async def test_which_way_it_goes(database_url: str) -> None:
    database = open_database(database_url)
    wanted = ["base", "0001", "head"]
    before = [await is_downgrade(database, revision) for revision in wanted]
    await migrate(database)

    after = [await is_downgrade(database, revision) for revision in wanted]

    assert (before, after) == ([False] * 3, [True, True, False])
    await database.close()


async def test_there_is_nothing_below_the_base(database_url: str) -> None:
    database = open_database(database_url)
    assert await migrate(database, "base") == "base"
    await database.close()


async def test_a_revision_that_is_none_is_refused(database_url: str) -> None:
    database = open_database(database_url)
    with pytest.raises(Invalid) as caught:
        await migrate(database, "nonsense")
    assert (caught.value.code, caught.value.hint) == (
        "unknown_revision",
        f"There are: base, {', '.join(KNOWN)}, head.",
    )
    await database.close()
