"""Reads recordings with one model in one way, in a process of its own: `python -m … ORDER`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rhapsode.domain.jobs import JobSpec
from rhapsode.engines import pipeline, registry
from rhapsode.engines.ahead import SpeechAhead
from rhapsode.engines.base import LoadSettings, Samples, TranscribeOptions, Transcriber
from tests.support import speech

OURS, BARE, WHOLE, SPLIT = "ours", "bare", "whole", "split"
"""Through the pipeline; by the library alone; by our engine in one call for the whole sound;
by our engine in blocks of half a minute."""

SPLIT_SECONDS = 30.0
_MARK = "rhapsode-read:"
_CHECKOUT = Path(__file__).resolve().parents[1]
Read = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Order:
    """What to read, how; `packages` is a folder with libraries that this Python lacks."""

    engine: str
    folder: Path
    way: str
    recordings: tuple[Path, ...]
    threads: int = 2
    hotwords: tuple[str, ...] = ()
    packages: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """What was read in one recording, and the seconds that it took: of the clock, of cores."""

    text: str
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in each recording, and the most memory that it took (bytes)."""

    texts: tuple[Text, ...]
    peak: int


def read(order: Order) -> Reading:
    """Done in a new process; RuntimeError with its last words where that fails."""
    command = [sys.executable, "-m", __name__, json.dumps(asdict(order), default=str)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_CHECKOUT)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            return Reading(tuple(Text(**text) for text in found["texts"]), found["peak"])
    raise RuntimeError(f"{order.engine} by {order.way}: {done.stderr[-2000:]}")


def _main() -> None:
    given = json.loads(sys.argv[1])
    given |= {"folder": Path(given["folder"]), "hotwords": tuple(given["hotwords"])}
    order = Order(**given | {"recordings": tuple(map(Path, given["recordings"]))})
    if order.packages:
        sys.path.append(order.packages)
    one = _way(order)
    one(speech.sample("jfk"))  # what a first call sets up is no recording's own
    texts = tuple(_timed(one, path) for path in order.recordings)
    print(f"\n{_MARK}{json.dumps(asdict(Reading(texts, _peak())))}", flush=True)
    os._exit(0)  # some libraries take their time, or crash, when they are unloaded


def _timed(one: Read, path: Path) -> Text:
    started, used = time.perf_counter(), time.process_time()
    text = one(path)
    return Text(text, time.perf_counter() - started, time.process_time() - used)


def _peak() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _way(order: Order) -> Read:
    if order.way == BARE:
        from bench.bare_libraries import bare

        call = bare(order.engine, order.folder, order.threads)
        return lambda path: call(_samples(path))
    settings = LoadSettings(device="cpu", threads=order.threads)
    transcriber = registry.ready(order.engine).load(order.folder, settings)
    if order.way == OURS:
        return lambda path: _piped(transcriber, path, order.hotwords)
    parts = _whole if order.way == WHOLE else _split
    return lambda path: _called(transcriber, parts(path))


def _piped(transcriber: Transcriber, path: Path, hotwords: Sequence[str]) -> str:
    spec = JobSpec(language="en", hotwords=tuple(hotwords))
    result = pipeline.run(path, spec, transcriber, lambda _: None, lambda: False)
    return " ".join(segment.text for segment in result.transcript.segments)


def _called(transcriber: Transcriber, parts: Iterator[Samples]) -> str:
    options = TranscribeOptions(language="en")
    return " ".join(
        segment.text
        for part in parts
        for segment in transcriber.transcribe(part, options, lambda: False)
    )


def _whole(path: Path) -> Iterator[Samples]:
    yield _samples(path)


def _split(path: Path) -> Iterator[Samples]:
    ahead = SpeechAhead(path, SPLIT_SECONDS)
    for block in ahead.blocks(lambda: False, lambda _: None):
        yield block.samples


def _samples(path: Path) -> Samples:
    from bench.clips import decoded

    return decoded(path)


if __name__ == "__main__":
    _main()
