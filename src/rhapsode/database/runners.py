"""The queries on runners and their tokens."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rhapsode.database.tables import runner_tokens, runners
from rhapsode.domain.jobs import RunnerId, Stage
from rhapsode.domain.runners import Capabilities, EngineOffer, Runner, RunnerToken


def runner_from_row(row: Row[Any]) -> Runner:
    """The runner of a row."""
    return Runner(
        id=row.id,
        token_id=row.token_id,
        name=row.name,
        version=row.version,
        capabilities=_capabilities(row.capabilities),
        registered_at=row.registered_at,
        seen_at=row.seen_at,
    )


def _capabilities(document: dict[str, Any]) -> Capabilities:
    return Capabilities(
        engines=tuple(
            EngineOffer(**{**offer, "models": tuple(offer["models"])})
            for offer in document["engines"]
        ),
        stages=tuple(Stage(stage) for stage in document["stages"]),
        device=document["device"],
        threads=document["threads"],
        speed=document["speed"],
        loaded=tuple(document.get("loaded", ())),
    )


async def insert_token(
    connection: AsyncConnection, token: RunnerToken, secret_hash: str
) -> None:
    """Add a runner token."""
    await connection.execute(
        runner_tokens.insert().values(
            id=token.id, name=token.name, secret_hash=secret_hash, created_at=token.created_at
        )
    )


async def tokens(connection: AsyncConnection) -> list[RunnerToken]:
    """All runner tokens, newest first."""
    query = select(runner_tokens).order_by(runner_tokens.c.id.desc())
    return [
        RunnerToken(id=row.id, name=row.name, created_at=row.created_at)
        for row in await connection.execute(query)
    ]


async def token_by_hash(connection: AsyncConnection, secret_hash: str) -> UUID | None:
    """Whose secret this is."""
    query = select(runner_tokens.c.id).where(runner_tokens.c.secret_hash == secret_hash)
    return (await connection.execute(query)).scalar_one_or_none()


async def delete_token(connection: AsyncConnection, token_id: UUID) -> bool:
    """Revoke a token and forget its runners; False if it was not there."""
    statement = runner_tokens.delete().where(runner_tokens.c.id == token_id)
    return (await connection.execute(statement)).rowcount > 0


async def ids_by_token_name(connection: AsyncConnection, name: str) -> list[RunnerId]:
    """The runners that registered with a token of that name."""
    query = (
        select(runners.c.id)
        .join(runner_tokens, runner_tokens.c.id == runners.c.token_id)
        .where(runner_tokens.c.name == name)
    )
    return list((await connection.execute(query)).scalars())


async def delete_tokens_named(connection: AsyncConnection, name: str) -> None:
    """Revoke every token of that name."""
    await connection.execute(runner_tokens.delete().where(runner_tokens.c.name == name))


async def insert(connection: AsyncConnection, runner: Runner) -> None:
    """Add a runner that has just registered."""
    await connection.execute(runners.insert().values(asdict(runner)))


async def by_secret(
    connection: AsyncConnection, runner_id: RunnerId, secret_hash: str
) -> Runner | None:
    """The runner, if this is its token's secret."""
    query = (
        select(runners)
        .join(runner_tokens, runner_tokens.c.id == runners.c.token_id)
        .where(runners.c.id == runner_id, runner_tokens.c.secret_hash == secret_hash)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else runner_from_row(row)


async def touch(connection: AsyncConnection, runner_id: RunnerId, now: datetime) -> None:
    """Note that the runner is there."""
    await connection.execute(
        runners.update().where(runners.c.id == runner_id).values(seen_at=now)
    )


async def note_loaded(
    connection: AsyncConnection, runner_id: RunnerId, capabilities: Capabilities
) -> None:
    """Note what the runner has in memory now."""
    await connection.execute(
        runners.update()
        .where(runners.c.id == runner_id)
        .values(capabilities=asdict(capabilities))
    )


async def seen_since(connection: AsyncConnection, since: datetime) -> list[Runner]:
    """The runners heard of since then, by name."""
    query = select(runners).where(runners.c.seen_at >= since).order_by(runners.c.name)
    return [runner_from_row(row) for row in await connection.execute(query)]


async def forget_unseen(connection: AsyncConnection, since: datetime) -> int:
    """Remove runners not heard of since then."""
    statement = runners.delete().where(runners.c.seen_at < since)
    return (await connection.execute(statement)).rowcount
