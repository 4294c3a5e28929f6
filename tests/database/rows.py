"""Factories of rows. What a test does not name does not matter to it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from uuid_utils.compat import uuid7

from rhapsode.database import jobs, media, runners, users
from rhapsode.database.engine import Database, open_database
from rhapsode.database.tables import jobs as jobs_table
from rhapsode.database.tables import metadata
from rhapsode.domain.jobs import Job, JobId, JobSpec, JobState, RunnerId
from rhapsode.domain.media import Media, MediaId, MediaProbe, MediaState
from rhapsode.domain.runners import Capabilities, EngineOffer, Runner, RunnerToken
from rhapsode.domain.users import Role, User, UserId

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
PROBE = MediaProbe("wav", "pcm_s16le", 1, 16_000, 2.5, False)
ANY_MODEL = frozenset({JobSpec().requirement})


async def empty_database(url: str, *, pool_size: int = 10) -> Database:
    """A database with the tables; that migrations lead to them is a test of its own."""
    database = open_database(url, pool_size=pool_size)
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return database


async def make_user(
    database: Database, role: Role = Role.MEMBER, email: str | None = None
) -> User:
    user_id = UserId(uuid7())
    address = email or f"{user_id}@example.org"
    user = User(id=user_id, email=address, role=role, created_at=NOW)
    async with database.write() as transaction:
        await users.insert(transaction.connection, user, None)
    return user


async def make_media(database: Database, user: User, **changes: Any) -> Media:
    """A media that is ready; nothing is in any object store."""
    made = Media(
        id=MediaId(uuid7()),
        user_id=user.id,
        name="talk.wav",
        state=MediaState.RECEIVING,
        size=0,
        created_at=NOW,
    )
    made = replace(made, **changes)
    async with database.write() as transaction:
        await media.insert(transaction.connection, made)
        ready = await media.settle(
            transaction.connection, made.id, size=10, digest="d" * 64, probe=PROBE, now=NOW
        )
    assert ready is not None
    return ready


async def make_job(
    database: Database, user: User, recording: Media | None = None, **changes: Any
) -> Job:
    recording = recording or await make_media(database, user)
    made = Job(
        id=JobId(uuid7()),
        user_id=user.id,
        media_id=recording.id,
        name=recording.name,
        spec=JobSpec(),
        state=JobState.QUEUED,
        attempt=1,
        max_attempts=3,
        created_at=NOW,
        queued_at=NOW,
        duration=recording.duration,
    )
    made = replace(made, **changes)
    async with database.write() as transaction:
        await jobs.insert(transaction.connection, made)
    return made


async def set_job(database: Database, job_id: JobId, **columns: Any) -> None:
    """What time and services would have made of a job."""
    async with database.write() as transaction:
        statement = jobs_table.update().where(jobs_table.c.id == job_id).values(**columns)
        await transaction.connection.execute(statement)


async def make_runner(database: Database, *models: str) -> Runner:
    """A registered runner; its token's hash is its id."""
    token = RunnerToken(id=uuid7(), name="token", created_at=NOW)
    offer = EngineOffer(engine="faster-whisper", models=models or ("base",))
    runner = Runner(
        id=RunnerId(uuid7()),
        token_id=token.id,
        name="runner",
        version="1",
        capabilities=Capabilities(engines=(offer,)),
        registered_at=NOW,
        seen_at=NOW,
    )
    async with database.write() as transaction:
        await runners.insert_token(transaction.connection, token, str(token.id))
        await runners.insert(transaction.connection, runner)
    return runner


async def claim(
    database: Database,
    runner_id: RunnerId | None = None,
    requirements: frozenset[str] = ANY_MODEL,
) -> Job | None:
    """A claim by this runner, or by a new one."""
    if runner_id is None:
        runner_id = (await make_runner(database)).id
    async with database.write_once() as transaction:
        taken = await jobs.claim(
            transaction.connection,
            runner_id=runner_id,
            runner_name="runner",
            requirements=requirements,
            now=NOW,
            lease_expires_at=LATER,
        )
    return None if taken is None else taken[0]


async def find(database: Database, job_id: JobId) -> Job:
    async with database.read() as connection:
        found = await jobs.get(connection, job_id)
    assert found is not None
    return found
