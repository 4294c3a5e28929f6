"""Cuts a stream of sound into blocks of speech, in bounded memory and never inside a word.

Two steps. `SpeechCutter` follows the speech probabilities, drops what is no speech, and
breaks the rest into pieces at every pause. `BlockBuilder` glues pieces into blocks of at most
MAX_BLOCK_SECONDS, parted at the longest pause that the last minutes offered.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from rhapsode.domain.transcripts import Segment, Word
from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.vad import WINDOW, WINDOW_SECONDS, SpeechMeter

SPEECH_BEGINS = 0.5
SPEECH_ENDS = 0.35
"""Probabilities between the two change nothing: a voice fading is still that voice."""

MIN_SPEECH_WINDOWS = 3
"""Shorter bursts (96 ms) are clicks: noise crosses the threshold once in many hours."""

MAX_PAUSE_SECONDS = 2.0
"""A longer silence is left out of the block; a shorter one stays, for the rhythm of speech."""

PAD_SECONDS = 0.4
"""Sound that is kept around speech, since first and last consonants are soft."""

MIN_PAUSE_WINDOWS = 3
MAX_PIECE_SECONDS = 30.0
MAX_BLOCK_SECONDS = 300.0
EARLIEST_CUT_SECONDS = 180.0
"""A block is cut at its longest pause after this much speech, so that few blocks are short."""

_PAD = int(PAD_SECONDS * SAMPLE_RATE)
_MAX_PAUSE_WINDOWS = round(MAX_PAUSE_SECONDS / WINDOW_SECONDS)
_MAX_PIECE = int(MAX_PIECE_SECONDS * SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Piece:
    """Speech up to a pause: where it starts in the recording (samples), and the pause (s)."""

    start: int
    samples: Samples
    pause: float

    @property
    def end(self) -> int:
        """The sample after the last one."""
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class Block:
    """Pieces of speech joined, and the way back to the recording's own time."""

    samples: Samples
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    offsets: tuple[int, ...]

    @property
    def end_seconds(self) -> float:
        """Where in the recording its last speech ends."""
        return self.ends[-1] / SAMPLE_RATE

    def original(self, start: float, end: float) -> tuple[float, float]:
        """A span of this block in the recording's time; it lands where its middle was."""
        index = max(0, bisect_right(self.offsets, (start + end) / 2 * SAMPLE_RATE) - 1)
        return self._at(index, start), self._at(index, end)

    def original_point(self, seconds: float, *, is_end: bool) -> float:
        """One moment; at a seam, an end belongs to what was before, a start to what follows."""
        sample = seconds * SAMPLE_RATE - (0.5 if is_end else -0.5)
        return self._at(max(0, bisect_right(self.offsets, sample) - 1), seconds)

    def _at(self, index: int, seconds: float) -> float:
        start, end = self.starts[index], self.ends[index]
        moved = start + seconds * SAMPLE_RATE - self.offsets[index]
        return min(max(moved, start), end) / SAMPLE_RATE


def in_recording_time(segment: Segment, block: Block) -> Segment:
    """The segment of a block, with the recording's times."""
    words = tuple(
        Word(*block.original(word.start, word.end), word.text, word.probability)
        for word in segment.words
    )
    if words:
        return Segment(words[0].start, words[-1].end, segment.text, segment.speaker, words)
    start = block.original_point(segment.start, is_end=False)
    end = block.original_point(segment.end, is_end=True)
    return Segment(start, max(start, end), segment.text, segment.speaker)


