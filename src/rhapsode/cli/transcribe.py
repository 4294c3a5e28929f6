"""`rhapsode transcribe`: recordings to text on this machine, without any server."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.options import Config, Json
from rhapsode.cli.output import emit_json, emit_text, error_line, note
from rhapsode.cli.spec import SpeakersOption, speakers_of
from rhapsode.cli.targets import Targets, ensure_apart, plan, save
from rhapsode.cli.wishes import WishOption, wishes_of
from rhapsode.domain.cues import Shaping
from rhapsode.domain.errors import DomainError, Invalid, NotFound
from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import (
    DEFAULT_ENGINE,
    DEFAULT_MODEL,
    MAX_PROMPT_CHARACTERS,
    JobSpec,
    Layout,
)
from rhapsode.domain.speakers import bounds_of

if TYPE_CHECKING:
    from rhapsode.engines.base import LoadSettings, Transcriber
    from rhapsode.engines.diarisers import Diariser, DiariserEngine
    from rhapsode.engines.pipeline import PipelineResult


@dataclass(frozen=True, slots=True)
class Order:
    """What to make of every file."""

    spec: JobSpec
    formats: tuple[Format, ...]
    shaping: Shaping
    folder: Path | None
    as_json: bool


def transcribe(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Audio or video files.")
    ],
    *,
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    engine: Annotated[str, typer.Option(help="The engine.")] = DEFAULT_ENGINE,
    language: Annotated[
        str | None,
        typer.Option(
            help="The spoken language, as in `de`; detected without.", show_default=False
        ),
    ] = None,
    layout: Annotated[
        Layout,
        typer.Option(
            help="How the text is laid out: lines, paragraphs at pauses, or by speaker."
        ),
    ] = Layout.SIMPLE,
    speakers: SpeakersOption = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Text that sets names, spelling, style.", show_default=False),
    ] = None,
    wishes: WishOption = None,
    word_times: Annotated[
        bool, typer.Option("--word-times/--no-word-times", help="Time every word.")
    ] = True,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="The transcript's form.", show_default="txt"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Save into this folder.", show_default=False),
    ] = None,
    chars_per_line: Annotated[
        int | None, typer.Option(min=1, help="Of srt and vtt.", show_default=False)
    ] = None,
    lines_per_cue: Annotated[
        int | None, typer.Option(min=1, help="Of srt and vtt.", show_default=False)
    ] = None,
    words_per_cue: Annotated[
        int | None, typer.Option(min=1, help="Of srt and vtt.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default=False)
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Transcribe recordings on this machine; needs no server, and fetches its model.

    A file that fails does not stop the others.
    """
    from rhapsode.engines.base import LoadSettings

    if formats and len(formats) > 1 and not output:
        raise typer.BadParameter("several formats need --output", param_hint="--format")
    counted = speakers_of(speakers, layout) or {}
    if prompt and len(prompt) > MAX_PROMPT_CHARACTERS:
        raise typer.BadParameter(
            f"at most {MAX_PROMPT_CHARACTERS} characters", param_hint="--prompt"
        )
    spec = JobSpec(
        engine=engine,
        model=model,
        language=language,
        layout=layout,
        word_times=word_times,
        prompt=prompt,
        speakers=bounds_of(counted.get("exact"), counted.get("min"), counted.get("max")),
    )
    spec = spec.wishing(wishes_of(wishes))
    order = Order(
        spec=spec,
        formats=tuple(formats or [Format.TXT]),
        shaping=Shaping(chars_per_line, lines_per_cue, words_per_cue),
        folder=output,
        as_json=json,
    )
    settings = LoadSettings(device=device, threads=threads)
    try:
        code = _transcribe(files, order, settings, config)
    except KeyboardInterrupt:
        # The engine's thread cannot be stopped inside a window, and must not be waited for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.INTERRUPTED)
    raise typer.Exit(code)


