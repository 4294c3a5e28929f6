"""Transcripts: who said what, when. Times are in seconds from the start of the recording."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rhapsode.domain.speakers import Voices

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
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, about a sentence, by one speaker.

    `language` is set where languages may change within the recording.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one recording. `language` is None where nobody spoke.

    `voices` tells what the speakers sound like, by their labels: it is stored, so that a
    voice can be enrolled later, but no format shows it.
    """

    language: str | None
    duration: float
    segments: tuple[Segment, ...] = ()
    language_probability: float | None = None
    voices: Voices | None = None

    @property
    def text(self) -> str:
        """All segments' text, as one line."""
        return " ".join(segment.text for segment in self.segments)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers' labels, in the order in which they first speak."""
        return tuple(dict.fromkeys(s.speaker for s in self.segments if s.speaker))

    def renamed(self, names: Mapping[str, str]) -> "Transcript":
        """With speakers called by these names; two that get one name are one from then on."""

        def named(speaker: str | None) -> str | None:
            return None if speaker is None else names.get(speaker, speaker)

        segments = tuple(
            replace(
                segment,
                speaker=named(segment.speaker),
                words=tuple(
                    replace(word, speaker=named(word.speaker)) for word in segment.words
                ),
            )
            for segment in self.segments
        )
        return replace(
            self, segments=segments, voices=self.voices and self.voices.renamed(names)
        )

    def to_dict(self) -> dict[str, Any]:
        """The canonical document, without what the voices sound like: what `json` renders."""
        document = {"text": self.text, **asdict(self)}
        del document["voices"]
        for segment in document["segments"]:
            if segment["language"] is None:
                del segment["language"]
            for word in segment["words"]:
                if word["speaker"] is None:
                    del word["speaker"]
        return document

    def to_stored(self) -> dict[str, Any]:
        """The whole document: what a runner hands in, and what is stored."""
        voices = {} if self.voices is None else {"voices": self.voices.to_dict()}
        return {**self.to_dict(), **voices}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Transcript":
        """The transcript of a document; KeyError, TypeError or ValueError if it is none."""
        return cls(
            language=_language(document["language"]),
            duration=_number(document["duration"]),
            segments=tuple(_segment(item) for item in document["segments"]),
            language_probability=_number_or_none(document.get("language_probability")),
            voices=_voices(document.get("voices")),
        )


def _segment(item: Mapping[str, Any]) -> Segment:
    return Segment(
        start=_number(item["start"]),
        end=_number(item["end"]),
        text=_text(item["text"]),
        speaker=_text_or_none(item.get("speaker")),
        words=tuple(_word(word) for word in item.get("words") or ()),
        language=_language(item.get("language")),
    )


def _word(item: Mapping[str, Any]) -> Word:
    return Word(
        start=_number(item["start"]),
        end=_number(item["end"]),
        text=_text(item["text"]),
        probability=_number_or_none(item.get("probability")),
        speaker=_text_or_none(item.get("speaker")),
    )


def _voices(item: Mapping[str, Any] | None) -> Voices | None:
    if item is None:
        return None
    vectors = {
        _text(name): tuple(_number(value) for value in vector)
        for name, vector in item["vectors"].items()
    }
    return Voices(_text(item["model"]), vectors)


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
