"""Options of every command that makes jobs: what to do, whom to tell, how long to keep it."""

from typing import Annotated, Any

import typer

from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import Layout
from rhapsode.domain.speakers import bounds_of

Model = Annotated[str | None, typer.Option(help="The model, as in `base`.", show_default=False)]
Engine = Annotated[
    str | None, typer.Option(help="The engine, where not the default.", show_default=False)
]
Language = Annotated[
    str | None,
    typer.Option(help="The spoken language, as in `de`; detected without.", show_default=False),
]
LayoutOption = Annotated[
    Layout | None,
    typer.Option("--layout", help="How the text is laid out.", show_default=False),
]
Prompt = Annotated[
    str | None, typer.Option(help="Text that sets names, spelling, style.", show_default=False)
]
PriorityOption = Annotated[
    int | None,
    typer.Option(
        "--priority", min=0, max=2, help="0 batch, 1 normal, 2 urgent.", show_default=False
    ),
]
SpeakersOption = Annotated[
    str | None,
    typer.Option(
        "--speakers",
        metavar="N|MIN-MAX",
        help="How many speakers to tell apart: 2, 2-5, 2- or -5; needs the layout diarisation.",
        show_default=False,
    ),
]
NotifyEmail = Annotated[
    bool, typer.Option("--notify-email", help="Have an e-mail sent at each job's end.")
]
KeepMedia = Annotated[
    bool, typer.Option("--keep-media", help="Keep what is fetched from a URL on the server.")
]
MediaDays = Annotated[
    float | None,
    typer.Option(
        min=0, help="Delete the recording so many days after the end.", show_default=False
    ),
]
TranscriptDays = Annotated[
    float | None,
    typer.Option(
        min=0, help="Delete the transcript so many days after the end.", show_default=False
    ),
]


def spec_of(**given: Any) -> dict[str, Any]:
    """What of a job's spec was named on the command line; the rest is the server's default."""
    return {name: value for name, value in given.items() if value is not None}


def speakers_of(text: str | None, layout: Layout | None) -> dict[str, int] | None:
    """`N` or `MIN-MAX`, either end open, as the API's `speakers`; a usage error for others."""
    if text is None:
        return None
    if layout is not Layout.DIARISATION:
        raise typer.BadParameter("needs --layout diarisation", param_hint="--speakers")
    low, dash, high = (part.strip() for part in text.partition("-"))
    given = {"min": low, "max": high} if dash else {"exact": low}
    try:
        found = {name: int(number) for name, number in given.items() if number}
        bounds_of(found.get("exact"), found.get("min"), found.get("max"))
    except ValueError as error:
        raise typer.BadParameter(
            "is as in 2, 2-5, 2- or -5", param_hint="--speakers"
        ) from error
    except DomainError as error:
        raise typer.BadParameter(error.message, param_hint="--speakers") from error
    return found


def outputs_of(pairs: list[str] | None, option: str) -> dict[str, str]:
    """`NAME=URL` pairs by name; a usage error for what is none, or comes twice."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, url = pair.partition("=")
        if not equals or not url or name in found:
            raise typer.BadParameter(
                "each is NAME=URL, as in vtt=https://…, and each name once", param_hint=option
            )
        found[name] = url
    return found
