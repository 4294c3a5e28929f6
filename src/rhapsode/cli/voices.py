"""`rhapsode voices …`: what speakers are called, and voices that are known again."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import typer

from rhapsode.cli.connect import connect, ensure_long_enough, find_job, run
from rhapsode.cli.group import Group
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_table, note
from rhapsode.domain.errors import Invalid, NotFound
from rhapsode.domain.jobs import Job, JobState

if TYPE_CHECKING:
    from rhapsode.client import Client
    from rhapsode.client.voices import Voices

Result = TypeVar("Result")

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Speakers: their names in a transcript, and voices that are known again.",
)

_SHORT_ID = 12
_FOLLOW_TRIES = 30

JobIdArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]


def _with(
    server: str | None,
    api_key: str | None,
    work: Callable[["Client", "Voices"], Awaitable[Result]],
) -> Result:
    async def inside() -> Result:
        from rhapsode.client.voices import Voices

        async with connect(server, api_key) as client:
            return await work(client, Voices(client.http))

    return run(inside())


@app.command("list")
def list_(*, json: Json = False, server: ServerUrl = None, api_key: ApiKey = None) -> None:
    """List the voices that you enrolled."""
    found = _with(server, api_key, lambda _, voices: voices.all())
    if json:
        emit_json(found)
        return
    rows = [(item["id"][-_SHORT_ID:], item["name"], item["created_at"]) for item in found]
    emit_table(("id", "name", "since"), rows)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose voice it is.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="RECORDING|JOB",
            help="A file in which only this person speaks, ten seconds or more; or the id "
            "of a finished job.",
        ),
    ],
    *,
    speaker: Annotated[
        str | None,
        typer.Option(help="Which of the job's speakers, as it calls them.", show_default=False),
    ] = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Enrol a voice: later transcripts by speaker name it themselves."""
    job_id = _as_id(source)
    if job_id is None and not Path(source).is_file():
        raise typer.BadParameter(f"{source} is neither a file nor a job's id")

    async def work(client: "Client", voices: "Voices") -> dict[str, Any]:
        if job_id is not None:
            return await voices.add(name, job_id, speaker)
        job = await _listened(client, Path(source))
        try:
            return await voices.add(name, job.id)
        finally:
            await client.delete_job(job.id)

    made = _with(server, api_key, work)
    if json:
        emit_json(made)
    else:
        note(f"The voice of {made['name']} is known from now on.")


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _listened(client: "Client", path: Path) -> Job:
    """A finished job over the recording of one person."""
    media = await client.upload(path)
    spec = {"layout": "diarisation", "speakers": {"exact": 1}}
    job = await client.submit(media.id, spec)
    async for seen in client.follow(job.id, tries=_FOLLOW_TRIES):
        job = seen
    if job.state is not JobState.FINISHED:
        reason = job.error.message if job.error else ""
        raise Invalid("voice_unheard", f"The recording's job is {job.state}. {reason}".strip())
    return job


@app.command()
def remove(
    voice_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="Its id; a unique beginning or end is enough."),
    ],
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Forget a voice; names that it gave stay."""

    async def work(_: "Client", voices: "Voices") -> None:
        await voices.remove(await _find(voices, voice_id))

    _with(server, api_key, work)
    note("It is forgotten.")


async def _find(voices: "Voices", text: str) -> str:
    piece = text.strip().lower()
    ensure_long_enough(piece)
    ids = [str(item["id"]) for item in await voices.all()]
    found = [item for item in ids if item.startswith(piece) or item.endswith(piece)]
    if not found:
        raise NotFound("voice_not_found", f"No voice of yours has an id like '{text[:40]}'.")
    if len(found) > 1:
        raise Invalid("ambiguous_id", f"'{text}' fits {len(found)} of them.")
    return found[0]


@app.command()
def speakers(
    job_id: JobIdArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OLD=NEW...",
            help="New names, as in 'Speaker 1=Anna'; without any, the speakers are listed.",
            show_default=False,
        ),
    ] = None,
    *,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """List a transcript's speakers, or give them other names in every format."""
    wanted = _pairs(names or [])

    async def work(client: "Client", voices: "Voices") -> list[dict[str, Any]]:
        job = await find_job(client, job_id)
        return await (voices.rename(job, wanted) if wanted else voices.speakers(job))

    found = _with(server, api_key, work)
    if json:
        emit_json(found)
        return
    rows = [
        (it["name"], f"{it['seconds']:.0f} s", "yes" if it["can_enrol"] else "no")
        for it in found
    ]
    emit_table(("name", "speaks", "can be enrolled"), rows)


def _pairs(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old or not new or old in found:
            raise typer.BadParameter(
                "each is OLD=NEW, as in 'Speaker 1=Anna', and each once", param_hint="OLD=NEW"
            )
        found[old] = new
    return found
