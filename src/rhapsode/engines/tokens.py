"""From a Whisper model's tokens to words."""

from collections.abc import Iterable
from dataclasses import dataclass

from rhapsode.domain.languages import UNSPACED
from rhapsode.domain.transcripts import Segment, Word

_TAGS = (("[", "]"), ("(", ")"), ("♪", "♪"), ("*", "*"))


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text with its place (seconds); its bytes may be part of a character."""

    text: bytes
    start: float
    end: float
    probability: float


def words_of(tokens: Iterable[Token], language: str) -> tuple[Word, ...]:
    """The tokens as words; where a language leaves no spaces, every whole character is one."""
    words: list[Word] = []
    held: list[Token] = []
    for token in tokens:
        if held and _begins_word(token, held, spaced=language not in UNSPACED):
            words += _joined(held)
            held = []
        held.append(token)
    return (*words, *_joined(held))


def segment_of(
    text: str, start: float, end: float, words: Iterable[Word] = (), *, limit: float
) -> Segment | None:
    """The segment, its words' times in order and inside it; None where nothing was said.

    Nothing goes beyond `limit`, the sound's length: Whisper's windows are longer. Text that
    is nothing but a tag, as in `[BLANK_AUDIO]` or `(music)`, tells of sounds.
    """
    clean = text.strip()
    if not clean or is_tag(clean):
        return None
    start = min(max(0.0, start), limit)
    end = min(max(start, end), limit)
    return Segment(start, end, clean, None, tuple(_inside(words, start, end)))


def is_tag(text: str) -> bool:
    """Whether a text only names a sound."""
    return any(
        len(text) > 1
        and text.startswith(opening)
        and text.endswith(closing)
        and closing not in text[1:-1]
        for opening, closing in _TAGS
    )


def _begins_word(token: Token, held: list[Token], *, spaced: bool) -> bool:
    if spaced or token.text.startswith(b" "):
        return token.text.startswith(b" ")
    so_far = b"".join(part.text for part in held)
    try:
        so_far.decode()
        return any(character.isalnum() for character in token.text.decode())
    except UnicodeDecodeError:
        return False


def _joined(tokens: list[Token]) -> list[Word]:
    text = b"".join(token.text for token in tokens).decode(errors="replace").strip()
    if not text:
        return []
    probability = sum(token.probability for token in tokens) / len(tokens)
    start = min(token.start for token in tokens)
    end = max(token.end for token in tokens)
    return [Word(start, end, text, round(min(1.0, max(0.0, probability)), 4))]


def _inside(words: Iterable[Word], start: float, end: float) -> Iterable[Word]:
    now = start
    for word in words:
        begins = min(max(now, word.start), end)
        now = min(max(begins, word.end), end)
        yield Word(begins, now, word.text, word.probability)
