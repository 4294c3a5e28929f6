"""Faster-whisper's windows decoded several at a time: faster where the hardware has room.

No word is cut, since the windows part at pauses. The library's batches try each window once,
at temperature 0; one that fails Whisper's own checks is decoded again by itself, with the
rising temperatures that it would have had without a batch.
"""

import zlib
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np

from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.blocks import Block, cut, in_recording_time

MOST_COMPRESSED = 2.4
"""Text that shrinks by more than this when compressed says the same again and again."""

LEAST_LIKELY = -1.0
"""A mean log-probability of tokens below this is guessing."""

NO_SPEECH = 0.6
"""Guessing, and no speech with this probability: there was nothing to hear."""

Made = Callable[[Any], Segment]
"""The library's segment as ours."""


def segments(
    model: Any, samples: Samples, batch: int, arguments: dict[str, Any], made: Made
) -> Iterator[Segment]:
    """What is said in these samples; `arguments` are those of `WhisperModel.transcribe`."""
    from faster_whisper import BatchedInferencePipeline

    pipeline = BatchedInferencePipeline(model)
    coming = cut(samples)
    while windows := tuple(islice(coming, batch)):
        row = _row(windows)
        found = _decoded(pipeline, row, windows, arguments)
        for window, heard in zip(windows, found, strict=True):
            if _is_doubtful(heard):
                again, _ = model.transcribe(window.samples, **arguments)
                yield from (in_recording_time(made(item), window) for item in again)
            elif not _is_nothing(heard):
                yield from (in_recording_time(made(item), row) for item in heard)


def _row(windows: tuple[Block, ...]) -> Block:
    """The windows one after the other, and the way back from there."""
    begins = np.cumsum([0, *(len(window.samples) for window in windows)]).tolist()
    offsets = [
        begin + offset
        for begin, window in zip(begins, windows, strict=False)
        for offset in window.offsets
    ]
    return Block(
        samples=np.concatenate([window.samples for window in windows]),
        starts=tuple(start for window in windows for start in window.starts),
        ends=tuple(end for window in windows for end in window.ends),
        offsets=tuple(offsets),
    )


def _decoded(
    pipeline: Any, row: Block, windows: tuple[Block, ...], arguments: dict[str, Any]
) -> list[list[Any]]:
    """The library's segments of each window."""
    begins = np.cumsum([0, *(len(window.samples) for window in windows)]).tolist()
    # Half a sample more, since the library cuts what is behind the point off.
    marks = [(begin + 0.5) / SAMPLE_RATE for begin in begins]
    clips = [{"start": start, "end": end} for start, end in pairwise(marks)]
    found, _ = pipeline.transcribe(
        row.samples,
        clip_timestamps=clips,
        batch_size=len(windows),
        without_timestamps=False,
        **arguments,
    )
    heard: list[list[Any]] = [[] for _ in windows]
    for segment in found:
        middle = (segment.start + segment.end) / 2 * SAMPLE_RATE
        index = int(np.searchsorted(begins, middle, side="right")) - 1
        heard[min(max(index, 0), len(windows) - 1)].append(segment)
    return heard


def _is_doubtful(heard: list[Any]) -> bool:
    """Whether Whisper would try the window again at a higher temperature."""
    text = "".join(item.text for item in heard).encode()
    if text and len(text) / len(zlib.compress(text)) > MOST_COMPRESSED:
        return True
    return _is_guessed(heard) and not _is_nothing(heard)


def _is_nothing(heard: list[Any]) -> bool:
    return _is_guessed(heard) and heard[0].no_speech_prob > NO_SPEECH


def _is_guessed(heard: list[Any]) -> bool:
    return bool(heard) and heard[0].avg_logprob < LEAST_LIKELY
