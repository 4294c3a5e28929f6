"""From a recording to a transcript: decode, find speech, transcribe block by block.

Decoding and finding speech run one block ahead in a thread, so the engine never waits for
them and no more than two blocks are in memory, however long the recording is.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.language_names import NAMES
from rhapsode.domain.transcripts import Segment, Transcript, Word
from rhapsode.engines.ahead import SpeechAhead, awaited
from rhapsode.engines.audio import probe
from rhapsode.engines.base import Canceling, LanguageGuess, TranscribeOptions, Transcriber
from rhapsode.engines.blocks import MAX_BLOCK_SECONDS, Block, in_recording_time
from rhapsode.engines.turns import texts_between
from rhapsode.engines.wishes import ensure_heeded, unheeded, without_punctuation

STAGE = "transcribing"
"""The stage that this reports; whoever loads the model reports `loading` before."""

SPLIT_SECONDS = 1.5
"""A pause as long as this inside a segment parts it in two."""

OFTEN_SECONDS = 30.0
"""So long at most is a block where the language is looked for in each: a piece's length."""

SURE_OF_SWITCH = 0.6

Report = Callable[[Progress], None]
Heard = Callable[[Sequence[Segment]], None]


def nobody(_: Sequence[Segment]) -> None:
    """A Heard that nobody is."""


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
    heard: Heard = nobody,
) -> PipelineResult:
    """Transcribes the recording at `path` as `spec` says.

    `heard` is told of segments as they come, before their times are tidied.

    `report` gets a rising fraction of the recording's `duration` (seconds; looked up where it
    is None). Raises Canceled within 2 s of `canceled` becoming true, Invalid for a recording
    that cannot be read or a language that the model lacks, Unavailable for a failing engine.
    """
    meter = _ProgressMeter(report, duration or probe(path).duration)
    meter.reached(0.0)
    ensure_heeded(spec, transcriber)
    ahead = SpeechAhead(path, OFTEN_SECONDS if spec.mixed_languages else MAX_BLOCK_SECONDS)
    work = _Work(spec, transcriber, canceled, meter, heard)
    try:
        for block in ahead.blocks(canceled, meter.reached):
            work.transcribe(block)
    finally:
        ahead.stop()
    meter.finished()
    length = round(ahead.decoder.seconds, 3)
    transcript = Transcript(
        language=work.text_language,
        duration=length,
        segments=tidied(work.segments, length),
        language_probability=work.probability if work.segments else None,
    )
    warnings = (*ahead.decoder.warnings(), *unheeded(spec, transcriber), *work.warnings())
    return PipelineResult(transcript, warnings)


@dataclass
class _Work:
    """What is carried from block to block."""

    spec: JobSpec
    transcriber: Transcriber
    canceled: Canceling
    meter: "_ProgressMeter"
    heard: Heard
    language: LanguageGuess | None = None
    segments: list[Segment] = field(default_factory=list)

    @property
    def probability(self) -> float | None:
        """How sure the language is; None where the asker named it, or there are several."""
        if self.spec.language or self.spec.mixed_languages or self.language is None:
            return None
        return round(self.language.probability, 4)

    @property
    def text_language(self) -> str | None:
        """The text's language: the one spoken longest, unless it was translated."""
        if self.language is None or not self.segments:
            return None
        if self.spec.translate_to:
            return self.spec.translate_to
        return self._spoken_longest() if self.spec.mixed_languages else self.language.language

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the text."""
        if self.language is None or not self.spec.translate_to or not self.segments:
            return ()
        name = NAMES.get(self.language.language, self.language.language).title()
        return (f"The text is a translation from {name}, made by the model.",)

    def transcribe(self, block: Block) -> None:
        spec = self.spec
        options = TranscribeOptions(
            language=self._language_of(block),
            word_times=spec.word_times,
            prompt=spec.prompt,
            hotwords=spec.hotwords,
            translate=spec.translate_to is not None,
            temperature=spec.temperature,
            numerals=spec.numerals,
        )
        for segment in self.transcriber.transcribe(block.samples, options, self.canceled):
            restored = in_recording_time(segment, block)
            self._take(split_at_silence(restored))
            self.meter.reached(restored.end)
        self.meter.reached(block.end_seconds)

    def _take(self, segments: list[Segment]) -> None:
        if not self.spec.punctuation:
            segments = [without_punctuation(segment) for segment in segments]
        if self.spec.mixed_languages and self.language is not None:
            segments = [replace(it, language=self.language.language) for it in segments]
        self.segments += segments
        self.heard(segments)

    def _language_of(self, block: Block) -> str:
        """Named by the asker, or heard in the first block with speech, and then kept."""
        if self.spec.language:
            self.language = LanguageGuess(self.spec.language, 1.0)
        elif self.language is None or self.spec.mixed_languages:
            guess = awaited(
                lambda: self.transcriber.detect_language(block.samples), self.canceled
            ).among(self.spec.languages)
            # A few words tell little; somebody who goes on speaking is likelier than a switch.
            if self.language is None or guess.probability >= SURE_OF_SWITCH:
                self.language = guess
        return self.language.language

    def _spoken_longest(self) -> str | None:
        seconds: defaultdict[str | None, float] = defaultdict(float)
        for segment in self.segments:
            seconds[segment.language] += segment.end - segment.start
        return max(seconds, key=lambda language: seconds[language])


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
        return replace(segment, start=start, end=clock.next(segment.end))
    words = tuple(
        Word(clock.next(word.start), clock.next(word.end), word.text, word.probability)
        for word in segment.words
    )
    return replace(segment, start=words[0].start, end=words[-1].end, words=words)


class _Clock:
    """Never runs backwards, nor past the end."""

    def __init__(self, duration: float) -> None:
        self._now, self._end = 0.0, duration

    def next(self, seconds: float) -> float:
        self._now = min(max(self._now, round(seconds, 3)), self._end)
        return self._now