class SpeechCutter:
    """Turns sound into pieces of speech; holds at most one piece's worth of it."""

    def __init__(self) -> None:
        self._meter = SpeechMeter()
        self._buffer: Samples = np.zeros(0, np.float32)
        self._origin = 0  # the recording's sample at which the buffer begins
        self._window = 0  # windows judged so far
        self._piece: int | None = None  # where the piece under way begins
        self._quiet: int | None = None  # the window since which nobody speaks
        self._speech = 0  # windows of speech in the region under way
        self._whole_region = True  # no piece of this region was handed out yet
        self._recent: list[float] = []  # probabilities since the piece began

    @property
    def cleared(self) -> float:
        """Seconds of the recording of which nothing is held back any more."""
        at = self._piece if self._piece is not None else self._window * WINDOW
        return at / SAMPLE_RATE

    def feed(self, samples: Samples) -> Iterator[Piece]:
        """The pieces that these samples complete."""
        self._buffer = np.concatenate([self._buffer, samples])
        judged = self._window * WINDOW - self._origin
        whole = (len(self._buffer) - judged) // WINDOW * WINDOW
        probabilities = self._meter.probabilities(self._buffer[judged : judged + whole])
        yield from self._follow(probabilities)
        self._forget()

    def finish(self) -> Iterator[Piece]:
        """The last piece, if somebody spoke to the very end."""
        rest = self._buffer[self._window * WINDOW - self._origin :]
        yield from self._follow(self._meter.probabilities(rest))
        if self._piece is not None:
            end = self._origin + len(self._buffer)
            if self._quiet is not None:
                end = min(end, self._quiet * WINDOW + _PAD)
            yield from self._closed(end)

    def _follow(self, probabilities: NDArray[np.float32]) -> Iterator[Piece]:
        for probability in probabilities.tolist():
            if self._piece is not None:
                self._recent.append(probability)
            if probability >= SPEECH_BEGINS:
                yield from self._spoken()
            elif probability < SPEECH_ENDS and self._piece is not None:
                yield from self._silent()
            self._window += 1
            if self._piece is not None and self._length() >= _MAX_PIECE:
                yield self._forced()

    def _spoken(self) -> Iterator[Piece]:
        if self._piece is None:
            self._piece = max(self._origin, self._window * WINDOW - _PAD)
            self._speech, self._whole_region, self._recent = 0, True, []
        elif self._quiet is not None:
            pause = self._window - self._quiet
            if pause >= MIN_PAUSE_WINDOWS:
                middle = (self._quiet + self._window) * WINDOW // 2
                yield self._cut(middle, pause * WINDOW_SECONDS)
        self._quiet = None
        self._speech += 1

    def _silent(self) -> Iterator[Piece]:
        if self._quiet is None:
            self._quiet = self._window
        if self._window + 1 - self._quiet >= _MAX_PAUSE_WINDOWS:
            yield from self._closed(self._quiet * WINDOW + _PAD)

    def _closed(self, end: int) -> Iterator[Piece]:
        if not (self._whole_region and self._speech < MIN_SPEECH_WINDOWS):
            yield self._cut(end, MAX_PAUSE_SECONDS)
        self._piece = self._quiet = None
        self._recent = []

    def _forced(self) -> Piece:
        """Thirty seconds without a pause: cut where speech was least likely of late."""
        tail = self._recent[-len(self._recent) // 3 :]
        back = len(tail) - tail.index(min(tail))
        at = (self._window - back) * WINDOW + WINDOW // 2
        # A silence that is under way must not seem to begin before the cut.
        if self._quiet is not None:
            self._quiet = max(self._quiet, self._window - back + 1)
        return self._cut(at, 0.0)

    def _cut(self, end: int, pause: float) -> Piece:
        start = self._piece or 0
        samples = self._buffer[start - self._origin : end - self._origin].copy()
        self._piece, self._whole_region, self._recent = end, False, []
        return Piece(start, samples, pause)

    def _length(self) -> int:
        return self._window * WINDOW - (self._piece or 0)

    def _forget(self) -> None:
        """Drops sound that no piece can need: all but the pad before a coming word."""
        keep = self._piece if self._piece is not None else self._window * WINDOW - _PAD
        if (drop := keep - self._origin) > 0:
            self._buffer = self._buffer[drop:].copy()
            self._origin += drop


class BlockBuilder:
    """Glues pieces into blocks of at most `most` seconds, cut after `earliest` if it can be.

    `most` must not be less than a piece can have.
    """

    def __init__(
        self, most: float = MAX_BLOCK_SECONDS, earliest: float = EARLIEST_CUT_SECONDS
    ) -> None:
        self._most, self._earliest = most * SAMPLE_RATE, earliest * SAMPLE_RATE
        self._held: list[Piece] = []
        self._length = 0

    @property
    def held_since(self) -> float | None:
        """Where in the recording the oldest held piece starts, None where none is held."""
        return self._held[0].start / SAMPLE_RATE if self._held else None

    def add(self, piece: Piece) -> Block | None:
        """A block, where this piece fills one."""
        self._held.append(piece)
        self._length += len(piece.samples)
        if self._length <= self._most:
            return None
        return self._taken(self._best_cut())

    def finish(self) -> Block | None:
        """What is left."""
        return self._taken(len(self._held)) if self._held else None

    def _best_cut(self) -> int:
        """How many pieces to take: up to the longest pause, the latest where several tie.

        The last piece goes over the limit, so it always stays for the next block.
        """
        ends = np.cumsum([len(piece.samples) for piece in self._held])[:-1]
        late = [i for i, end in enumerate(ends) if end >= self._earliest]
        late = late or [len(ends) - 1]
        return max(late, key=lambda i: (self._held[i].pause, i)) + 1

    def _taken(self, count: int) -> Block:
        taken, self._held = self._held[:count], self._held[count:]
        self._length = sum(len(piece.samples) for piece in self._held)
        return joined(taken)


def joined(pieces: Iterable[Piece]) -> Block:
    """One block of these pieces; at least one."""
    parts = tuple(pieces)
    lengths = [len(part.samples) for part in parts]
    samples = _own_pages(sum(lengths))
    np.concatenate([part.samples for part in parts], out=samples)
    return Block(
        samples=samples,
        starts=tuple(part.start for part in parts),
        ends=tuple(part.end for part in parts),
        offsets=tuple(np.cumsum([0, *lengths[:-1]]).tolist()),
    )


def _own_pages(count: int) -> Samples:
    """Room for a block that goes back to the system with it.

    From the heap, megabytes that come and go between small things would leave holes behind,
    and a long recording would slowly cost more memory than a short one.
    """
    return np.frombuffer(mmap(-1, max(1, count) * 4), dtype=np.float32)[:count]


def cut(samples: Samples, most: float = MAX_PIECE_SECONDS) -> Iterator[Block]:
    """The speech in these samples as blocks of at most `most` seconds (30 or more).

    For models that hear no more than that at once. Made one by one, as they are asked for.
    """
    cutter, builder = SpeechCutter(), BlockBuilder(most, most / 2)
    step = int(MAX_PIECE_SECONDS * SAMPLE_RATE)
    for start in range(0, len(samples), step):
        for piece in cutter.feed(samples[start : start + step]):
            if (block := builder.add(piece)) is not None:
                yield block
    for piece in cutter.finish():
        if (block := builder.add(piece)) is not None:
            yield block
    if (last := builder.finish()) is not None:
        yield last
