"""Hears a recording window by window, and keeps who was active when and how they sounded.

The listening network tells voices apart within its ten seconds, but it was trained on
conversations and now and then takes two readers for one. So a voice is measured in pieces of
about a second and a half; where these disagree, the voice is two.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rhapsode.engines.base import SAMPLE_RATE, Canceled, Canceling, Samples
from rhapsode.engines.voiceprint.clusters import Bounds, cluster
from rhapsode.engines.voiceprint.listening import (
    FRAME_CENTRE,
    FRAME_STEP,
    FRAMES,
    VOICES,
    WINDOW,
    Activity,
    Listener,
)
from rhapsode.engines.voiceprint.sounding import LEAST_FRAMES, Vector, VoiceMeter, unit
from rhapsode.engines.voiceprint.spectrum import LENGTH, STEP, spectra

WINDOW_STEP = 222
"""Frames from one window to the next (3.75 s): each moment is heard two or three times."""

FRAME_SECONDS = FRAME_STEP / SAMPLE_RATE

_PIECE_FRAMES = 90
_LEAST_PIECE_FRAMES = 40
_ENOUGH_ALONE_FRAMES = 30
_ONE_VOICE = 0.35
"""Mean cosine below which the pieces of what seemed one voice are two."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Heard:
    """One voice in one window: in which frames, alone for how many seconds, and its sound."""

    window: int
    packed: bytes
    alone: float
    vector: NDArray[np.float16]

    @property
    def active(self) -> Mask:
        """(FRAMES,) whether the voice speaks."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=FRAMES).astype(bool)


@dataclass
class Hearing:
    """Everything that was heard: a few hundred bytes for each voice of each window."""

    windows: int = 0
    voices: list[Heard] = field(default_factory=list)


def listen(
    blocks: Iterable[Samples], listener: Listener, meter: VoiceMeter, canceled: Canceling
) -> Hearing:
    """Hears the whole recording; raises Canceled once it is called off."""
    heard = Hearing()
    for window, length in _windows(blocks):
        if canceled():
            raise Canceled
        activity = listener.activity(window[None])[0]
        activity[max(0, (length - FRAME_CENTRE) // FRAME_STEP + 1) :] = False
        for active, alone, vector in _voices(window, activity, meter):
            packed = np.packbits(active).tobytes()
            heard.voices.append(Heard(heard.windows, packed, alone, vector.astype(np.float16)))
        heard.windows += 1
    return heard


def _windows(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, int]]:
    """Windows that overlap, with the samples that count; the last is filled up with zeros."""
    step = WINDOW_STEP * FRAME_STEP
    held: Samples = np.zeros(0, np.float32)
    new = 0  # samples that no window had yet
    for block in blocks:
        held, new = np.concatenate([held, block]), new + len(block)
        while len(held) >= WINDOW:
            yield held[:WINDOW], WINDOW
            held = held[step:]
            new = max(0, len(held) - (WINDOW - step))
    if new:
        yield np.pad(held, (0, WINDOW - len(held))), len(held)


def _voices(
    window: Samples, activity: Activity, meter: VoiceMeter
) -> Iterator[tuple[Mask, float, Vector]]:
    sound = _Sound(window, meter) if activity.any() else None
    single = activity.sum(axis=1) == 1
    for voice in range(VOICES):
        active = activity[:, voice]
        if sound is not None and active.any():
            yield from _parted(active, active & single, sound)


class _Sound:
    """The spectra of a window, by the frames that the listener speaks of."""

    def __init__(self, window: Samples, meter: VoiceMeter) -> None:
        self._spectra = spectra(window)
        centres = np.arange(len(self._spectra)) * STEP + LENGTH // 2
        frames = np.rint((centres - FRAME_CENTRE) / FRAME_STEP).astype(int)
        self._frames = np.clip(frames, 0, FRAMES - 1)
        self._meter = meter

    def vector(self, mask: Mask) -> Vector | None:
        """The voice in these frames, None where they are too few to tell."""
        rows = self._spectra[mask[self._frames]]
        return self._meter.vector(rows) if len(rows) >= LEAST_FRAMES else None


def _parted(active: Mask, alone: Mask, sound: _Sound) -> Iterator[tuple[Mask, float, Vector]]:
    """The voice, or the voices that it turns out to be."""
    pieces = list(_pieces(alone))
    if not pieces:
        vector = sound.vector(alone if alone.sum() >= _ENOUGH_ALONE_FRAMES else active)
        if vector is not None:
            yield active, float(alone.sum()) * FRAME_SECONDS, vector
        return
    vectors = np.array([sound.vector(_span(*piece)) for piece in pieces], np.float64)
    weights = np.array([end - start for start, end in pieces], np.float64)
    labels = cluster(vectors, weights, _ONE_VOICE, Bounds())
    owner = labels[_nearest(pieces)]
    for number in range(int(labels.max()) + 1):
        mine, own = active & (owner == number), labels == number
        vector = unit((vectors[own] * weights[own, None]).sum(axis=0))
        yield mine, float((mine & alone).sum()) * FRAME_SECONDS, vector


def _pieces(mask: Mask) -> Iterator[tuple[int, int]]:
    """Runs of frames, long ones cut evenly; runs that are too short to tell are left out."""
    for start, end in runs(mask):
        count = max(1, round((end - start) / _PIECE_FRAMES))
        edges = np.rint(np.linspace(start, end, count + 1)).astype(int)
        for first, last in pairwise(edges.tolist()):
            if last - first >= _LEAST_PIECE_FRAMES:
                yield first, last


def runs(mask: Mask) -> Iterator[tuple[int, int]]:
    """Where it is true: (first, one after the last)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    for start, end in zip(changes[::2], changes[1::2], strict=True):
        yield int(start), int(end)


def _span(start: int, end: int) -> Mask:
    frames = np.arange(FRAMES)
    return (frames >= start) & (frames < end)


def _nearest(pieces: list[tuple[int, int]]) -> NDArray[np.int64]:
    """For each frame the piece that is nearest."""
    frames = np.arange(FRAMES)
    away = [np.maximum(start - frames, frames - end + 1) for start, end in pieces]
    return np.asarray(np.maximum(0, np.stack(away)).argmin(axis=0))
