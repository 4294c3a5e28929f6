"""Diarisation: error rates of the embedded diariser, without a collar and with 0.25 s.

`python -m bench.diarisation` scores the two-speaker sample and conversations made of real
speech; further recordings with references are given as pairs of audio and RTTM files.
"""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench.der import Spoken, read_rttm, score
from rhapsode.domain.speakers import SpeakerBounds
from rhapsode.engines import audio
from rhapsode.engines.base import SAMPLE_RATE, Samples
from tests.support import conversations

COLLAR_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recording: error rates in percent, and seconds of work a second of sound."""

    recording: str
    seconds: float
    speakers: int
    found: int
    der: float
    missed: float
    invented: float
    confused: float
    der_collar: float
    real_time_factor: float
    peak_mb: int


def cases(pairs: Sequence[Path]) -> Iterator[tuple[str, Samples, list[Spoken]]]:
    """What is measured: the sample, then what was made or named."""
    yield "two-speakers", conversations.sound_of("two-speakers"), conversations.two_speakers()
    voices = conversations.voices()
    for count in (1, 2, 3, 4):
        sound, reference = conversations.in_turn(voices[:count], 20, 3.5)
        yield f"made, {count} in turn", sound, reference
    for path, reference_path in zip(pairs[::2], pairs[1::2], strict=True):
        sound = np.concatenate(list(audio.decode(path)))
        yield path.name, sound, read_rttm(reference_path)


def measured(name: str, sound: Samples, reference: Sequence[Spoken]) -> Row:
    """One recording, diarised and scored."""
    diariser = conversations.diariser()
    started = time.perf_counter()
    found = diariser.diarise(conversations.blocks(sound), SpeakerBounds(), lambda: False)
    worked = time.perf_counter() - started
    heard = conversations.spoken(found)
    errors = score(reference, heard)
    return Row(
        recording=name,
        seconds=round(len(sound) / SAMPLE_RATE, 1),
        speakers=len({turn.speaker for turn in reference}),
        found=len({turn.speaker for turn in heard}),
        der=_percent(errors.rate),
        missed=_percent(errors.missed / errors.speech),
        invented=_percent(errors.invented / errors.speech),
        confused=_percent(errors.confused / errors.speech),
        der_collar=_percent(score(reference, heard, COLLAR_SECONDS).rate),
        real_time_factor=round(worked * SAMPLE_RATE / len(sound), 3),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def _percent(share: float) -> float:
    return round(100 * share, 1)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, as the docs have them."""
    head = (
        "| Recording | s | Speakers | Found | DER | missed | invented | confused "
        "| DER, 0.25 s collar | Real-time factor | Peak MB |\n" + "|---" * 11 + "|\n"
    )
    return head + "".join(
        f"| {r.recording} | {r.seconds:g} | {r.speakers} | {r.found} | {r.der} % "
        f"| {r.missed} % | {r.invented} % | {r.confused} % | {r.der_collar} % "
        f"| {r.real_time_factor} | {r.peak_mb} |\n"
        for r in rows
    )


def main(
    pairs: Annotated[
        list[Path] | None, typer.Argument(help="AUDIO RTTM …: recordings with references.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of a table.")] = False,
) -> None:
    """Measure who is told apart, and how fast."""
    given = pairs or []
    if len(given) % 2:
        raise typer.BadParameter("each recording needs its RTTM file behind it")
    rows = [measured(*case) for case in cases(given)]
    print(json.dumps([asdict(row) for row in rows], indent=1) if as_json else table(rows))


if __name__ == "__main__":
    typer.run(main)
