"""Conversations made of real speech, with what a diariser should find in them."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from bench.der import Spoken, read_rttm
from rhapsode.catalogue.diarisers import DIARISER_MODELS
from rhapsode.catalogue.store import ModelStore
from rhapsode.engines import audio
from rhapsode.engines.base import SAMPLE_RATE, LoadSettings, Samples
from rhapsode.engines.diarisers import Diarisation, Diariser
from rhapsode.engines.voiceprint.adapter import DIARISER
from tests.support import speech


@cache
def diariser() -> Diariser:
    """The embedded one, shared by the tests of a process."""
    folder = ModelStore(speech.models_folder()).pull(DIARISER_MODELS[0])
    return DIARISER.load(folder, LoadSettings(threads=2))


@cache
def sound_of(name: str) -> Samples:
    """A sample of the catalogue, decoded."""
    return np.concatenate(list(audio.decode(speech.sample(name))))


def blocks(sound: Samples, seconds: float = 10.0) -> Iterator[Samples]:
    step = int(seconds * SAMPLE_RATE)
    for start in range(0, len(sound), step):
        yield sound[start : start + step]


def two_speakers() -> list[Spoken]:
    """The reference turns of the sample `two-speakers`."""
    return read_rttm(speech.sample("two-speakers").with_suffix(".rttm"))


def telephone(speaker: int) -> Samples:
    """One of the sample's speakers alone: two stretches in which nobody else talks."""
    spans = [[(10.6, 14.4), (18.7, 21.4)], [(15.0, 17.8), (22.0, 27.7)]][speaker]
    sound = sound_of("two-speakers")
    parts = [sound[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)] for a, b in spans]
    return np.concatenate(parts)


def voices() -> list[Samples]:
    """Four people."""
    return [sound_of("jfk"), sound_of("two-cities"), telephone(0), telephone(1)]


def in_turn(
    people: Sequence[Samples], turns: int, seconds: float, pause: float = 0.3
) -> tuple[Samples, list[Spoken]]:
    """People who speak one after the other, each going on where they stopped."""
    at = [0] * len(people)
    step, parts, found, now = int(seconds * SAMPLE_RATE), [], [], 0.0
    for number in range(turns):
        who = number % len(people)
        whole = people[who] / np.sqrt(np.mean(people[who] ** 2)) * 0.06
        if at[who] + step > len(whole):
            at[who] = 0
        parts += [
            whole[at[who] : at[who] + step],
            np.zeros(int(pause * SAMPLE_RATE), np.float32),
        ]
        at[who] += step
        found.append(Spoken(now, now + seconds, str(who)))
        now += seconds + pause
    return np.concatenate(parts).astype(np.float32), found


def spoken(found: Diarisation) -> list[Spoken]:
    """A diariser's turns, to be scored."""
    return [Spoken(turn.start, turn.end, str(turn.speaker)) for turn in found.turns]
