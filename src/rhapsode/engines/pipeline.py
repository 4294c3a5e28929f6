"""From a recording to a transcript: decode, find speech, transcribe block by block.

Decoding and finding speech run one block ahead in a thread, so the engine never waits for
them and no more than two blocks are in memory, however long the recording is.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.transcripts import Segment, Transcript, Word
from rhapsode.engines.audio import Decoder, probe
from rhapsode.engines.base import (
    Canceled,
    Canceling,
    LanguageGuess,
    TranscribeOptions,
    Transcriber,
)
from rhapsode.engines.blocks import Block, BlockBuilder, SpeechCutter, in_recording_time
from rhapsode.engines.turns import texts_between

STAGE = "transcribing"
"""The stage that this reports; whoever loads the model reports `loading` before."""

SPLIT_SECONDS = 1.5
"""A pause as long as this inside a segment parts it in two."""

_POLL_SECONDS = 0.2

Report = Callable[[Progress], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The transcript, and what a person should know about how it came about."""

    transcript: Transcript
    warnings: tuple[str, ...] = ()


def run(
    path: Path,
    spec: JobSpec,
    transcriber: Transcriber,
    report: Report,
    canceled: Canceling,
    duration: float | None = None,
) -> PipelineResult:
    """Transcribes the recording at `path` as `spec` says.

    `report` gets a rising fraction of the recording's `duration` (seconds; looked up where it
    is None). Raises Canceled within 2 s of `canceled` becoming true, Invalid for a recording
    that cannot be read or a language that the model lacks, Unavailable for a failing engine.
    """
    meter = _ProgressMeter(report, duration or probe(path).duration)
    meter.reached(0.0)
    ahead = SpeechAhead(path)
    work = _Work(spec, transcriber, canceled, meter)
    try:
        for block in ahead.blocks(canceled, meter.reached):
            work.transcribe(block)
    finally:
        ahead.stop()
    meter.finished()
    length = round(ahead.decoder.seconds, 3)
    transcript = Transcript(
        language=work.language.language if work.language and work.segments else None,
        duration=length,
        segments=tidied(work.segments, length),
        language_probability=work.probability if work.segments else None,
    )
    return PipelineResult(transcript, ahead.decoder.warnings())


@dataclass
class _Work:
    """What is carried from block to block."""

    spec: JobSpec
    transcriber: Transcriber
    canceled: Canceling
    meter: "_ProgressMeter"
    language: LanguageGuess | None = None
    segments: list[Segment] = field(default_factory=list)

    @property
    def probability(self) -> float | None:
        """How sure the language is; None where the asker named it."""
        if self.spec.language or self.language is None:
            return None
        return round(self.language.probability, 4)

    def transcribe(self, block: Block) -> None:
        options = TranscribeOptions(
            language=self._language_of(block),
            word_times=self.spec.word_times,
            prompt=self.spec.prompt,
        )
        for segment in self.transcriber.transcribe(block.samples, options, self.canceled):
            restored = in_recording_time(segment, block)
            self.segments += split_at_silence(restored)
            self.meter.reached(restored.end)
        self.meter.reached(block.end_seconds)

    def _language_of(self, block: Block) -> str:
        """Named by the asker, or heard in the first block with speech, and then kept."""
        if self.spec.language:
            self.language = LanguageGuess(self.spec.language, 1.0)
        elif self.language is None:
            self.language = _awaited(
                lambda: self.transcriber.detect_language(block.samples), self.canceled
            )
        return self.language.language


def _awaited(work: Callable[[], Result], canceled: Canceling) -> Result:
    """What `work` returns; on a cancel it is left to end by itself, in its own thread."""
    outcome: Future[Result] = Future()

    def body() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            outcome.set_exception(error)

    threading.Thread(target=body, name="listening", daemon=True).start()
    while not canceled():
        try:
            return outcome.result(timeout=_POLL_SECONDS)
        except TimeoutError:
            if outcome.done():
                raise
    raise Canceled


