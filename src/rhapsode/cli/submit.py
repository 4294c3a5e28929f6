"""`rhapsode submit`: recordings to the server, transcripts back."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.connect import connect, run
from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_text, error_line, note
from rhapsode.cli.progress import FileBar, bars
from rhapsode.cli.targets import Targets, ensure_apart, plan, save
from rhapsode.domain.errors import DomainError, Invalid
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import TERMINAL, Job, JobState, Layout

if TYPE_CHECKING:
    from rhapsode.client import Client

_FOLLOW_TRIES = 30  # with the client's pauses, about five minutes without a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do with every file."""

    spec: dict[str, Any]
    formats: tuple[Format, ...]
    folder: Path | None
    wait: bool


@dataclass(slots=True)
class Outcome:
    """What became of one file."""

    file: Path
    targets: Targets = field(default_factory=dict)
    job: Job | None = None
    texts: dict[Format, str] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)
    error: DomainError | None = None

    @property
    def code(self) -> ExitCode:
        """The exit code, were this the only file."""
        return code_of(self.error) if self.error else ExitCode.OK


def submit(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Audio or video files.")
    ],
    *,
    model: Annotated[
        str | None, typer.Option(help="The model, as in `base`.", show_default=False)
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="The engine, where not the default.", show_default=False)
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="The spoken language, as in `de`; detected without.", show_default=False
        ),
    ] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="How the text is laid out.", show_default=False)
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Text that sets names, spelling, style.", show_default=False),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(min=0, max=2, help="0 batch, 1 normal, 2 urgent.", show_default=False),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the transcripts.")
    ] = True,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="The transcript's form.", show_default="txt"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Save into this folder.", show_default=False),
    ] = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Upload recordings, follow their jobs, and print or save the transcripts.

    Ctrl-C leaves the jobs running. A file that fails does not stop the others.
    """
    if formats and len(formats) > 1 and not output:
        raise typer.BadParameter("several formats need --output", param_hint="--format")
    spec = {
        "model": model,
        "engine": engine,
        "language": language,
        "layout": layout,
        "prompt": prompt,
        "priority": priority,
    }
    order = Order(
        spec={key: value for key, value in spec.items() if value is not None},
        formats=tuple(formats or [Format.JSON if json and not output else Format.TXT]),
        folder=output,
        wait=wait,
    )
    outcomes = run(_submit(files, order, server, api_key, as_json=json))
    if json:
        emit_json([_document(outcome) for outcome in outcomes])
    raise typer.Exit(combined(outcome.code for outcome in outcomes))


async def _submit(
    files: Sequence[Path],
    order: Order,
    server: str | None,
    api_key: str | None,
    *,
    as_json: bool,
) -> list[Outcome]:
    planned = plan(files, order.folder, order.formats)
    outcomes = [Outcome(*pair) for pair in zip(files, planned, strict=True)]
    async with connect(server, api_key) as client:
        try:
            await _all(client, outcomes, order)
        finally:  # after Ctrl-C too: what is done is told, and what goes on
            for outcome in outcomes:
                _tell(outcome, order, quiet=as_json)
            if order.wait:
                _tell_running(outcomes)
    return outcomes


async def _all(client: "Client", outcomes: Sequence[Outcome], order: Order) -> None:
    """One upload at a time, so that the first job starts soon; jobs are followed together."""
    uploading = asyncio.Lock()
    sources = {outcome.file for outcome in outcomes}
    with bars() as progress:
        async with asyncio.TaskGroup() as group:
            for outcome in outcomes:
                bar = FileBar(progress, outcome.file.name, _size(outcome.file))
                group.create_task(_one(client, outcome, order, uploading, bar, sources))


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


async def _one(
    client: "Client",
    outcome: Outcome,
    order: Order,
    uploading: asyncio.Lock,
    bar: FileBar,
    sources: set[Path],
) -> None:
    try:
        _ensure_file(outcome.file)
        ensure_apart(outcome.targets.values(), sources)
        async with uploading:
            media = await client.upload(outcome.file, report=bar.uploaded)
            outcome.job = await client.submit(media.id, order.spec)
        if order.wait:
            await _follow(client, outcome, bar)
            await _fetch(client, outcome, order)
    except DomainError as error:
        outcome.error = error
    except OSError as error:
        outcome.error = Invalid("file", f"{error.filename or ''}: {error.strerror}")
    bar.ended(_end(outcome))


def _ensure_file(file: Path) -> None:
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise Invalid("no_file", f"The file {what}.")


async def _follow(client: "Client", outcome: Outcome, bar: FileBar) -> None:
    if outcome.job is None:
        return
    async with aclosing(client.follow(outcome.job.id, tries=_FOLLOW_TRIES)) as changes:
        async for job in changes:
            outcome.job = job
            bar.job(job)
    if outcome.job.state is not JobState.FINISHED:
        raise _not_finished(outcome.job)


def _not_finished(job: Job) -> DomainError:
    if job.error:
        return Invalid(job.error.code, job.error.message, hint=f"The job is {job.id}.")
    return Invalid("job_ended", f"The job {job.id} was {job.state}.")


async def _fetch(client: "Client", outcome: Outcome, order: Order) -> None:
    if outcome.job is None:
        return
    for kind in order.formats:
        text = await client.transcript(outcome.job.id, kind)
        outcome.texts[kind] = text
        if target := outcome.targets.get(kind):
            await asyncio.to_thread(save, target, text)
            outcome.written.append(target)


def _end(outcome: Outcome) -> str:
    if outcome.error:
        return "failed"
    return outcome.job.state.value if outcome.job else ""


def _tell(outcome: Outcome, order: Order, *, quiet: bool) -> None:
    if outcome.error:
        error_line(f"{outcome.file}: {outcome.error.message}", outcome.error.hint)
    elif quiet:
        return
    elif not order.wait and outcome.job:
        emit_text(str(outcome.job.id))
    elif outcome.written:
        emit_text("\n".join(map(str, outcome.written)))
    else:
        emit_text("".join(outcome.texts.values()))


def _tell_running(outcomes: Sequence[Outcome]) -> None:
    jobs = [item.job for item in outcomes if item.job and item.job.state not in TERMINAL]
    if jobs:
        ids = " ".join(str(job.id) for job in jobs)
        note(f"Still running on the server: {ids}")


def _document(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    text = outcome.texts.get(Format.JSON)
    return {
        "file": str(outcome.file),
        "job": outcome.job,
        "written": outcome.written,
        "transcript": _parsed(text) if text else next(iter(outcome.texts.values()), None),
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def _parsed(text: str) -> Any:
    import json

    return json.loads(text)
