"""Diarisation error rate: how much of the speech has the wrong speaker, none, or one too many.

As NIST defines it: at every moment with R speakers in the reference and H found, of whom C
are right, max(R, H) - C seconds a second are wrong; all of it divided by the seconds of
speech in the reference. Found speakers are matched to the reference's so that it is least.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stretch (seconds) in which somebody speaks."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Seconds of speech in the reference, and of each kind of error."""

    speech: float
    missed: float
    invented: float
    confused: float

    @property
    def rate(self) -> float:
        """The diarisation error rate."""
        wrong = self.missed + self.invented + self.confused
        return wrong / self.speech if self.speech else float(wrong > 0)


def read_rttm(path: Path) -> list[Spoken]:
    """The turns of a reference in NIST's format."""
    rows = [
        line.split() for line in path.read_text().splitlines() if line.startswith("SPEAKER")
    ]
    return [Spoken(float(r[3]), float(r[3]) + float(r[4]), r[7]) for r in rows]


def score(reference: Sequence[Spoken], found: Sequence[Spoken], collar: float = 0.0) -> Errors:
    """The errors; nothing counts within `collar` seconds of a border in the reference."""
    spans = list(_spans(reference, found, collar))
    together: dict[tuple[str, str], float] = {}
    speech = missed = invented = both = 0.0
    for seconds, truth, heard in spans:
        speech += seconds * len(truth)
        missed += seconds * max(0, len(truth) - len(heard))
        invented += seconds * max(0, len(heard) - len(truth))
        both += seconds * min(len(truth), len(heard))
        for one in truth:
            for other in heard:
                together[one, other] = together.get((one, other), 0.0) + seconds
    return Errors(speech, missed, invented, both - _best(together))


Moment = tuple[float, frozenset[str], frozenset[str]]


def _spans(reference: Sequence[Spoken], found: Sequence[Spoken], collar: float) -> list[Moment]:
    """Stretches in which nothing changes: their length, and who speaks in them."""
    borders = {edge for turn in reference for edge in (turn.start, turn.end)}
    edges = {edge for turn in found for edge in (turn.start, turn.end)} | borders
    edges |= {edge + side * collar for edge in borders for side in (-1, 1)}
    spans = []
    for start, end in pairwise(sorted(edges)):
        middle = (start + end) / 2
        if collar and any(abs(middle - border) < collar for border in borders):
            continue
        spans.append((end - start, _at(reference, middle), _at(found, middle)))
    return spans


def _at(turns: Sequence[Spoken], moment: float) -> frozenset[str]:
    return frozenset(turn.speaker for turn in turns if turn.start <= moment < turn.end)


def _best(together: dict[tuple[str, str], float]) -> float:
    """Most seconds that agree under any matching of speakers, one to one."""
    left = sorted({one for one, _ in together})
    right = sorted({other for _, other in together})
    if len(left) > len(right):
        together = {(other, one): seconds for (one, other), seconds in together.items()}
        left, right = right, left
    if len(left) > 12:
        raise ValueError("more than 12 speakers on both sides are too many to match")
    # Speakers of the longer side are taken in turn; a bit says who of the shorter is matched.

    @cache
    def most(index: int, used: int) -> float:
        if index == len(right):
            return 0.0
        options = [most(index + 1, used)]
        for number, one in enumerate(left):
            if not used >> number & 1:
                seconds = together.get((one, right[index]), 0.0)
                options.append(seconds + most(index + 1, used | 1 << number))
        return max(options)

    return most(0, 0)
