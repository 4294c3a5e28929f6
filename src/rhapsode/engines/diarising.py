"""Adds speakers to a transcript: a second hearing of the recording, by a diariser."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rhapsode.domain.jobs import Progress
from rhapsode.domain.speakers import SpeakerBounds, Voices, label
from rhapsode.domain.transcripts import Transcript
from rhapsode.engines.audio import Decoder
from rhapsode.engines.base import SAMPLE_RATE, Canceling, Samples
from rhapsode.engines.diarisers import Diarisation, Diariser
from rhapsode.engines.turns import with_speakers

STAGE = "diarising"

Report = Callable[[Progress], None]


def diarised(
    path: Path,
    transcript: Transcript,
    diariser: Diariser,
    bounds: SpeakerBounds,
    report: Report,
    canceled: Canceling,
) -> Transcript:
    """The transcript of the recording at `path` with its speakers.

    `report` gets a rising fraction of the recording. Raises what `Diariser.diarise` raises.
    Nothing is heard again where nothing was said.
    """
    if not transcript.segments:
        return transcript
    blocks = _reported(Decoder(path).blocks(), transcript.duration, report)
    found = diariser.diarise(blocks, bounds, canceled)
    segments = with_speakers(transcript.segments, found.turns)
    return _in_order(replace(transcript, segments=segments), found)


def _reported(blocks: Iterator[Samples], duration: float, report: Report) -> Iterator[Samples]:
    heard = 0
    report(Progress(STAGE, 0.0))
    for block in blocks:
        yield block
        heard += len(block)
        share = heard / SAMPLE_RATE / duration if duration else 1.0
        report(Progress(STAGE, round(min(share, 1.0), 4)))


def _in_order(transcript: Transcript, found: Diarisation) -> Transcript:
    """Speakers numbered as their words appear; who says nothing has no number."""
    names = {old: label(number) for number, old in enumerate(transcript.speakers)}
    vectors = {label(number): vector for number, vector in enumerate(found.voices)}
    known = {name: vectors[name] for name in names if name in vectors}
    voices = Voices(found.voice_model, known) if known else None
    return replace(transcript, voices=voices).renamed(names)
