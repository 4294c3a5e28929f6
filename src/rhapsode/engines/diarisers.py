"""Diarisers: what tells speakers apart, and how an installed package adds one.

A diariser is the value of an entry point of the group `rhapsode.diarisers`. It hears the
whole recording once, block by block, so that a long one needs no more memory than a short one.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

from rhapsode.domain.errors import DomainError, Unavailable
from rhapsode.domain.speakers import SpeakerBounds, Turn
from rhapsode.engines.base import Availability, Canceling, LoadSettings, Samples

GROUP = "rhapsode.diarisers"
PREFERRED = ("pyannote", "embedded")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Diarisation:
    """Who speaks when, in order of starts; turns of two speakers may overlap.

    `voices` holds a vector of length 1 for each speaker, where the diariser can tell what a
    voice sounds like; vectors compare by their product, among those of one `voice_model`.
    """

    turns: tuple[Turn, ...] = ()
    voices: tuple[tuple[float, ...], ...] = ()
    voice_model: str = field(default="", kw_only=True)


class Diariser(Protocol):
    """A loaded diariser. One call at a time."""

    def diarise(
        self, blocks: Iterable[Samples], bounds: SpeakerBounds, canceled: Canceling
    ) -> Diarisation:
        """Who speaks when in the recording that these blocks make.

        Raises Canceled within 2 s of `canceled` becoming true, and Unavailable
        (`engine_failed`) where the library gives up.
        """
        ...

    def close(self) -> None:
        """Frees the weights; it must not be used afterwards."""
        ...


class DiariserEngine(Protocol):
    """What an entry point names. `model` is its weights in the catalogue, where it has any."""

    name: str
    model: str | None

    def probe(self) -> Availability:
        """Looks for the library without importing it."""
        ...

    def load(self, model: Path | None, settings: LoadSettings) -> Diariser:
        """Loads the weights in that folder; Unavailable (`model_unloadable`) on failure."""
        ...


def discover() -> dict[str, DiariserEngine]:
    """Every diariser whose entry point loads, the preferred ones first."""
    found = {point.name: _loaded(point) for point in entry_points(group=GROUP)}
    return {
        name: engine
        for name, engine in sorted(found.items(), key=lambda item: _rank(item[0]))
        if engine is not None
    }


def available() -> list[DiariserEngine]:
    """Those that can be loaded here, best first."""
    return [engine for engine in discover().values() if _is_available(engine)]


def loaded(
    folder_of: Callable[[DiariserEngine], Path],
    settings: LoadSettings,
    engines: Sequence[DiariserEngine] | None = None,
) -> Diariser:
    """The best one that loads; of several that fail, the last one's error is raised.

    `folder_of` says where the weights are, and may fetch them. Unavailable
    (`diariser_missing`) where there is none.
    """
    error: DomainError = Unavailable(
        "diariser_missing",
        "Speakers cannot be told apart on this machine: no diariser can be used.",
        hint="onnxruntime is all that the embedded one needs.",
    )
    for engine in available() if engines is None else engines:
        try:
            return engine.load(folder_of(engine), settings)
        except DomainError as failure:
            log.warning("diariser %s is not used: %s", engine.name, failure.message)
            error = failure
    raise error


def _rank(name: str) -> tuple[int, str]:
    return (PREFERRED.index(name) if name in PREFERRED else -1, name)


def _is_available(engine: DiariserEngine) -> bool:
    try:
        return engine.probe().available
    except Exception as error:  # noqa: BLE001 (a plug-in's code: anything can come out)
        log.warning("the probe of diariser %s failed: %s", engine.name, error)
        return False


@cache
def _loaded(point: EntryPoint) -> DiariserEngine | None:
    try:
        return _checked(point.load(), point.name)
    except Exception as error:  # noqa: BLE001 (somebody else's code: anything can come out)
        log.warning("diariser %s of %s cannot be used: %s", point.name, point.value, error)
        return None


def _checked(engine: DiariserEngine, name: str) -> DiariserEngine:
    if engine.name != name or not callable(engine.load) or not callable(engine.probe):
        raise TypeError(f"it is no diariser named '{name}'")
    return engine
