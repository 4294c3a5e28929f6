"""Brings a database to the tables of this version."""

from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from rhapsode.database.engine import Database
from rhapsode.database.tables import metadata
from rhapsode.domain.errors import Conflict, Invalid

_LOCK = 7_246_738_551
"""An arbitrary number: the advisory lock by which replicas migrate one after another."""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "rhapsode.database:migrations")
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database, revision: str = "head") -> str:
    """Upgrade (or downgrade) to a revision; returns the one that was reached.

    Conflict where the database was made by a later version than this, Invalid where there
    is no such revision.
    """
    async with database.rebuild() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        return await connection.run_sync(_move, revision)


async def is_downgrade(database: Database, revision: str) -> bool:
    """Whether going to that revision takes tables away, with all that is in them."""
    async with database.read() as connection:
        return await connection.run_sync(_goes_down, revision)


def _goes_down(connection: Connection, revision: str) -> bool:
    script, current, target = _way(connection, revision)
    return current != target and not _is_up(script, current, target)


def _move(connection: Connection, revision: str) -> str:
    script, current, target = _way(connection, revision)
    if current != target:
        go = command.upgrade if _is_up(script, current, target) else command.downgrade
        go(_config(connection), revision)
    return MigrationContext.configure(connection).get_current_revision() or "base"


def _way(
    connection: Connection, revision: str
) -> tuple[ScriptDirectory, str | None, str | None]:
    """The revisions, where the database is among them, and where it shall be."""
    script = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    known = {item.revision for item in script.walk_revisions()}
    if revision not in {"head", "base", *known}:
        raise Invalid(
            "unknown_revision",
            f"There is no revision '{revision[:40]}' of the database.",
            hint=f"There are: base, {', '.join(sorted(known))}, head.",
        )
    if current is not None and current not in known:
        raise Conflict(
            "database_newer",
            f"The database is at revision {current}, which this version does not know.",
            hint="Run the version of Rhapsode that made it, or a later one.",
        )
    special = {"head": script.get_current_head(), "base": None}
    return script, current, special.get(revision, revision)


def _is_up(script: ScriptDirectory, current: str | None, target: str | None) -> bool:
    if current is None:
        return True
    below = {item.revision for item in script.iterate_revisions(current, "base")}
    return target is not None and target not in below


async def differences(database: Database) -> list[Any]:
    """What distinguishes the database from the tables; nothing, after `migrate`."""
    async with database.read() as connection:
        return await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
