"""One measurement of one model, in a process of its own (`python -m … ORDER`).

Native code may crash, hang, or hold threads that the next settings should not meet.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rhapsode.domain.errors import DomainError
from rhapsode.domain.jobs import JobSpec
from rhapsode.domain.transcripts import Transcript
from rhapsode.engines import pipeline, registry
from rhapsode.engines.base import Choices, LoadSettings, Transcriber, choices

_MARK = "rhapsode-measured:"


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure: the best of two readings of a recording of so many seconds."""

    engine: str
    folder: Path
    settings: LoadSettings
    recording: Path
    seconds: float
    language: str | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Audio seconds per second, the text, and what the engine would have tried besides."""

    speed: float
    text: str
    choices: Choices


def measured(order: Order, patience: float) -> Measured | str:
    """What another process measured within `patience` seconds, or why there is nothing."""
    command = [sys.executable, "-m", __name__, json.dumps(asdict(order), default=str)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {patience:.0f} s"
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            return str(found) if isinstance(found, str) else Measured(**found)
    return f"its process ended with {done.returncode}"


def _measure(order: Order) -> Measured:
    engine = registry.ready(order.engine)
    transcriber = engine.load(order.folder, order.settings)
    readings = [_read(transcriber, order) for _ in range(2)]
    seconds = min(seconds for seconds, _ in readings)
    return Measured(
        speed=round(order.seconds / seconds, 2),
        text=readings[-1][1],
        choices=choices(engine, order.settings),
    )


def _read(transcriber: Transcriber, order: Order) -> tuple[float, str]:
    """The seconds that it takes as a job would, without its model's loading; and the text."""
    spec = JobSpec(language=order.language)
    started = time.perf_counter()
    result = pipeline.run(
        order.recording, spec, transcriber, lambda _: None, lambda: False, order.seconds
    )
    return time.perf_counter() - started, _text(result.transcript)


def _text(transcript: Transcript) -> str:
    return " ".join(segment.text for segment in transcript.segments)


def _main() -> None:
    given = json.loads(sys.argv[1])
    paths = {name: Path(given[name]) for name in ("folder", "recording")}
    order = Order(**given | paths | {"settings": LoadSettings(**given["settings"])})
    try:
        answer: object = asdict(_measure(order))
    except DomainError as error:
        answer = error.message
    print(f"\n{_MARK}{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    _main()
