"""Brings who spoke when together with what was said."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from rhapsode.domain.speakers import Turn, label
from rhapsode.domain.transcripts import Segment, Word

FAR_SECONDS = 3.0
"""Words further than this from every turn keep the speaker of the words before them."""

_SLIGHT_WORDS = 1
_SLIGHT_SECONDS = 0.3


def with_speakers(segments: Sequence[Segment], turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """The segments with their speakers, parted where the speaker changes within one.

    A segment without word times goes to whoever speaks most of it.
    """
    if not turns:
        return tuple(segments)
    index = _Turns(turns)
    found: list[Segment] = []
    last: int | None = None
    for segment in segments:
        for part, speaker in _parts(segment, index, last):
            found.append(_labelled(part, speaker))
            last = speaker
    return tuple(found)


class _Turns:
    """Turns in order of starts, so that those near a moment are found at once."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start)
        self._starts = [turn.start for turn in self._turns]
        self._longest = max(turn.end - turn.start for turn in self._turns)

    def speaker(self, start: float, end: float, before: int | None) -> int | None:
        """Who speaks most between these; else whoever is nearest, or spoke before."""
        shares: dict[int, float] = defaultdict(float)
        nearest = (FAR_SECONDS, before)
        for turn in self._near(start, end):
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                shares[turn.speaker] += shared
            elif -shared < nearest[0]:
                nearest = (-shared, turn.speaker)
        if not shares:
            return nearest[1]
        most = max(shares.values())
        if before is not None and shares.get(before, 0.0) >= most - 1e-6:
            return before
        return min(who for who, share in shares.items() if share >= most)

    def _near(self, start: float, end: float) -> Iterator[Turn]:
        first = bisect_left(self._starts, start - FAR_SECONDS - self._longest)
        last = bisect_left(self._starts, end + FAR_SECONDS)
        yield from self._turns[first:last]


def _parts(
    segment: Segment, index: _Turns, before: int | None
) -> Iterator[tuple[Segment, int | None]]:
    if not segment.words:
        yield segment, index.speaker(segment.start, segment.end, before)
        return
    speakers: list[int | None] = []
    for word in segment.words:
        before = index.speaker(word.start, word.end, before)
        speakers.append(before)
    speakers = _steady(segment.words, speakers)
    seams = [at for at, (one, two) in enumerate(pairwise(speakers), start=1) if one != two]
    texts = texts_between(segment.text, segment.words, seams)
    if not texts:
        yield segment, max(set(speakers), key=speakers.count)
        return
    for text, (start, end) in zip(texts, pairwise([0, *seams, len(speakers)]), strict=True):
        words = segment.words[start:end]
        part = replace(segment, start=words[0].start, end=words[-1].end, text=text, words=words)
        yield part, speakers[start]


def _steady(words: Sequence[Word], speakers: list[int | None]) -> list[int | None]:
    """A single short word between two of another speaker's is a slip of the times."""
    spans, at = [], 0
    for speaker, group in groupby(speakers):
        count = len(list(group))
        spans.append((at, at + count, speaker))
        at += count
    steady = list(speakers)
    for (_, _, left), (start, end, _), (_, _, right) in zip(
        spans, spans[1:], spans[2:], strict=False
    ):
        short = words[end - 1].end - words[start].start < _SLIGHT_SECONDS
        if left == right and end - start <= _SLIGHT_WORDS and short:
            steady[start:end] = [left] * (end - start)
    return steady


def _labelled(segment: Segment, speaker: int | None) -> Segment:
    name = None if speaker is None else label(speaker)
    words = tuple(replace(word, speaker=name) for word in segment.words)
    return replace(segment, speaker=name, words=words)


def texts_between(text: str, words: Sequence[Word], seams: Sequence[int]) -> list[str]:
    """The text cut before the words at `seams`; nothing where it spells the words otherwise."""
    at, cuts = 0, [0]
    for index, word in enumerate(words):
        found = text.find(word.text, at)
        if found < 0:
            return []
        if index in seams:
            cuts.append(found)
        at = found + len(word.text)
    return [text[start:end].strip() for start, end in pairwise([*cuts, len(text)])]
