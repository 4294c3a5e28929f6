"""`rhapsode serve, migrate, openapi`: the server itself."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rhapsode.cli.connect import run
from rhapsode.cli.options import Config, Data
from rhapsode.cli.output import emit_json, note

if TYPE_CHECKING:
    from rhapsode.services.context import Context
    from rhapsode.settings import Settings

Result = TypeVar("Result")


def load_settings(config: Path | None, data: Path | None = None, **more: Any) -> "Settings":
    """The settings; keyword `server__port` stands for the key `server.port`."""
    from rhapsode.settings import load

    overrides = {key.replace("__", "."): value for key, value in more.items()}
    return load(config, overrides={"data": data, **overrides}).settings


def in_services(
    config: Path | None, data: Path | None, work: Callable[["Context"], Awaitable[Result]]
) -> Result:
    """Do work on the services themselves, in this process, whether or not a server runs."""
    settings = load_settings(config, data)  # first: its mistakes are told at once
    from rhapsode.bootstrap import open_services

    async def inside() -> Result:
        async with open_services(settings) as context:
            return await work(context)

    return run(inside())


def serve(
    config: Config = None,
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on.", show_default="8080"),
    ] = None,
    runner: Annotated[
        bool | None,
        typer.Option("--runner/--no-runner", help="Start a runner too.", show_default="runner"),
    ] = None,
) -> None:
    """Run the server, with a runner beside it, until Ctrl-C or SIGTERM."""
    settings = load_settings(
        config, data, server__host=host, server__port=port, runner__enabled=runner
    )
    from rhapsode import bootstrap

    bootstrap.serve(settings)


def migrate(
    *,
    config: Config = None,
    data: Data = None,
    revision: Annotated[
        str, typer.Option(help="The Alembic revision to go to, up or down.")
    ] = "head",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go down without asking.")] = False,
) -> None:
    """Bring the database's tables to this version; `serve` does it by itself.

    Going down drops tables with all that is in them, and asks before.
    """
    settings = load_settings(config, data)
    from rhapsode import bootstrap

    if not yes and bootstrap.would_downgrade(settings, revision):
        question = f"Going down to {revision} drops tables with all that is in them. Go on?"
        typer.confirm(question, abort=True, err=True)
    reached = bootstrap.migrate(settings, revision)
    note(f"The database is at revision {reached}.")


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API."""
    from rhapsode import bootstrap

    emit_json(bootstrap.openapi())
