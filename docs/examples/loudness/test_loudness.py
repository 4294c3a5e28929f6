"""What Rhapsode asks of every engine, and what only this one does."""

import os
from pathlib import Path

import numpy as np
from rhapsode_loudness import ENGINE

from rhapsode.engines.base import LoadSettings, TranscribeOptions
from rhapsode.testing import Case, EngineConformance

SPEECH = Path(os.environ.get("SPEECH", "talk.wav"))


class TestLoudness(EngineConformance):
    """The suite that Rhapsode ships."""

    @classmethod
    def make_case(cls) -> Case:
        """An engine that hears no words gets all of them wrong, and may."""
        return Case(
            engine=ENGINE,
            model=Path("rms"),
            speech=SPEECH,
            text="any words",
            language="und",
            max_wer=float("inf"),
            max_wer_8khz=float("inf"),
            has_words=False,
            tells_language=False,
            lacks=None,
        )


def test_full_scale_is_zero_decibels() -> None:
    """Its own business."""
    loud = np.ones(16_000, np.float32)
    meter = ENGINE.load(Path("rms"), LoadSettings())
    segments = list(meter.transcribe(loud, TranscribeOptions(), lambda: False))
    assert [segment.text for segment in segments] == ["0 dB"]
