"""Transcripts: who said what, when. Times are in seconds from the start of the recording."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
        """The transcript of a canonical document; KeyError or TypeError where it is not one."""
        return cls(
            language=document["language"],
            duration=float(document["duration"]),
            segments=tuple(_segment(item) for item in document["segments"]),
            language_probability=document.get("language_probability"),
        )


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        start=float(item["start"]),
        end=float(item["end"]),
        text=str(item["text"]),
        speaker=item.get("speaker"),
        words=tuple(_word(word) for word in item.get("words") or ()),
    )


def _word(item: Mapping[str, Any]) -> Word:
    return Word(
        start=float(item["start"]),
        end=float(item["end"]),
        text=str(item["text"]),
        probability=item.get("probability"),
    )
