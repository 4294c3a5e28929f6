"""Every command, under its name."""

import platform
from typing import Annotated

import typer

from rhapsode import __version__
from rhapsode.cli import (
    deliveries,
    jobs,
    login,
    models,
    s3,
    server,
    settings,
    tokens,
    users,
    voices,
    webhooks,
)
from rhapsode.cli.audit import audit
from rhapsode.cli.calibrate import calibrate
from rhapsode.cli.engines import engines
from rhapsode.cli.group import Group
from rhapsode.cli.options import Json
from rhapsode.cli.output import emit_json, emit_text
from rhapsode.cli.runner import runner
from rhapsode.cli.submit import submit
from rhapsode.cli.transcribe import transcribe

app = typer.Typer(
    name="rhapsode",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A self-hosted speech platform: from a recording to its transcript.",
)

LOCAL, CLIENT, SERVER = "On this machine", "With a server", "The server and its runners"


@app.callback()
def root(
    *,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
) -> None:
    """Takes what stands before the command; Group reads `debug`."""


def version(*, json: Json = False) -> None:
    """Print the version."""
    if json:
        emit_json({"rhapsode": __version__, "python": platform.python_version()})
    else:
        emit_text(__version__)


app.command(rich_help_panel=LOCAL)(transcribe)
app.command(rich_help_panel=LOCAL)(engines)
app.command(rich_help_panel=LOCAL)(calibrate)
app.add_typer(models.app, name="models", rich_help_panel=LOCAL)
app.command(rich_help_panel=CLIENT)(submit)
app.add_typer(deliveries.app, name="jobs", rich_help_panel=CLIENT)
app.command(rich_help_panel=CLIENT)(jobs.show)
app.command(rich_help_panel=CLIENT)(jobs.cancel)
app.command(rich_help_panel=CLIENT)(jobs.retry)
app.command(rich_help_panel=CLIENT)(jobs.delete)
app.add_typer(s3.app, name="s3", rich_help_panel=CLIENT)
app.add_typer(voices.app, name="voices", rich_help_panel=CLIENT)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=CLIENT)
app.command(rich_help_panel=CLIENT)(login.login)
app.command(rich_help_panel=CLIENT)(login.logout)
app.command(rich_help_panel=SERVER)(server.serve)
app.command(rich_help_panel=SERVER)(runner)
app.add_typer(users.app, name="user", rich_help_panel=SERVER)
app.add_typer(tokens.app, name="token", rich_help_panel=SERVER)
app.command(rich_help_panel=SERVER)(audit)
app.command(rich_help_panel=SERVER)(server.migrate)
app.add_typer(settings.app, name="settings", rich_help_panel=SERVER)
app.command(rich_help_panel=SERVER)(server.openapi)
app.command(rich_help_panel=LOCAL)(version)
