"""Speakers: how many to look for, when each of them talks, and what they are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rhapsode.domain.errors import Invalid

MAX_SPEAKERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerBounds:
    """How many speakers there are: at least, and at most where that is known.

    Both alike mean exactly so many. They bound what is told apart; nobody is made up who is
    not heard.
    """

    least: int = 1
    most: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is known."""
        return self.least <= 1 and self.most is None


ANY_SPEAKERS = SpeakerBounds()


def bounds_of(
    exact: int | None = None, least: int | None = None, most: int | None = None
) -> SpeakerBounds:
    """The bounds that these name; Invalid (`speakers_invalid`) where they contradict."""
    if exact is not None and (least is not None or most is not None):
        raise _invalid("An exact number of speakers leaves no minimum or maximum.")
    low, high = (exact, exact) if exact is not None else (least, most)
    for number in (low, high):
        if number is not None and not 1 <= number <= MAX_SPEAKERS:
            raise _invalid(f"There can be 1 to {MAX_SPEAKERS} speakers, not {number}.")
    if low is not None and high is not None and low > high:
        raise _invalid(f"A minimum of {low} speakers and a maximum of {high} contradict.")
    return SpeakerBounds(least=low or 1, most=high)


def _invalid(message: str) -> Invalid:
    return Invalid(
        "speakers_invalid", message, hint="Give `exact`, or `min` and `max`, or none of them."
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which a speaker talks; speakers are numbered from 0 as they appear."""

    start: float
    end: float
    speaker: int


@dataclass(frozen=True, slots=True)
class Voices:
    """What speakers sound like: a vector each, comparable within one `model`."""

    model: str
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str]) -> "Voices":
        """With speakers called by these names; two of one name sound like the first."""
        vectors: dict[str, tuple[float, ...]] = {}
        for speaker, vector in self.vectors.items():
            vectors.setdefault(names.get(speaker, speaker), vector)
        return Voices(self.model, vectors)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"model": self.model, "vectors": {k: list(v) for k, v in self.vectors.items()}}


def label(speaker: int) -> str:
    """What a speaker is called whose name nobody knows."""
    return f"Speaker {speaker + 1}"
