"""`rhapsode submit`: recordings to the server, transcripts back."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.connect import connect, run, uploads_folder
from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_text, error_line, note
from rhapsode.cli.progress import FileBar, bars
from rhapsode.cli.spec import (
    Engine,
    KeepMedia,
    Language,
    LayoutOption,
    MediaDays,
    Model,
    NotifyEmail,
    PriorityOption,
    Prompt,
    SpeakersOption,
    TranscriptDays,
    outputs_of,
    speakers_of,
    spec_of,
)
from rhapsode.cli.targets import Targets, ensure_apart, plan, save
from rhapsode.cli.wishes import WishOption, wishes_of
from rhapsode.domain.errors import DomainError, Invalid, Kind
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import TERMINAL, Job, JobState
from rhapsode.domain.media import clean_name
from rhapsode.domain.urls import name_in, shown

if TYPE_CHECKING:
    from rhapsode.client import Client, Wishes

_FOLLOW_TRIES = 30  # with the client's pauses, about five minutes without a server


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do with every recording."""

    spec: dict[str, Any]
    wishes: dict[str, Any]
    formats: tuple[Format, ...]
    folder: Path | None
    wait: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """What was named on the command line: a file, or a URL, which may carry secrets."""

    text: str

    @property
    def is_url(self) -> bool:
        """Whether the server shall fetch it."""
        return self.text.lower().startswith(("https://", "http://", "s3://"))

    @property
    def path(self) -> Path:
        """The file; of a URL, the name by which its transcript is saved."""
        return Path(clean_name(name_in(self.text)) if self.is_url else self.text)

    def __str__(self) -> str:
        return shown(self.text) if self.is_url else self.text


@dataclass(slots=True)
class Outcome:
    """What became of one recording."""

    recording: Recording
    targets: Targets = field(default_factory=dict)
    job: Job | None = None
    texts: dict[Format, str] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)
    error: DomainError | None = None
    begun: bool = False

    @property
    def is_half_sent(self) -> bool:
        """Whether another run would go on with its upload."""
        told = self.error is None or self.error.kind is Kind.UNAVAILABLE
        return self.begun and self.job is None and told

    @property
    def code(self) -> ExitCode:
        """The exit code, were this the only file."""
        return code_of(self.error) if self.error else ExitCode.OK


