"""`rhapsode jobs, show, cancel, delete, retry`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.connect import connect, find_job, run
from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import ApiKey, JobIds, JobIdText, Json, ServerUrl
from rhapsode.cli.output import (
    clock,
    console,
    emit_json,
    emit_json_line,
    emit_table,
    emit_text,
    error_line,
    local,
    table,
)
from rhapsode.cli.spec import outputs_of
from rhapsode.domain.cues import Shaping
from rhapsode.domain.errors import DomainError
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import Job, JobId, JobState

if TYPE_CHECKING:
    from rhapsode.client import Client

_COLUMNS = ("id", "name", "state", "model", "language", "length", "created")
_SHORT_ID = 12  # the end of an id is random, its beginning is the time


def jobs(
    context: typer.Context,
    *,
    states: Annotated[
        list[JobState] | None,
        typer.Option("--state", help="Only jobs in this state.", show_default=False),
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Only names with this text.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, help="How many at most.")] = 50,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing changes.")] = False,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """List your jobs, the newest first; or see to what they deliver."""
    if context.invoked_subcommand is not None:
        return
    wanted = tuple(states or ())
    if watch:
        run(_watch(server, api_key, wanted, search, limit, as_json=json))
        return
    found = run(_listed(server, api_key, wanted, search, limit))
    if json:
        emit_json(found)
    else:
        emit_table(_COLUMNS, map(_row, found))


async def _listed(
    server: str | None,
    api_key: str | None,
    states: Sequence[JobState],
    search: str | None,
    limit: int,
) -> list[Job]:
    async with connect(server, api_key) as client:
        return await _page_through(client, states, search, limit)


async def _page_through(
    client: "Client", states: Sequence[JobState], search: str | None, limit: int
) -> list[Job]:
    found, cursor = list[Job](), None
    while len(found) < limit:
        page = await client.job_page(
            states=states, search=search, cursor=cursor, limit=min(200, limit - len(found))
        )
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    return found


async def _watch(
    server: str | None,
    api_key: str | None,
    states: Sequence[JobState],
    search: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Reads the list anew at each event, so that filters and order stay the server's."""
    from rich.live import Live

    async with connect(server, api_key) as client, aclosing(client.events()) as events:
        if as_json:
            async for name, data in events:
                emit_json_line({"event": name, "data": data})
            return
        found = await _page_through(client, states, search, limit)
        with Live(table(_COLUMNS, map(_row, found)), console=console()) as live:
            async for _ in events:
                found = await _page_through(client, states, search, limit)
                live.update(table(_COLUMNS, map(_row, found)))


def _row(job: Job) -> tuple[object, ...]:
    return (
        str(job.id)[-_SHORT_ID:],
        job.name,
        _standing(job),
        job.spec.model,
        job.language or job.spec.language,
        clock(job.duration),
        local(job.created_at),
    )


def _standing(job: Job) -> str:
    if job.state is JobState.RUNNING and job.progress:
        return f"{job.progress.stage} {job.progress.fraction:.0%}"
    return job.state.value


