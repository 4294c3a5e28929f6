"""A database that is locked, full, gone or cut off: told as such, and survived."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from rhapsode.database import engine as engine_module
from rhapsode.database import idempotency, jobs, media, results, runners, users
from rhapsode.database.engine import Database, Transaction, open_database
from rhapsode.database.idempotency import Used
from rhapsode.database.results import Result
from rhapsode.domain.errors import Invalid, Limited, Unavailable
from rhapsode.domain.jobs import Job, JobError, JobId, JobSpec, JobState, RunnerId
from rhapsode.domain.media import MediaId
from rhapsode.domain.runners import Lease, RunnerToken
from rhapsode.domain.users import ApiKey, KeyId
from tests.database.rows import (
    LATER,
    NOW,
    PROBE,
    claim,
    empty_database,
    find,
    make_job,
    make_media,
    make_runner,
    make_user,
)
from tests.support.postgres import Postgres

Write = Callable[[Transaction, Job], Awaitable[object]]
RESULT = Result(language=None, duration=1, warnings=[], document=b"packed")
ERROR = JobError("broken", "It broke.")

WRITES: dict[str, Write] = {
    "users.set_password_hash": lambda t, j: users.set_password_hash(
        t.connection, j.user_id, "hash"
    ),
    "users.insert_login": lambda t, j: users.insert_login(
        t.connection,
        login_id=uuid7(),
        user_id=j.user_id,
        secret_hash="hash",
        now=NOW,
        expires_at=LATER,
    ),
    "users.delete_login": lambda t, _: users.delete_login(t.connection, "hash"),
    "users.delete_logins_of": lambda t, j: users.delete_logins_of(t.connection, j.user_id),
    "users.delete_expired_logins": lambda t, _: users.delete_expired_logins(t.connection, NOW),
    "users.insert_key": lambda t, j: users.insert_key(
        t.connection,
        ApiKey(id=KeyId(uuid7()), user_id=j.user_id, name="key", created_at=NOW),
        "hash",
    ),
    "users.delete_key": lambda t, j: users.delete_key(t.connection, KeyId(uuid7()), None),
    "media.touch": lambda t, j: media.touch(t.connection, _media(j), NOW),
    "media.settle": lambda t, j: media.settle(
        t.connection, _media(j), size=1, digest="d", probe=PROBE, now=NOW
    ),
    "media.lock": lambda t, j: media.lock(t.connection, _media(j)),
    "media.mark_deleting": lambda t, j: media.mark_deleting(t.connection, _media(j), NOW),
    "media.mark_abandoned": lambda t, _: media.mark_abandoned(t.connection, NOW, NOW),
    "media.remove": lambda t, j: media.remove(t.connection, _media(j)),
    "jobs.insert": lambda t, j: jobs.insert(t.connection, j.evolve(id=uuid7())),
    "jobs.claim": lambda t, j: jobs.claim(
        t.connection,
        runner_id=_runner(j),
        runner_name="runner",
        requirements=["a/b"],
        now=NOW,
        lease_expires_at=LATER,
    ),
    "jobs.renew": lambda t, j: jobs.renew(
        t.connection, _lease(j), lease_expires_at=LATER, progress=None
    ),
    "jobs.fail": lambda t, j: jobs.fail(t.connection, _lease(j), now=NOW, error=ERROR),
    "jobs.give_back": lambda t, j: jobs.give_back(
        t.connection, _lease(j), now=NOW, costs_attempt=True
    ),
    "jobs.cancel": lambda t, j: jobs.cancel(t.connection, j.id, NOW),
    "jobs.retry": lambda t, j: jobs.retry(t.connection, j.id, 3, NOW),
    "jobs.delete": lambda t, j: jobs.delete(t.connection, j.id),
    "jobs.expire_leases": lambda t, j: jobs.expire_leases(t.connection, [_runner(j)], NOW),
    "jobs.extend_lapsed": lambda t, _: jobs.extend_lapsed(t.connection, LATER, LATER),
    "jobs.requeue_lapsed": lambda t, _: jobs.requeue_lapsed(t.connection, LATER, 9),
    "jobs.fail_lapsed": lambda t, _: jobs.fail_lapsed(t.connection, LATER, 9, ERROR),
    "results.accept": lambda t, j: results.accept(t.connection, _lease(j), RESULT, NOW),
    "runners.insert_token": lambda t, _: runners.insert_token(
        t.connection, RunnerToken(id=uuid7(), name="token", created_at=NOW), "hash"
    ),
    "runners.delete_tokens_named": lambda t, _: runners.delete_tokens_named(t.connection, "x"),
    "runners.touch": lambda t, j: runners.touch(t.connection, _runner(j), NOW),
    "runners.forget_unseen": lambda t, _: runners.forget_unseen(t.connection, NOW),
    "idempotency.insert": lambda t, j: idempotency.insert(
        t.connection, j.user_id, "key", Used("print", uuid7()), NOW
    ),
    "idempotency.forget": lambda t, _: idempotency.forget(t.connection, NOW),
}


def _media(job: Job) -> MediaId:
    assert job.media_id is not None
    return job.media_id


def _lease(job: Job) -> Lease:
    return Lease(_runner(job), job.id, job.attempt)


def _runner(job: Job) -> RunnerId:
    assert job.runner_id is not None
    return job.runner_id


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process in the middle of writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def running_job(database: Database) -> Job:
    await make_job(database, await make_user(database))
    job = await claim(database, (await make_runner(database)).id)
    assert job is not None
    return job


@pytest.mark.parametrize("name", WRITES)
async def test_every_write_outlasts_a_lock(name: str, tmp_path: Path) -> None:
    database = await empty_database(f"sqlite:///{tmp_path / 'test.db'}")
    job = await running_job(database)

    async def write() -> None:
        async with database.write() as transaction:
            await WRITES[name](transaction, job)

    with locked(tmp_path / "test.db") as other:
        writing = asyncio.create_task(write())
        done, _ = await asyncio.wait([writing], timeout=0.02)
        other.execute("ROLLBACK")
        await writing

    assert done == set()
    await database.close()


async def test_a_lock_that_lasts_is_told_and_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0)
    database = await empty_database(f"sqlite:///{tmp_path / 'test.db'}")

    with locked(tmp_path / "test.db"), pytest.raises(Unavailable) as refusal:
        await make_user(database)

    assert refusal.value.code == "database_unavailable"
    await make_user(database)
    await database.close()


async def test_reading_goes_on_while_somebody_writes(tmp_path: Path) -> None:
    database = await empty_database(f"sqlite:///{tmp_path / 'test.db'}")
    job = await make_job(database, await make_user(database))

    with locked(tmp_path / "test.db"):
        assert (await find(database, job.id)).state is JobState.QUEUED
    await database.close()


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    database = await empty_database(f"sqlite:///{tmp_path / 'test.db'}?timeout=1")
    user = await make_user(database)
    recording = await make_media(database, user)
    async with database.engine.connect() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()

    async def fill() -> None:
        async with database.write() as transaction:
            await transaction.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for _ in range(100):
                made = Job(
                    id=JobId(uuid7()),
                    user_id=user.id,
                    media_id=recording.id,
                    name="x" * 200,
                    spec=JobSpec(prompt="x" * 2000),
                    state=JobState.QUEUED,
                    attempt=1,
                    max_attempts=1,
                    created_at=NOW,
                    queued_at=NOW,
                )
                await jobs.insert(transaction.connection, made)

    with pytest.raises(Limited) as refusal:
        await fill()

    assert refusal.value.code == "storage_full"
    async with database.read() as connection:
        assert await jobs.queued_requirements(connection, 9) == []
    await database.close()


async def test_writes_that_are_cut_short_leave_no_lock(database: Database) -> None:
    """A client that hangs up cancels its request wherever that may be."""
    user = await make_user(database)
    recording = await make_media(database, user)
    for steps in range(30):
        task = asyncio.create_task(make_job(database, user, recording))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with asyncio.timeout(10):
        assert (await make_job(database, user, recording)).state is JobState.QUEUED


async def test_a_database_that_is_not_there(postgres_server: Postgres) -> None:
    database = open_database(f"postgresql://rhapsode@127.0.0.1:{postgres_server.port}/none")

    with pytest.raises(Unavailable) as refusal:
        await database.check()

    assert refusal.value.code == "database_unavailable"
    await database.close()


async def test_a_server_that_is_not_there() -> None:
    database = open_database("postgresql://rhapsode@127.0.0.1:9/none")

    with pytest.raises(Unavailable):
        await database.check()
    await database.close()


async def test_connections_that_are_cut_are_told_and_replaced(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.create()
    database = await empty_database(url)
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{database.engine.url.database}'"
    )

    async def cut_off() -> None:
        async with database.read() as connection:
            await jobs.count_by_state(connection)
            postgres_server.execute(terminate, "postgres")
            await jobs.count_by_state(connection)

    with pytest.raises(Unavailable):
        await cut_off()

    await database.check()
    await database.close()
    postgres_server.drop(url)


@pytest.mark.parametrize("url", ["mysql://host/name", "oracle://host/name"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        open_database(url)

    assert refusal.value.code == "database_url"
