"""The child's work: models in memory, one run at a time, every failure an answer."""

import errno
import json
import logging
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.errors import DomainError, Kind, Unavailable
from rhapsode.domain.jobs import JobSpec, Layout, Progress
from rhapsode.domain.runners import Capabilities
from rhapsode.domain.transcripts import Segment, Transcript
from rhapsode.engines import diarising, pipeline, registry
from rhapsode.engines.base import Canceled, Engine, LoadSettings, Transcriber
from rhapsode.runner.calibrations import Calibrations, asked_for
from rhapsode.runner.capabilities import capabilities
from rhapsode.runner.config import ChildSettings, key_of
from rhapsode.runner.diarising import DiariserShelf
from rhapsode.runner.messages import (
    LOADING,
    Advanced,
    Answer,
    Command,
    Done,
    Failed,
    Heard,
    Holding,
    Loaded,
    Logged,
    Perform,
    Prepare,
    Stopped,
)
from rhapsode.runner.models import ensure_whole, folder_bytes, model_folder
from rhapsode.runner.shelf import Shelf

_REPORT_SECONDS = 0.2
"""News of the same stage go out no more often than this."""

_MOST_MESSAGE = 500

Say = Callable[[Answer], None]
log = structlog.get_logger()


class Workshop:
    """Handles commands one after the other; `cancel` may be called from another thread."""

    def __init__(self, settings: ChildSettings, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._store = ModelStore(
            settings.models_folder,
            settings.mirror_folder,
            hub=settings.hub,
            registry=settings.registry,
        )
        self._calibrations = Calibrations(settings.models_folder)
        self._diarisers = DiariserShelf(settings, self._store)
        self._canceled: str | None = None
        self._over: str | None = None
        self._engines = registry.discover(careful=settings.careful)
        self._shelf = Shelf(
            settings.memory_budget,
            settings.idle_seconds,
            frozenset(key_of(name) for name in settings.keep),
            lambda models: say(Holding(models)),
        )

    def capabilities(self) -> Capabilities:
        """What can be done here."""
        return capabilities(self._engines, self._settings, self._store, self._calibrations)

    def next_due(self) -> float | None:
        """Seconds until `tidy` will have something to do; None where it never will."""
        return self._shelf.next_due()

    def tidy(self) -> None:
        """Unload models that were idle for too long."""
        self._shelf.tidy()

    def cancel(self, run: str) -> None:
        """Make this run stop at the next occasion."""
        self._canceled = run

    def handle(self, command: Command) -> None:
        """Do it; whatever goes wrong becomes the final answer about its run."""
        if command.run == self._over:
            return
        try:
            self._do(command)
        except Canceled:
            self._answer(Stopped(command.run))
        except Exception as error:  # noqa: BLE001 (engines and media: anything can come out)
            self._answer(failure_of(command.run, error))

    def _do(self, command: Command) -> None:
        run = _Run(command.run, self._say, lambda: self._canceled == command.run)
        run.check()
        if isinstance(command, Prepare):
            started = time.monotonic()
            self._transcriber(command.spec, run)
            self._say(Loaded(command.run, round(time.monotonic() - started, 3)))
        elif isinstance(command, Perform):
            self._perform(command, run)
        else:
            raise Canceled

    def _perform(self, command: Perform, run: "_Run") -> None:
        started = time.monotonic()
        transcriber = self._transcriber(command.spec, run)
        result = pipeline.run(
            Path(command.media),
            command.spec,
            transcriber,
            run.report,
            run.canceled,
            command.duration,
            _Telling(command, self._say).heard,
        )
        run.check()
        transcript = self._with_speakers(command, result.transcript, run)
        document = {
            "transcript": transcript.to_stored(),
            "warnings": list(result.warnings),
        }
        with Path(command.result).open("w", encoding="utf-8") as file:
            json.dump(document, file, ensure_ascii=False)
        self._answer(Done(command.run, round(time.monotonic() - started, 3)))

    def _with_speakers(
        self, command: Perform, transcript: Transcript, run: "_Run"
    ) -> Transcript:
        if command.spec.layout is not Layout.DIARISATION:
            return transcript
        return diarising.diarised(
            Path(command.media),
            transcript,
            self._diarisers.diariser(asked_for(self._settings), run),
            command.spec.speakers,
            run.report,
            run.canceled,
        )

    def _answer(self, final: Done | Failed | Stopped) -> None:
        self._over = final.run
        self._say(final)

    def _transcriber(self, spec: JobSpec, run: "_Run") -> Transcriber:
        """The model that the spec asks for, loaded where it is not in memory."""
        key = (spec.engine, spec.model)
        self._shelf.tidy()
        if (held := self._shelf.find(key)) is not None:
            return held
        engine = self._engine(spec.engine)
        folder = model_folder(self._store, engine, spec.model, self._settings, run)
        run.report(Progress(LOADING, 0.0))
        transcriber = self._shelf.load(
            key, folder_bytes(folder), lambda: self._loaded(engine, folder)
        )
        run.check()
        return transcriber

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            raise registry.unknown_engine(name, self._engines)
        return self._engines[name]

    def _loaded(self, engine: Engine, folder: Path) -> Transcriber:
        asked = asked_for(self._settings)
        version = registry.probed(engine).detail
        best = self._calibrations.settings(engine.name, version, folder.name, asked)
        if best != asked:
            try:
                return engine.load(folder, best)
            except Unavailable as error:
                log.warning("not loaded as calibrated", model=folder.name, error=str(error))
        return self._loaded_as(asked, engine, folder)

    def _loaded_as(self, settings: LoadSettings, engine: Engine, folder: Path) -> Transcriber:
        try:
            return engine.load(folder, settings)
        except Unavailable:
            ensure_whole(self._store, engine, folder.name)
            raise


class _Telling:
    """Tells of segments as they come, where the job wants that and speakers do not matter."""

    def __init__(self, command: Perform, say: Say) -> None:
        self._run, self._say = command.run, say
        spec = command.spec
        self._wanted = spec.partials and spec.layout is not Layout.DIARISATION
        self._told = 0

    def heard(self, segments: Sequence[Segment]) -> None:
        """The pipeline's `heard`; words stay here, the text is what somebody waits for."""
        if self._wanted and segments:
            bare = tuple(replace(segment, words=()) for segment in segments)
            self._say(Heard(self._run, self._told, bare))
            self._told += len(bare)


class _Run:
    """What the pipeline sees of a run: somewhere to report to, and whether to stop."""

    def __init__(self, name: str, say: Say, canceled: Callable[[], bool]) -> None:
        self._name = name
        self._say = say
        self.canceled = canceled
        self._stage = ""
        self._due = 0.0

    def check(self) -> None:
        """Raise Canceled once the run is canceled."""
        if self.canceled():
            raise Canceled

    def report(self, progress: Progress) -> None:
        """Pass progress on, thinned out."""
        now = time.monotonic()
        if progress.stage != self._stage or now >= self._due:
            self._stage, self._due = progress.stage, now + _REPORT_SECONDS
            self._say(Advanced(self._name, progress))


def failure_of(run: str, error: Exception) -> Failed:
    """What to tell about an error; only unusable input makes further attempts pointless."""
    if isinstance(error, DomainError):
        return Failed(run, error.code, str(error), permanent=error.kind is Kind.INVALID)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return storage_full(run)
    if isinstance(error, MemoryError):
        return Failed(run, "runner_out_of_memory", "The runner has too little memory for it.")
    log.error("engine error", run=run, exc_info=error)
    return Failed(run, "engine_error", _one_line(error))


def storage_full(run: str) -> Failed:
    """The failure where the runner's disk has no room."""
    return Failed(run, "runner_storage_full", "The runner's disk is full.")


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    text = f"The engine failed: {type(error).__name__}{': ' + words if words else ''}"
    return text[:_MOST_MESSAGE]


def send_logs(say: Say) -> None:
    """Make this process's log lines, structlog's and the standard library's, messages."""

    def forward(_: object, level: str, event: MutableMapping[str, Any]) -> str:
        name = str(event.pop("event", ""))
        say(Logged(level, name, {key: _plain(value) for key, value in event.items()}))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, forward])
    logging.basicConfig(level=logging.WARNING, handlers=[_Forwarder()], force=True)


class _Forwarder(logging.Handler):
    """The standard library's records, on their way to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        event = {"logger": record.name}
        if record.exc_info:
            event["exception"] = logging.Formatter().formatException(record.exc_info)
        log.log(record.levelno, record.getMessage(), **event)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
