"""`rhapsode serve, migrate, openapi`: the server itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.options import Config, Data
from rhapsode.cli.output import emit_json, note

if TYPE_CHECKING:
    from rhapsode.settings import Settings


def load_settings(config: Path | None, data: Path | None = None, **more: Any) -> "Settings":
    """The settings; keyword `server__port` stands for the key `server.port`."""
    from rhapsode.settings import load

    overrides = {key.replace("__", "."): value for key, value in more.items()}
    return load(config, overrides={"data": data, **overrides}).settings


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
    config: Config = None,
    data: Data = None,
    revision: Annotated[
        str, typer.Option(help="The Alembic revision to go to, up or down.")
    ] = "head",
) -> None:
    """Bring the database's tables to this version; `serve` does it by itself."""
    settings = load_settings(config, data)
    from rhapsode import bootstrap

    bootstrap.migrate(settings, revision)
    note(f"The database is at {revision}.")


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API."""
    from rhapsode import bootstrap

    emit_json(bootstrap.openapi())
