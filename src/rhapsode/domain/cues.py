"""Subtitle shaping: which words share a cue, and where its lines break."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from rhapsode.domain.transcripts import Segment

CUSTOMARY_CHARS = 42
CUSTOMARY_LINES = 2


@dataclass(frozen=True, slots=True)
class Shaping:
    """Limits of a cue; None sets no limit, and no limit at all makes one cue a segment.

    `lines_per_cue` alone implies 42 characters a line; `chars_per_line` alone implies
    two lines a cue: what subtitlers are used to. A single longer word is never cut.
    """

    chars_per_line: int | None = None
    lines_per_cue: int | None = None
    words_per_cue: int | None = None

    @property
    def width(self) -> int | None:
        """Characters a line, with the customary value where only lines are limited."""
        if self.chars_per_line is None and self.lines_per_cue is not None:
            return CUSTOMARY_CHARS
        return self.chars_per_line

    @property
    def height(self) -> int:
        """Lines a cue; it only matters where there is a width."""
        return self.lines_per_cue or CUSTOMARY_LINES

    @property
    def is_free(self) -> bool:
        """Whether nothing is limited."""
        return self.width is None and self.words_per_cue is None


@dataclass(frozen=True, slots=True)
class Cue:
    """What is on the screen from `start` to `end` (seconds)."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    """A word as the segment's text spells it; `glue` is what stands before it."""

    start: float
    end: float
    glue: str
    text: str


def shape(segments: Iterable[Segment], shaping: Shaping) -> Iterator[Cue]:
    """The cues of these segments under these limits; empty segments make none."""
    for segment in segments:
        if not segment.text.strip():
            continue
        if shaping.is_free:
            lines = (one_line(segment.text),)
            yield Cue(segment.start, segment.end, lines, _speaker(segment))
        else:
            yield from _shaped(segment, shaping)


def one_line(text: str) -> str:
    """The text without line breaks, and with single spaces."""
    return " ".join(text.split())


def _speaker(segment: Segment) -> str | None:
    return None if segment.speaker is None else one_line(segment.speaker)


def _shaped(segment: Segment, shaping: Shaping) -> Iterator[Cue]:
    tokens = _tokens(segment)
    for start, end in pairwise(_breaks(tokens, shaping)):
        yield _cue(tokens[start:end], shaping, _speaker(segment))


def _breaks(tokens: list[_Token], shaping: Shaping) -> list[int]:
    """Where the cues of a segment begin, and its end.

    As few cues as the limits allow; of these ways the most even one, which prefers to break
    after a punctuation mark. Filling up each cue instead would leave single words over.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(tokens) + 1):
        choices: list[tuple[float, int]] = []
        for start in range(end - 1, -1, -1):
            cue = tokens[start:end]
            if len(cue) > 1 and not _fits(cue, shaping):
                break
            choices.append((best[start][0] + _cost(cue, shaping), start))
        best.append(min(choices))
    starts = [len(tokens)]
    while starts[-1] > 0:
        starts.append(best[starts[-1]][1])
    return starts[::-1]


def _cost(cue: list[_Token], shaping: Shaping) -> float:
    """One more cue outweighs everything; squares are least where lengths are even."""
    room = shaping.width * shaping.height if shaping.width else CUSTOMARY_CHARS
    share = sum(len(token.glue) + len(token.text) for token in cue) / room
    torn = 0.0 if cue[0].glue else _TORN
    return 1000 + share * share + torn - _RESTS.get(cue[-1].text[-1:], 0.0)


_RESTS = {
    **dict.fromkeys(".?!…。？！؟।", 0.25),
    **dict.fromkeys(",;:，、；：،", 0.12),
}
"""How welcome a break is after these marks, against the unevenness that it brings."""

_TORN = 0.5
"""How unwelcome a break is inside a word, which some engines give in pieces."""


def _fits(tokens: list[_Token], shaping: Shaping) -> bool:
    if shaping.words_per_cue is not None and len(tokens) > shaping.words_per_cue:
        return False
    return shaping.width is None or _line_count(tokens, shaping.width) <= shaping.height


def _line_count(tokens: list[_Token], width: int) -> int:
    """How many lines `_lines` makes; it is asked for every possible cue."""
    count, length = 1, len(tokens[0].text)
    for token in tokens[1:]:
        length += len(token.glue) + len(token.text)
        if length > width:
            count, length = count + 1, len(token.text)
    return count


def _cue(tokens: list[_Token], shaping: Shaping, speaker: str | None) -> Cue:
    return Cue(tokens[0].start, tokens[-1].end, _lines(tokens, shaping.width), speaker)


def _lines(tokens: list[_Token], width: int | None) -> tuple[str, ...]:
    lines = [tokens[0].text]
    for token in tokens[1:]:
        joined = lines[-1] + token.glue + token.text
        if width is not None and len(joined) > width:
            lines.append(token.text)
        else:
            lines[-1] = joined
    return tuple(lines)


def _tokens(segment: Segment) -> list[_Token]:
    return _timed(segment) or _interpolated(segment)


def _timed(segment: Segment) -> list[_Token]:
    """The segment's words, found again in its text so that its spacing is kept."""
    text = one_line(segment.text)
    tokens: list[_Token] = []
    at = 0
    for word in segment.words:
        found = text.find(word.text, at)
        if found < 0 or not word.text or text[at:found].strip():
            return []
        tokens.append(_Token(word.start, word.end, text[at:found], word.text))
        at = found + len(word.text)
    return tokens if tokens and not text[at:].strip() else []


def _interpolated(segment: Segment) -> list[_Token]:
    """Words of a segment without word times, spread over it by their length."""
    pieces = [piece for word in one_line(segment.text).split(" ") for piece in _pieces(word)]
    pace = (segment.end - segment.start) / max(1, sum(len(text) for _, text in pieces))
    tokens: list[_Token] = []
    at = segment.start
    for glue, text in pieces:
        end = at + pace * len(text)
        tokens.append(_Token(round(at, 3), round(end, 3), glue, text))
        at = end
    return tokens


def _pieces(word: str) -> Iterator[tuple[str, str]]:
    """What may part within a word, each with what stands before it.

    Scripts that set no spaces between words part at every letter: Chinese, Japanese, and
    whatever is longer than any word.
    """
    apart = len(word) > CUSTOMARY_CHARS or any(_stands_alone(letter) for letter in word)
    for index, piece in enumerate(_letters(word) if apart else [word]):
        yield "" if index else " ", piece


def _stands_alone(letter: str) -> bool:
    wide = unicodedata.east_asian_width(letter) == "W"
    return wide and unicodedata.category(letter) == "Lo" and not _is_hangul(letter)


def _is_hangul(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("HANGUL")


def _letters(word: str) -> list[str]:
    """Letters with the marks that belong to them."""
    letters: list[str] = []
    for letter in word:
        if letters and unicodedata.category(letter) in {"Mn", "Mc", "Me"}:
            letters[-1] += letter
        else:
            letters.append(letter)
    return letters
