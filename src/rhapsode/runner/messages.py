"""What supervisor and child say to each other: one JSON object a line.

The supervisor answers for a run until the child has said exactly one of Done, Failed or
Stopped about it. Nothing large goes through the pipe: a result is handed over as a file.
"""

import json
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import TypeAdapter

from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.runners import Capabilities
from rhapsode.domain.transcripts import Segment

FETCHING_MODEL = "fetching model"
LOADING = "loading"
"""Stages before the pipeline's own. Fetching minds its own time-outs."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load the model of this run, while its recording is still on the way."""

    run: str
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class Perform:
    """Transcribe the file at `media` (`duration` in seconds, None where unknown).

    The result document goes to the file `result`.
    """

    run: str
    spec: JobSpec
    media: str
    result: str
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop working on this run."""

    run: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The child is up; this is what it can do."""

    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Advanced:
    """News of a run's progress."""

    run: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Heard:
    """Segments of a run as they come; `first` is how many were told of before."""

    run: str
    first: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model of this run is in memory, after this many seconds (about 0: it was already)."""

    run: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """The result of this run is written, after this many seconds of work."""

    run: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The run failed; `permanent` where another attempt cannot do better.

    `expired` where the recording's URL does not work any more.
    """

    run: str
    code: str
    message: str
    permanent: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was stopped by request."""

    run: str


@dataclass(frozen=True, slots=True)
class Holding:
    """The models that are in memory now, `engine/model`, the last used last."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logged:
    """A line for the supervisor's log."""

    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


Command = Prepare | Perform | Cancel
Final = Done | Failed | Stopped
Answer = Ready | Holding | Advanced | Heard | Loaded | Final | Logged

_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in (*get_args(Command), *get_args(Answer))
}


def encode(message: Command | Answer) -> bytes:
    """The message as a line."""
    kind = type(message).__name__
    body = _ADAPTERS[kind].dump_python(message, mode="json")
    return json.dumps({"kind": kind, **body}).encode() + b"\n"


def decode(line: bytes) -> Any:
    """The message of a line; ValueError or KeyError where it is none."""
    document = json.loads(line)
    return _ADAPTERS[document.pop("kind")].validate_python(document)
