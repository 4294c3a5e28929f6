"""What an engine is to the rest of the product: no library's types appear here."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rhapsode.domain.transcripts import Segment

SAMPLE_RATE = 16_000
"""Samples a second of all audio that engines see."""

Samples = NDArray[np.float32]
"""Mono audio at SAMPLE_RATE, full scale at ±1."""

MAX_THREADS = 8
"""More threads than this make the libraries slower, not faster."""

Choices = Mapping[str, Sequence[str | int]]
"""By the name of a field of LoadSettings: values that may be faster than the engine's own."""

Canceling = Callable[[], bool]
"""Answers whether the work is called off; asked several times a second."""


class Canceled(Exception):
    """The work was called off while it ran. Not an error: nobody waits for the result."""


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How to transcribe: `language` is a code, or None to let the engine detect it.

    What a transcriber does not name in its `takes` it may pass over, `TRANSLATE` excepted.
    """

    language: str | None = None
    word_times: bool = True
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    translate: bool = False
    temperature: float | None = None
    numerals: bool = True

    @property
    def context(self) -> str | None:
        """Prompt and hot words as one text, for models that take text as context."""
        return " ".join(filter(None, [self.prompt, ", ".join(self.hotwords)])) or None


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """The language that was heard, and how sure the engine is (0 to 1).

    `odds` has the same of every language that was considered, where the engine tells.
    """

    language: str
    probability: float
    odds: Mapping[str, float] = field(default_factory=dict)

    def among(self, allowed: Collection[str]) -> "LanguageGuess":
        """The likeliest of these languages; itself where all are allowed (none is named)."""
        if not allowed or self.language in allowed:
            return self
        best = max(allowed, key=lambda code: self.odds.get(code, 0.0))
        return LanguageGuess(best, self.odds.get(best, 0.0), self.odds)


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How to load a model; `auto` and None leave the choice to the engine.

    `device` is `auto`, `cpu` or `cuda`; `compute_type` is a name of the engine's own.
    """

    device: str = "auto"
    compute_type: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can be loaded here, and its version or what it lacks.

    `install` is the command that brings what is lacking, where there is one.
    """

    available: bool
    detail: str
    install: str | None = None


class Wish(StrEnum):
    """What a transcriber may be able to heed of the options."""

    CONTEXT = "context"
    TRANSLATE = "translate"
    TEMPERATURE = "temperature"
    NUMERALS = "numerals"


class Transcriber(Protocol):
    """A loaded model. One call at a time; a second one waits for the first.

    What it heeds of the options it names in an attribute `takes`; without one, nothing.
    """

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """The language spoken in these samples, judged by at most the first minutes."""
        ...

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """The segments as they come, times relative to the first sample.

        Raises Canceled within 2 s of `canceled` becoming true, Invalid
        (`unsupported_language`) where the model lacks the language, and Unavailable
        (`engine_failed`) where the library gives up.
        """
        ...

    def close(self) -> None:
        """Frees the model; it must not be used afterwards."""
        ...


class Engine(Protocol):
    """The value of an entry point of the group `rhapsode.engines`.

    An engine whose package carries models inside names them in an attribute `own_models`.
    One that is not always fastest as it loads by default has a method `choices`, which takes
    LoadSettings and returns `Choices`: what a calibration should try.
    """

    name: str

    def probe(self) -> Availability:
        """Looks for the library without importing it: some imports can kill a process."""
        ...

    def load(self, model: Path, settings: LoadSettings) -> Transcriber:
        """Loads the model in that folder; Unavailable (`model_unloadable`) where it fails."""
        ...


def cpu_threads(most: int = MAX_THREADS) -> int:
    """How many threads a library should use where nobody says: as many as cores, to a point."""
    if hasattr(os, "sched_getaffinity"):
        return min(most, len(os.sched_getaffinity(0)))
    return min(most, os.cpu_count() or 1)


def takes(transcriber: Transcriber) -> frozenset[Wish]:
    """What a transcriber heeds of the options."""
    return frozenset(getattr(transcriber, "takes", ()))


def own_models(engine: Engine) -> tuple[str, ...]:
    """Models that an engine's package carries inside, which no catalogue has to fetch."""
    return tuple(getattr(engine, "own_models", ()))


def choices(engine: Engine, settings: LoadSettings) -> Choices:
    """What a calibration should try of an engine, in order; nothing where it does not say."""
    offered = getattr(engine, "choices", None)
    return dict(offered(settings)) if offered else {}


def thread_choices() -> tuple[int, ...]:
    """Numbers of threads worth trying on a CPU, beside the one that `cpu_threads` gives."""
    cores = cpu_threads(most=1024)
    tried = {max(1, cores // 4), max(1, cores // 2), min(cores, 2 * MAX_THREADS)}
    return tuple(sorted(tried - {cpu_threads()}, reverse=True))
