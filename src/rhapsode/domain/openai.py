"""OpenAI's documents of a transcript, rendered from ours."""

import math
import zlib
from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any

from rhapsode.domain.language_names import NAMES
from rhapsode.domain.transcripts import Segment, Transcript, Word

Document = dict[str, Any]


class Granularity(StrEnum):
    """Of what `verbose_json` gives the times."""

    WORD = "word"
    SEGMENT = "segment"


def plain(transcript: Transcript) -> Document:
    """`json`: the text alone."""
    return {"text": transcript.text, "usage": usage(transcript)}


def verbose(
    transcript: Transcript, wanted: Collection[Granularity], temperature: float, task: str
) -> Document:
    """`verbose_json`. What only Whisper's decoder knows of a segment is derived or neutral:
    `avg_logprob` from the words' probabilities, `tokens` empty, `no_speech_prob` 0.
    """
    document = {
        "task": task,
        "language": NAMES.get(transcript.language or "", transcript.language or ""),
        "duration": transcript.duration,
        "text": transcript.text,
        "usage": usage(transcript),
    }
    if Granularity.SEGMENT in wanted:
        document["segments"] = [
            segment_document(number, segment, temperature)
            for number, segment in enumerate(transcript.segments)
        ]
    if Granularity.WORD in wanted:
        document["words"] = [
            {"word": word.text.strip(), "start": word.start, "end": word.end}
            for segment in transcript.segments
            for word in segment.words
        ]
    return document


def segment_document(number: int, segment: Segment, temperature: float) -> Document:
    """One segment as Whisper itself tells of it."""
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": _mean_log(segment.words),
        "compression_ratio": _compression(segment.text),
        "no_speech_prob": 0.0,
    }


def _mean_log(words: Collection[Word]) -> float:
    """The mean natural logarithm of the words' probabilities; 0 where none is known."""
    known = [word.probability for word in words if word.probability is not None]
    return sum(math.log(max(p, 1e-9)) for p in known) / len(known) if known else 0.0


def _compression(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def diarized(transcript: Transcript) -> Document:
    """`diarized_json`: the segments with their speakers."""
    return {
        "task": "transcribe",
        "duration": transcript.duration,
        "text": transcript.text,
        "segments": list(speaker_segments(transcript.segments)),
        "usage": usage(transcript),
    }


def speaker_segments(segments: Collection[Segment], first: int = 0) -> Iterator[Document]:
    """Segments as `diarized_json` and its stream tell of them, numbered from `first`."""
    for number, segment in enumerate(segments, start=first):
        yield {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": segment.start,
            "end": segment.end,
            "speaker": segment.speaker or "A",
            "text": segment.text,
        }


def delta(segment: Segment, *, first: bool) -> Document:
    """The event of some more text; all of them joined are the whole."""
    return {
        "type": "transcript.text.delta",
        "delta": segment.text if first else f" {segment.text}",
    }


class Telling:
    """Makes the events of a stream: text as it comes, and at the end what was not told yet."""

    def __init__(self, speakers: bool) -> None:  # noqa: FBT001
        self._speakers = speakers
        self._told = 0

    def told(self, item: Segment | Transcript) -> Iterator[Document]:
        """The events of a segment, or of the whole at the end."""
        if isinstance(item, Segment):
            yield from self._segment(item)
            return
        for segment in item.segments[self._told :]:
            yield from self._segment(segment)
        yield done(item)

    def _segment(self, segment: Segment) -> Iterator[Document]:
        yield delta(segment, first=self._told == 0)
        if self._speakers:
            yield from speaker_segments([segment], first=self._told)
        self._told += 1


def done(transcript: Transcript) -> Document:
    """The event of the end, with the whole text."""
    return {
        "type": "transcript.text.done",
        "text": transcript.text,
        "usage": usage(transcript),
    }


def usage(transcript: Transcript) -> Document:
    """What would be billed: the length, in seconds."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}