def _transcribe(
    files: Sequence[Path], order: Order, settings: "LoadSettings", config: Path | None
) -> ExitCode:
    engines = _loaded(order.spec, settings, config), _diariser(order.spec, settings, config)
    codes, documents = [], []
    planned = plan(files, order.folder, order.formats)
    for file, targets in zip(files, planned, strict=True):
        try:
            ensure_apart(targets.values(), files)
            result = _run(file, order.spec, *engines)
            _deliver(file, targets, result, order)
            documents.append(_document(file, result, list(targets.values())))
            codes.append(ExitCode.OK)
        except (DomainError, OSError) as raised:
            error = _as_domain(raised)
            error_line(f"{file}: {error.message}", error.hint)
            documents.append(_failure(file, error))
            codes.append(code_of(error))
    if order.as_json:
        emit_json(documents)
    return combined(codes)


def _loaded(spec: JobSpec, settings: "LoadSettings", config: Path | None) -> "Transcriber":
    from rhapsode.catalogue.entries import find_model, models_of
    from rhapsode.cli.models import open_store, pull_with_bar
    from rhapsode.engines import registry
    from rhapsode.engines.base import own_models

    engine = registry.ready(spec.engine)
    store = open_store(config)
    if spec.model in own_models(engine):
        return engine.load(store.folder / engine.name / spec.model, settings)
    model = find_model(spec.engine, spec.model)
    if model is None:
        known = [*own_models(engine), *(known.name for known in models_of(spec.engine))]
        names = ", ".join(known)
        raise NotFound(
            "unknown_model",
            f"There is no model {spec.engine}/{spec.model}.",
            hint=f"There are: {names}." if names else None,
        )
    if spec.language and spec.language not in model.languages:
        raise Invalid(
            "unsupported_language",
            f"The model '{model.name}' lacks '{spec.language}'.",
            hint=f"It knows: {', '.join(model.languages)}.",
        )
    return engine.load(pull_with_bar(store, model), settings)


def _diariser(
    spec: JobSpec, settings: "LoadSettings", config: Path | None
) -> "Diariser | None":
    """The best diariser of this machine, where the layout needs one."""
    if spec.layout is not Layout.DIARISATION:
        return None
    from rhapsode.catalogue.diarisers import find_diariser_model
    from rhapsode.cli.models import open_store, pull_with_bar
    from rhapsode.engines.diarisers import loaded

    store = open_store(config)

    def folder_of(engine: "DiariserEngine") -> Path:
        model = find_diariser_model(engine.name, engine.model) if engine.model else None
        return pull_with_bar(store, model) if model else store.folder / engine.name

    return loaded(folder_of, settings)


def _run(
    file: Path, spec: JobSpec, transcriber: "Transcriber", diariser: "Diariser | None"
) -> "PipelineResult":
    from rhapsode.cli.progress import bars
    from rhapsode.domain.jobs import Progress
    from rhapsode.engines import diarising, pipeline

    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise Invalid("no_file", f"The file {what}.")
    with bars() as progress:
        task = progress.add_task(file.name, total=1.0, stage="reading", bytes=False)

        def report(now: Progress) -> None:
            progress.update(task, completed=now.fraction, stage=now.stage)

        result = pipeline.run(file, spec, transcriber, report, lambda: False)
        if diariser is None:
            return result
        found = diarising.diarised(
            file, result.transcript, diariser, spec.speakers, report, lambda: False
        )
        return replace(result, transcript=found)


def _deliver(file: Path, targets: Targets, result: "PipelineResult", order: Order) -> None:
    """Print or save the transcript."""
    for warning in result.warnings:
        note(f"{file}: {warning}")
    if order.folder is None:
        if not order.as_json:
            emit_text(_rendered(result, order.formats[0], order))
            sys.stdout.flush()
        return
    for kind, target in targets.items():
        save(target, _rendered(result, kind, order))
    if not order.as_json:
        emit_text("\n".join(map(str, targets.values())))


def _rendered(result: "PipelineResult", kind: Format, order: Order) -> str:
    return render(result.transcript, kind, order.shaping, order.spec.layout)


def _document(file: Path, result: "PipelineResult", written: list[Path]) -> dict[str, Any]:
    return {
        "file": str(file),
        "transcript": result.transcript.to_dict(),
        "warnings": list(result.warnings),
        "written": written,
    }


def _failure(file: Path, error: DomainError) -> dict[str, Any]:
    return {"file": str(file), "error": {"code": error.code, "message": error.message}}


def _as_domain(error: DomainError | OSError) -> DomainError:
    if isinstance(error, DomainError):
        return error
    return Invalid("file", f"{error.filename or ''}: {error.strerror}")