class SpeechAhead:
    """Decodes a recording in a thread and hands out its blocks, at most one ahead."""

    def __init__(self, path: Path) -> None:
        self.decoder = Decoder(path)
        self._ready: queue.Queue[Block | Exception | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._cleared = 0.0
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def blocks(self, canceled: Canceling, reached: Callable[[float], None]) -> Iterator[Block]:
        """The blocks in order; while none is there, tells how much silence was passed."""
        self._thread.start()
        while True:
            if canceled():
                raise Canceled
            try:
                item = self._ready.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                reached(self._cleared)
                continue
            self._ready.task_done()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def stop(self) -> None:
        """Ends the thread and waits for it: it looks up after every few seconds of sound."""
        self._stop.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._ready.get_nowait()
                self._ready.task_done()
            self._thread.join(timeout=_POLL_SECONDS / 10)

    def _run(self) -> None:
        try:
            for block in self._cut():
                self._put(block)
            self._put(None)
        except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            self._put(error)

    def _cut(self) -> Iterator[Block]:
        cutter, builder = SpeechCutter(), BlockBuilder()
        for samples in self.decoder.blocks():
            if self._stop.is_set():
                return
            for piece in cutter.feed(samples):
                if block := builder.add(piece):
                    yield block
            held = builder.held_since
            self._cleared = cutter.cleared if held is None else held
        for piece in cutter.finish():
            if block := builder.add(piece):
                yield block
        if block := builder.finish():
            yield block

    def _put(self, item: Block | Exception | None) -> None:
        """Hands it over, and waits until it is taken before decoding what comes after it."""
        self._ready.put(item)
        self._ready.join()


class _ProgressMeter:
    """Reports a fraction that never falls, and 1 only at the end."""

    def __init__(self, report: Report, duration: float | None) -> None:
        self._report = report
        self._duration = duration
        self._last = -1.0

    def reached(self, seconds: float) -> None:
        share = min(seconds / self._duration, 0.999) if self._duration else 0.0
        self._tell(round(share, 4))

    def finished(self) -> None:
        self._tell(1.0)

    def _tell(self, fraction: float) -> None:
        if fraction > self._last:
            self._last = fraction
            self._report(Progress(STAGE, fraction))


def split_at_silence(segment: Segment) -> list[Segment]:
    """The segment in parts where a long silence runs through it.

    The engine did not hear the silence that was left out, so it may have put the words of
    both sides into one segment, which would stand on a screen all the while.
    """
    words = segment.words
    seams = [
        index
        for index, (before, after) in enumerate(pairwise(words), start=1)
        if after.start - before.end >= SPLIT_SECONDS
    ]
    texts = texts_between(segment.text, words, seams)
    bounds = pairwise([0, *seams, len(words)])
    if not seams or not texts:
        return [segment]
    return [
        Segment(words[start].start, words[end - 1].end, text, segment.speaker, words[start:end])
        for text, (start, end) in zip(texts, bounds, strict=True)
    ]


def tidied(segments: list[Segment], duration: float) -> tuple[Segment, ...]:
    """Times to the millisecond, in order and inside the recording; empty segments dropped."""
    clock = _Clock(duration)
    return tuple(_tidy(segment, clock) for segment in segments if segment.text)


def _tidy(segment: Segment, clock: "_Clock") -> Segment:
    if not segment.words:
        start = clock.next(segment.start)
        return Segment(start, clock.next(segment.end), segment.text, segment.speaker)
    words = tuple(
        Word(clock.next(word.start), clock.next(word.end), word.text, word.probability)
        for word in segment.words
    )
    return Segment(words[0].start, words[-1].end, segment.text, segment.speaker, words)


class _Clock:
    """Never runs backwards, nor past the end."""

    def __init__(self, duration: float) -> None:
        self._now, self._end = 0.0, duration

    def next(self, seconds: float) -> float:
        self._now = min(max(self._now, round(seconds, 3)), self._end)
        return self._now
