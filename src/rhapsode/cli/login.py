"""`rhapsode login` and `rhapsode logout`: which server the other commands talk to."""

from typing import Annotated

import typer

from rhapsode.cli.connect import DEFAULT_SERVER, Login, login_file, run, save_login
from rhapsode.cli.output import note


def login(
    server: Annotated[
        str,
        typer.Argument(metavar="[URL]", help="The server's address.", envvar="RHAPSODE_SERVER"),
    ] = DEFAULT_SERVER,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="RHAPSODE_API_KEY", help="Your API key; asked for.", show_default=False
        ),
    ] = None,
) -> None:
    """Check an API key and keep it for the next commands, readable only by you."""
    key = api_key or typer.prompt("API key", hide_input=True)
    chosen = Login(server.rstrip("/"), key.strip())
    email = run(_who(chosen))
    path = save_login(chosen)
    note(f"Signed in to {chosen.server} as {email}; kept in {path}.")


async def _who(login: Login) -> str:
    from rhapsode.client import Client

    async with Client(login.server, login.api_key) as client:
        return (await client.me()).email


def logout() -> None:
    """Forget the kept API key."""
    login_file().unlink(missing_ok=True)
