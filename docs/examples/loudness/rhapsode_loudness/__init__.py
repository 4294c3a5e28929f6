"""An engine that transcribes loudness instead of words: the smallest that there can be."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Availability,
    Canceled,
    Canceling,
    LanguageGuess,
    LoadSettings,
    Samples,
    TranscribeOptions,
)


class Loudness:
    """The entry point's value."""

    name = "loudness"
    own_models = ("rms",)

    def probe(self) -> Availability:
        """Nothing else is needed, so it is always there."""
        return Availability(available=True, detail=version("rhapsode-loudness"))

    def load(self, model: Path, settings: LoadSettings) -> "Meter":  # noqa: ARG002
        """There is nothing to read from disk; an engine with weights finds them in `model`."""
        return Meter()


class Meter:
    """The loaded model."""

    def detect_language(self, samples: Samples) -> LanguageGuess:  # noqa: ARG002
        """It cannot tell: `und` is the code for that."""
        return LanguageGuess("und", 0.0)

    def transcribe(
        self,
        samples: Samples,
        options: TranscribeOptions,  # noqa: ARG002
        canceled: Canceling,
    ) -> Iterator[Segment]:
        """A segment for each second, in decibels below full scale."""
        for start in range(0, len(samples), SAMPLE_RATE):
            if canceled():
                raise Canceled
            second = samples[start : start + SAMPLE_RATE]
            level = 10 * np.log10(np.mean(np.square(second)) + 1e-10)
            end = (start + len(second)) / SAMPLE_RATE
            yield Segment(start / SAMPLE_RATE, end, f"{level:.0f} dB")

    def close(self) -> None:
        """Nothing to free."""


ENGINE = Loudness()
