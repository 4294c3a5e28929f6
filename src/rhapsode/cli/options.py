"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="RHAPSODE_SERVER",
        help="The server's address; without one, the one of `rhapsode login`, "
        "or http://127.0.0.1:8080.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="RHAPSODE_API_KEY",
        help="Your API key; better given by the environment or `rhapsode login`, "
        "because other users of this machine can see command lines.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="RHAPSODE_CONFIG",
        help="The settings file; without one, config.yml in the user's or site's folder.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="The folder for everything that is kept.", show_default=False),
]
JobIds = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", help="Jobs' ids; a unique beginning or end of one is enough."
    ),
]
JobIdText = Annotated[
    str,
    typer.Argument(metavar="ID", help="A job's id; a unique beginning or end is enough."),
]
