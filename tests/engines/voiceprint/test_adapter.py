import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.der import score
from rhapsode.domain.errors import Unavailable
from rhapsode.domain.speakers import SpeakerBounds
from rhapsode.engines.base import SAMPLE_RATE, Canceled, LoadSettings, Samples
from rhapsode.engines.diarisers import Diarisation
from rhapsode.engines.voiceprint.adapter import DIARISER
from tests.support import conversations, recordings


def _never() -> bool:
    return False


def _diarised(sound: Samples, bounds: SpeakerBounds | None = None) -> Diarisation:
    found = conversations.diariser().diarise(
        conversations.blocks(sound), bounds or SpeakerBounds(), _never
    )
    for before, after in pairwise(found.turns):
        assert before.start <= after.start
    assert all(
        0 <= turn.start < turn.end <= len(sound) / SAMPLE_RATE + 0.1 for turn in found.turns
    )
    assert list(dict.fromkeys(turn.speaker for turn in found.turns)) == [
        *range(len(found.voices))
    ]
    return found


def test_the_two_speakers_of_a_telephone_call() -> None:
    found = conversations.spoken(_diarised(conversations.sound_of("two-speakers")))
    reference = conversations.two_speakers()
    assert len({turn.speaker for turn in found}) == 2
    assert score(reference, found).rate <= 0.10
    assert score(reference, found, collar=0.25).rate <= 0.02


def test_overlapping_speech_has_two_speakers() -> None:
    found = _diarised(conversations.sound_of("two-speakers"))
    both = [
        (one, two)
        for one, two in pairwise(found.turns)
        if two.start < one.end and one.speaker != two.speaker
    ]
    assert any(10 < two.start < 11 for _, two in both)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_people_are_counted_and_told_apart(count: int) -> None:
    sound, reference = conversations.in_turn(conversations.voices()[:count], 12, 3.5)
    found = _diarised(sound)
    assert len(found.voices) == count
    # The reference takes the readers' pauses for speech, so only mix-ups count here.
    errors = score(reference, conversations.spoken(found))
    assert errors.confused / errors.speech <= 0.05


def test_short_turns() -> None:
    sound, reference = conversations.in_turn(conversations.voices()[1:3], 12, 1.2, pause=0.2)
    errors = score(reference, conversations.spoken(_diarised(sound)))
    assert errors.confused / errors.speech <= 0.15


def test_the_number_can_be_given() -> None:
    sound, _ = conversations.in_turn(conversations.voices(), 12, 3.5)
    assert len(_diarised(sound, SpeakerBounds(least=2, most=2)).voices) == 2
    assert len(_diarised(sound, SpeakerBounds(most=3)).voices) == 3
    assert len(_diarised(sound, SpeakerBounds(most=9)).voices) == 4
    # A fifth is looked for, but nobody is made up who says nothing.
    assert len(_diarised(sound, SpeakerBounds(least=5)).voices) in {4, 5}
    assert len(_diarised(sound, SpeakerBounds(least=1, most=1)).voices) == 1


def test_thirty_speakers_in_ten_seconds_are_those_who_can_be_heard() -> None:
    people = [
        voice[start:] for voice in conversations.voices() for start in range(0, 80_000, 10_000)
    ]
    sound, _ = conversations.in_turn(people[:30], 30, 0.3, pause=0.03)
    assert len(sound) / SAMPLE_RATE == pytest.approx(9.9, abs=0.1)
    for bounds in (SpeakerBounds(), SpeakerBounds(least=30, most=30), SpeakerBounds(most=3)):
        found = _diarised(sound, bounds)
        assert 1 <= len(found.voices) <= (bounds.most or 30)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.float32),
        np.zeros(100, np.float32),
        np.zeros(30 * SAMPLE_RATE, np.float32),
        recordings.noise_sound(20.0, level=0.05),
    ],
    ids=["nothing", "a moment", "silence", "noise"],
)
def test_where_nobody_speaks_there_are_no_turns(sound: Samples) -> None:
    assert _diarised(sound) == Diarisation(voice_model="campplus-zh-en-common")


def test_the_steps_in_which_sound_comes_do_not_matter() -> None:
    sound = conversations.sound_of("two-speakers")
    diariser = conversations.diariser()
    whole, odd = (
        diariser.diarise(conversations.blocks(sound, seconds), SpeakerBounds(), _never)
        for seconds in (60.0, 0.77)
    )
    assert whole == odd


def test_one_voice_sounds_alike_and_another_does_not() -> None:
    sound = conversations.sound_of("two-cities")
    first, second = (
        np.array(_diarised(part).voices[0]) for part in (sound[:320_000], sound[320_000:])
    )
    other = np.array(_diarised(conversations.sound_of("jfk")).voices[0])
    assert first @ second > 0.8
    assert first @ other < 0.3
    assert float(np.linalg.norm(first)) == pytest.approx(1.0, abs=1e-3)


def test_a_cancel_is_heard_within_two_seconds() -> None:
    canceled = threading.Event()
    sound, _ = conversations.in_turn(conversations.voices(), 100, 6.0)
    threading.Timer(1.0, canceled.set).start()
    started = time.monotonic()
    with pytest.raises(Canceled):
        conversations.diariser().diarise(
            conversations.blocks(sound), SpeakerBounds(), canceled.is_set
        )
    assert time.monotonic() - started < 3.0


def test_probe_imports_nothing() -> None:
    code = (
        "import sys; from rhapsode.engines.voiceprint.adapter import DIARISER; "
        "assert DIARISER.probe().available; assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "segmentation-3.0.bin").write_bytes(b"no zip at all")
    with pytest.raises(Unavailable, match="cannot be read") as refusal:
        DIARISER.load(tmp_path, LoadSettings())
    assert refusal.value.code == "model_unloadable"
