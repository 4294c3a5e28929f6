"""What can be tested of the adapter without the library, which needs PyTorch."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.speakers import SpeakerBounds, Turn
from rhapsode.engines.base import LoadSettings
from rhapsode.engines.pyannote import DIARISER, diarisation_of, numbers


@dataclass
class Span:
    """As pyannote.core's Segment."""

    start: float
    end: float


@dataclass
class Tracks:
    """As pyannote.core's Annotation: tracks by label, labels sorted."""

    tracks: list[tuple[Span, str, str]]

    def itertracks(self, *, yield_label: bool) -> Iterator[tuple[Span, str, str]]:
        assert yield_label
        yield from self.tracks

    def labels(self) -> list[str]:
        return sorted({label for *_, label in self.tracks})


@dataclass
class Output:
    """As the pipeline's DiarizeOutput."""

    speaker_diarization: Tracks
    speaker_embeddings: "np.ndarray | None" = field(default=None)


TRACKS = Tracks(
    [(Span(0.5, 2.0), "A", "SPEAKER_01"), (Span(1.5, 4.25), "B", "SPEAKER_00")],
)


def test_probe_imports_nothing() -> None:
    code = (
        "import sys; from rhapsode.engines.pyannote import DIARISER; "
        "DIARISER.probe(); assert not {'torch', 'pyannote.audio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_library_it_says_what_lacks(tmp_path: Path) -> None:
    found = DIARISER.probe()
    if found.available:
        pytest.skip("pyannote.audio is installed here")
    assert found.detail.startswith("not installed: ")
    with pytest.raises(Unavailable, match="cannot be loaded") as refusal:
        DIARISER.load(tmp_path, LoadSettings())
    assert refusal.value.code == "model_unloadable"


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (SpeakerBounds(), {}),
        (SpeakerBounds(least=2, most=2), {"num_speakers": 2}),
        (SpeakerBounds(least=2), {"min_speakers": 2}),
        (SpeakerBounds(most=5), {"max_speakers": 5}),
        (SpeakerBounds(least=2, most=5), {"min_speakers": 2, "max_speakers": 5}),
    ],
)
def test_bounds_become_the_pipelines_arguments(
    bounds: SpeakerBounds, expected: dict[str, int]
) -> None:
    assert numbers(bounds) == expected


def test_speakers_are_numbered_as_they_appear_with_their_own_vectors() -> None:
    vectors = np.array([[0.0, 2.0], [3.0, 0.0]])  # sorted by label: 00, then 01
    found = diarisation_of(Output(TRACKS, vectors))
    assert found.turns == (Turn(0.5, 2.0, 0), Turn(1.5, 4.25, 1))
    assert found.voices == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("vectors", [None, np.array([[np.nan, 1.0], [1.0, 0.0]])])
def test_vectors_that_are_missing_are_left_out(vectors: "np.ndarray | None") -> None:
    found = diarisation_of(Output(TRACKS, vectors))
    assert (len(found.turns), found.voices, found.voice_model) == (2, (), "")