def submit(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE_OR_URL...",
            help="Audio or video files, or URLs: https://…, or s3://BUCKET/KEY where the "
            "server can read the bucket.",
        ),
    ],
    *,
    model: Model = None,
    engine: Engine = None,
    language: Language = None,
    layout: LayoutOption = None,
    speakers: SpeakersOption = None,
    prompt: Prompt = None,
    wishes: WishOption = None,
    priority: PriorityOption = None,
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
    deliver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="Have the server PUT this output to a URL, as in vtt=https://…",
            show_default=False,
        ),
    ] = None,
    keep_media: KeepMedia = False,
    notify_email: NotifyEmail = False,
    media_days: MediaDays = None,
    transcript_days: TranscriptDays = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Upload recordings or name URLs, follow their jobs, print or save the transcripts.

    What a URL leads to is fetched by the server's runner, not by this command. Ctrl-C
    leaves the jobs running. A recording that fails does not stop the others.
    """
    if formats and len(formats) > 1 and not output:
        raise typer.BadParameter("several formats need --output", param_hint="--format")
    if deliver and len(files) > 1:
        raise typer.BadParameter("goes with one recording only", param_hint="--deliver")
    order = Order(
        spec=spec_of(
            model=model,
            engine=engine,
            language=language,
            layout=layout,
            speakers=speakers_of(speakers, layout),
            prompt=prompt,
            priority=priority,
            **wishes_of(wishes),
        ),
        wishes={
            "keep": keep_media,
            "outputs": outputs_of(deliver, "--deliver"),
            "email": notify_email,
            "media_days": media_days,
            "transcript_days": transcript_days,
        },
        formats=tuple(formats or [Format.JSON if json and not output else Format.TXT]),
        folder=output,
        wait=wait,
    )
    outcomes = run(_submit([Recording(file) for file in files], order, server, api_key, json))
    if json:
        emit_json([_document(outcome) for outcome in outcomes])
    raise typer.Exit(combined(outcome.code for outcome in outcomes))


async def _submit(
    recordings: Sequence[Recording],
    order: Order,
    server: str | None,
    api_key: str | None,
    as_json: bool,  # noqa: FBT001
) -> list[Outcome]:
    planned = plan([it.path for it in recordings], order.folder, order.formats)
    outcomes = [Outcome(*pair) for pair in zip(recordings, planned, strict=True)]
    async with connect(server, api_key) as client:
        try:
            await _all(client, outcomes, order)
        finally:  # after Ctrl-C too: what is done is told, and what goes on
            for outcome in outcomes:
                _tell(outcome, order, quiet=as_json)
            _tell_half_sent(outcomes)
            if order.wait:
                _tell_running(outcomes)
    return outcomes


async def _all(client: "Client", outcomes: Sequence[Outcome], order: Order) -> None:
    """One upload at a time, so that the first job starts soon; jobs are followed together."""
    uploading = asyncio.Lock()
    sources = {it.recording.path for it in outcomes if not it.recording.is_url}
    with bars() as progress:
        async with asyncio.TaskGroup() as group:
            for outcome in outcomes:
                bar = FileBar(progress, outcome.recording.path.name, _size(outcome.recording))
                group.create_task(_one(client, outcome, order, uploading, bar, sources))


def _size(recording: Recording) -> int:
    sendable = not recording.is_url and recording.path.is_file()
    return recording.path.stat().st_size if sendable else 0


async def _one(
    client: "Client",
    outcome: Outcome,
    order: Order,
    uploading: asyncio.Lock,
    bar: FileBar,
    sources: set[Path],
) -> None:
    try:
        ensure_apart(outcome.targets.values(), sources)
        outcome.job = await _asked(client, outcome, order, uploading, bar)
        if order.wait:
            await _follow(client, outcome, bar)
            await _fetch(client, outcome, order)
    except DomainError as error:
        outcome.error = error
    except OSError as error:
        outcome.error = Invalid("file", f"{error.filename or ''}: {error.strerror}")
    bar.ended(_end(outcome))


async def _asked(
    client: "Client", outcome: Outcome, order: Order, uploading: asyncio.Lock, bar: FileBar
) -> Job:
    from rhapsode.client import Wishes

    wishes = Wishes(**order.wishes)
    if outcome.recording.is_url:
        return await client.submit(outcome.recording.text, order.spec, wishes)
    _ensure_file(outcome.recording.path)
    async with uploading:
        return await _upload(client, outcome, order, wishes, bar)


async def _upload(
    client: "Client", outcome: Outcome, order: Order, wishes: "Wishes", bar: FileBar
) -> Job:
    """The job of a recording; noted until then, so that the next run goes on with it."""
    from rhapsode.client import Notes

    notes = Notes(uploads_folder())
    outcome.begun = True
    file = outcome.recording.path
    media = await client.upload(file, report=bar.uploaded, notes=notes)
    job = await client.submit(media.id, order.spec, wishes)
    client.forget_upload(file, notes)
    return job


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
        if outcome.job.transcribed_at is None:
            raise _not_finished(outcome.job)
        outcome.error = _not_finished(outcome.job)  # and yet there is a transcript


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
        error_line(f"{outcome.recording}: {outcome.error.message}", outcome.error.hint)
    if quiet or (outcome.error and not outcome.texts):
        return
    if not order.wait and outcome.job:
        emit_text(str(outcome.job.id))
    elif outcome.written:
        emit_text("\n".join(map(str, outcome.written)))
    else:
        emit_text("".join(outcome.texts.values()))


def _tell_half_sent(outcomes: Sequence[Outcome]) -> None:
    files = [str(outcome.recording) for outcome in outcomes if outcome.is_half_sent]
    if files:
        note(f"Sent in part: {' '.join(files)}. The same command goes on where this stopped.")


def _tell_running(outcomes: Sequence[Outcome]) -> None:
    jobs = [item.job for item in outcomes if item.job and item.job.state not in TERMINAL]
    if jobs:
        ids = " ".join(str(job.id) for job in jobs)
        note(f"Still running on the server: {ids}")


def _document(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    text = outcome.texts.get(Format.JSON)
    return {
        "file": str(outcome.recording),
        "job": outcome.job,
        "written": outcome.written,
        "transcript": _parsed(text) if text else next(iter(outcome.texts.values()), None),
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def _parsed(text: str) -> Any:
    import json

    return json.loads(text)