def show(
    job_id: JobIdText,
    *,
    kind: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Print the transcript so.", show_default=False),
    ] = None,
    chars_per_line: Annotated[
        int | None, typer.Option(min=1, help="For subtitles.", show_default=False)
    ] = None,
    lines_per_cue: Annotated[
        int | None, typer.Option(min=1, help="For subtitles.", show_default=False)
    ] = None,
    words_per_cue: Annotated[
        int | None, typer.Option(min=1, help="For subtitles.", show_default=False)
    ] = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Show a job, or with --format its transcript."""
    shaping = Shaping(chars_per_line, lines_per_cue, words_per_cue)
    found = run(_shown(server, api_key, job_id, kind, shaping))
    if isinstance(found, str):
        emit_text(found)
    elif json:
        emit_json({**asdict(found.job), "deliveries": found.deliveries})
    else:
        emit_table(("job", str(found.job.id)), details(found))


@dataclass(frozen=True, slots=True)
class Shown:
    """A job, and what it has sent or is to send."""

    job: Job
    deliveries: list[dict[str, Any]]


async def _shown(
    server: str | None, api_key: str | None, text: str, kind: Format | None, shaping: Shaping
) -> Shown | str:
    async with connect(server, api_key) as client:
        job_id = await find_job(client, text)
        if kind:
            return await client.transcript(job_id, kind, shaping)
        return Shown(await client.job(job_id), await client.deliveries(job_id))


def details(found: Shown) -> list[tuple[str, object]]:
    """What `show` tells of a job, line by line."""
    job, spec = found.job, found.job.spec
    return [
        ("name", job.name),
        *([("source", job.source.url)] if job.source else []),
        ("state", _standing(job)),
        ("attempt", f"{job.attempt} of {job.max_attempts}"),
        ("engine", f"{spec.engine}/{spec.model}"),
        ("language", job.language or spec.language or "to be detected"),
        ("layout", spec.layout.value),
        ("length", clock(job.duration)),
        ("runner", job.runner_name),
        ("created", local(job.created_at)),
        ("started", local(job.started_at)),
        ("transcribed", local(job.transcribed_at)),
        ("ended", local(job.finished_at)),
        *_sent(found.deliveries),
        *([("error", f"{job.error.message} ({job.error.code})")] if job.error else []),
        *[("warning", warning) for warning in job.warnings],
    ]


def _sent(deliveries: Sequence[Mapping[str, Any]]) -> list[tuple[str, object]]:
    """How many arrived, and a line for each that did not; what was called off counts not."""
    deliveries = [item for item in deliveries if item["state"] != "canceled"]
    if not deliveries:
        return []
    arrived = sum(item["state"] == "delivered" for item in deliveries)
    return [
        ("deliveries", f"{arrived} of {len(deliveries)} arrived"),
        *(
            (f"  {item['subject']}", f"{item['state']}: {item.get('error') or 'not sent yet'}")
            for item in deliveries
            if item["state"] != "delivered"
        ),
    ]


Act = Callable[["Client", JobId], Awaitable[Job | None]]


def cancel(
    job_ids: JobIds,
    *,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Call jobs off."""
    _for_each(job_ids, lambda client, job: client.cancel(job), server, api_key, as_json=json)


def retry(
    job_ids: JobIds,
    *,
    input_url: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="URL",
            help="A fresh URL of the recording, where the old one stopped working.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            metavar="NAME=URL",
            help="A fresh URL for this output, as in vtt=https://…",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Queue jobs again that failed, expired or were canceled.

    A job that has its transcript is not transcribed again: what was not delivered is sent
    again.
    """
    outputs = outputs_of(output, "--output")
    if len(job_ids) > 1 and (input_url or outputs):
        raise typer.BadParameter("goes with one job only", param_hint="--input, --output")

    async def act(client: "Client", job_id: JobId) -> Job:
        return await client.retry(job_id, url=input_url, outputs=outputs)

    _for_each(job_ids, act, server, api_key, as_json=json)


def delete(
    job_ids: JobIds,
    *,
    keep_media: Annotated[
        bool, typer.Option("--keep-media", help="Keep the recording.")
    ] = False,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Delete jobs with their transcripts and recordings, without asking."""

    async def act(client: "Client", job_id: JobId) -> None:
        await client.delete_job(job_id, keep_media=keep_media)

    _for_each(job_ids, act, server, api_key, as_json=json)


def _for_each(
    texts: Sequence[str],
    act: Act,
    server: str | None,
    api_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Do it to every job; one that fails does not stop the others."""
    results = run(_each(texts, act, server, api_key))
    for text, result in zip(texts, results, strict=True):
        if isinstance(result, DomainError):
            error_line(f"{text}: {result.message}", result.hint)
    if as_json:
        emit_json([_result(text, result) for text, result in zip(texts, results, strict=True)])
    raise typer.Exit(
        combined(
            code_of(result) if isinstance(result, DomainError) else ExitCode.OK
            for result in results
        )
    )


async def _each(
    texts: Sequence[str], act: Act, server: str | None, api_key: str | None
) -> list[Job | DomainError | None]:
    results: list[Job | DomainError | None] = []
    async with connect(server, api_key) as client:
        for text in texts:
            try:
                results.append(await act(client, await find_job(client, text)))
            except DomainError as error:
                results.append(error)
    return results


def _result(text: str, result: Job | DomainError | None) -> dict[str, Any]:
    if isinstance(result, DomainError):
        return {"id": text, "error": {"code": result.code, "message": result.message}}
    return {"id": text, "error": None, "job": result}
