"""Transcripts: who said what, when. Times are in seconds from the start of the recording."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MAX_LANGUAGE_CHARACTERS = 16
MAX_SECONDS = 1e9
"""Thirty years: whatever a file says of itself, no recording is longer."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its times and how sure the engine is of it (0 to 1)."""

    start: float
    end: float
    text: str
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, about a sentence, by one speaker."""

    start: float
    end: float
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one recording. `language` is None where nobody spoke."""

    language: str | None
    duration: float
    segments: tuple[Segment, ...] = ()
    language_probability: float | None = None

    @property
    def text(self) -> str:
        """All segments' text, as one line."""
        return " ".join(segment.text for segment in self.segments)

    def to_dict(self) -> dict[str, Any]:
        """The canonical document: what is stored, and what `json` renders."""
        return {"text": self.text, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Transcript":
        """The transcript of a document; KeyError, TypeError or ValueError if it is none."""
        return cls(
            language=_language(document["language"]),
            duration=_number(document["duration"]),
            segments=tuple(_segment(item) for item in document["segments"]),
            language_probability=_number_or_none(document.get("language_probability")),
        )


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        start=_number(item["start"]),
        end=_number(item["end"]),
        text=_text(item["text"]),
        speaker=_text_or_none(item.get("speaker")),
        words=tuple(_word(word) for word in item.get("words") or ()),
    )


def _word(item: Mapping[str, Any]) -> Word:
    return Word(
        start=_number(item["start"]),
        end=_number(item["end"]),
        text=_text(item["text"]),
        probability=_number_or_none(item.get("probability")),
    )


def _language(value: Any) -> str | None:
    code = _text_or_none(value)
    if code is not None and len(code) > MAX_LANGUAGE_CHARACTERS:
        raise ValueError("a language code is shorter than that")
    return code


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is expected, not {type(value).__name__}")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or abs(number) > MAX_SECONDS:
        raise ValueError(f"{number} is no time and no probability")
    return number


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)
