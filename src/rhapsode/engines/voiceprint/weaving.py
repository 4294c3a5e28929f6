"""From what was heard in single windows to the speakers of the whole recording."""

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby

import numpy as np
from numpy.typing import NDArray

from rhapsode.domain.speakers import SpeakerBounds, Turn
from rhapsode.engines.base import SAMPLE_RATE, Canceled, Canceling
from rhapsode.engines.voiceprint.clusters import Bounds, centroids, cluster
from rhapsode.engines.voiceprint.hearing import WINDOW_STEP, Heard, Hearing, Mask, runs
from rhapsode.engines.voiceprint.listening import FRAME_CENTRE, FRAME_STEP, FRAMES

ALIKE = 0.5
"""Mean cosine from which two groups of vectors are one speaker."""

CLEAR_SECONDS = 1.0
"""Speech alone from which a vector may found a speaker; vaguer ones only join one."""

MOST_AT_ONCE = 2

_FEW_SECONDS = 2.0
_FEW_SHARE = 0.05
_TOGETHER_FRAMES = 30

Matrix = NDArray[np.float64]


def speakers_of(hearing: Hearing, bounds: SpeakerBounds, canceled: Canceling) -> Matrix:
    """The sound of each speaker, (speakers, dimensions); none where nobody spoke."""
    clear = [voice for voice in hearing.voices if voice.alone >= CLEAR_SECONDS]
    if len(clear) < bounds.least:
        clear = hearing.voices
    if not clear:
        return np.zeros((0, 0))
    vectors = _vectors(clear)
    weights = np.array([max(voice.alone, 0.1) for voice in clear])
    labels = cluster(vectors, weights, ALIKE, Bounds(bounds.least, bounds.most), canceled)
    labels = _without_slight(vectors, weights, labels, bounds.least)
    return centroids(vectors, weights, labels)


def _vectors(voices: Sequence[Heard]) -> Matrix:
    return np.array([voice.vector for voice in voices], np.float64)


def _without_slight(
    vectors: Matrix, weights: Matrix, labels: NDArray[np.int64], least: int
) -> NDArray[np.int64]:
    """Speakers of hardly two seconds are mostly mixtures: they join whom they resemble."""
    sizes = np.bincount(labels, weights) * WINDOW_STEP / FRAMES
    limit = min(_FEW_SECONDS, _FEW_SHARE * float(sizes.sum()))
    enough = np.sort(sizes)[::-1][min(least, len(sizes)) - 1]
    kept = np.flatnonzero(sizes >= min(limit, enough))
    sounds = centroids(vectors, weights, labels)
    nearest = kept[(sounds[kept] @ sounds.T).argmax(axis=0)]
    nearest[kept] = kept
    return np.unique(nearest[labels], return_inverse=True)[1]


def turns_of(hearing: Hearing, sounds: Matrix, canceled: Canceling) -> list[Turn]:
    """Who speaks when; speakers by their row in `sounds`, in order of starts."""
    open_since: dict[int, int] = {}
    found: list[Turn] = []
    start = 0
    for frames in _frames(hearing, sounds, canceled):
        for speaker in range(len(sounds)):
            spans = [(start + first, start + end) for first, end in runs(frames[:, speaker])]
            if (begun := open_since.pop(speaker, None)) is not None:
                if spans and spans[0][0] == start:
                    spans[0] = (begun, spans[0][1])
                else:
                    spans.insert(0, (begun, start))
            if spans and spans[-1][1] == start + len(frames):
                open_since[speaker] = spans.pop()[0]
            found += [_turn(first, end, speaker) for first, end in spans]
        start += len(frames)
    found += [_turn(begun, start, speaker) for speaker, begun in open_since.items()]
    return sorted(found, key=lambda turn: (turn.start, turn.end))


def _turn(first: int, end: int, speaker: int) -> Turn:
    return Turn(_seconds(first), _seconds(end), speaker)


def _seconds(frame: int) -> float:
    """Where a frame begins; its middle is FRAME_CENTRE after its number."""
    return round((frame * FRAME_STEP + FRAME_CENTRE - FRAME_STEP // 2) / SAMPLE_RATE, 3)


def _frames(hearing: Hearing, sounds: Matrix, canceled: Canceling) -> Iterator[Mask]:
    """(frames, speakers) of the recording, as far as no later window adds to them."""
    fade = np.hamming(FRAMES)[:, None]
    # The last column counts how many speak, the one before it how often it was looked.
    held = np.zeros((FRAMES, len(sounds) + 2))
    by_window = {
        window: list(voices)
        for window, voices in groupby(hearing.voices, key=lambda voice: voice.window)
    }
    for window in range(hearing.windows):
        if canceled():
            raise Canceled
        active = _active(by_window.get(window, []), sounds)
        held[:, :-2] += active * fade
        held[:, -2] += fade[:, 0]
        held[:, -1] += active.sum(axis=1) * fade[:, 0]
        done = FRAMES if window == hearing.windows - 1 else WINDOW_STEP
        yield _decided(held[:done])
        held = np.concatenate([held[done:], np.zeros((done, held.shape[1]))])


def _active(voices: list[Heard], sounds: Matrix) -> Mask:
    active = np.zeros((FRAMES, len(sounds)), bool)
    if voices:
        masks = [voice.active for voice in voices]
        for mask, speaker in zip(masks, _who(voices, masks, sounds), strict=True):
            active[:, speaker] |= mask
    return active


def _who(voices: list[Heard], masks: list[Mask], sounds: Matrix) -> list[int]:
    """The speaker of each voice: the likest, but no two at once are the same."""
    likeness = _vectors(voices) @ sounds.T
    chosen = likeness.argmax(axis=1)
    rivals = [
        pair
        for pair in combinations(range(len(voices)), 2)
        if (masks[pair[0]] & masks[pair[1]]).sum() >= _TOGETHER_FRAMES
    ]
    for one, other in rivals * (len(rivals) if len(sounds) > 1 else 0):
        if chosen[one] == chosen[other]:
            same = chosen[one]
            loser = one if likeness[one, same] < likeness[other, same] else other
            likeness[loser, same] = -np.inf
            chosen[loser] = likeness[loser].argmax()
    return [int(speaker) for speaker in chosen]


def _decided(held: Matrix) -> Mask:
    """As many speakers as were mostly heard at once; those who were heard most."""
    scores = held[:, :-2]
    count = np.rint(held[:, -1] / np.maximum(held[:, -2], 1e-9))
    ranks = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray((scores > 0) & (ranks < np.minimum(count, MOST_AT_ONCE)[:, None]))
