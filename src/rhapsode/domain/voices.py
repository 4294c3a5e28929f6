"""Voices that a user enrolled, and how they are known again in later recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

from rhapsode.domain.errors import Invalid
from rhapsode.domain.speakers import Voices
from rhapsode.domain.users import UserId

VoiceId = NewType("VoiceId", UUID)

ALIKE = 0.6
"""Product of two vectors from which they are one voice: the same person's are mostly above
0.8, two people's below 0.4."""

MAX_NAME_CHARACTERS = 100
MOST_VOICES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A name, and what its voice sounds like to one diariser's `model`."""

    id: VoiceId
    user_id: UserId
    name: str
    model: str
    vector: tuple[float, ...]
    created_at: datetime


def clean_speaker_name(name: str) -> str:
    """The name on one line; Invalid (`speaker_name`) where nothing or too much is left."""
    cleaned = " ".join(name.split())
    if not cleaned or len(cleaned) > MAX_NAME_CHARACTERS:
        raise Invalid(
            "speaker_name", f"A speaker's name has 1 to {MAX_NAME_CHARACTERS} characters."
        )
    return cleaned


def recognised(heard: Voices, known: Sequence[Voice]) -> Mapping[str, str]:
    """Names for the labels of those speakers whose voice is known; each name once.

    The surest match comes first. Of a name that was enrolled several times, the likest counts.
    """
    likeness = sorted(
        (
            (_product(vector, voice.vector), label, voice.name)
            for label, vector in heard.vectors.items()
            for voice in known
            if voice.model == heard.model and len(voice.vector) == len(vector)
        ),
        reverse=True,
    )
    names: dict[str, str] = {}
    for product, label, name in likeness:
        if product >= ALIKE and label not in names and name not in names.values():
            names[label] = name
    return names


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
