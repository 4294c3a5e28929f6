"""Sound in which nobody says a word gives no word: a few seconds of every kind.

`python -m bench.accuracy` does it with eleven minutes and every engine.
"""

from pathlib import Path

import numpy as np
import pytest

from bench import clips, hush
from rhapsode.domain.jobs import JobSpec
from rhapsode.domain.word_errors import word_error_rate
from rhapsode.engines import pipeline
from rhapsode.testing import plain
from tests.support import speech

SPEC = JobSpec(engine="faster-whisper", model="tiny.en", language="en")


def _heard(path: Path) -> str:
    model = speech.loaded("tiny.en")
    result = pipeline.run(path, SPEC, model, lambda _: None, lambda: False)
    return result.transcript.text


@pytest.mark.parametrize("kind", hush.KINDS)
def test_nothing_is_invented(kind: str, tmp_path: Path) -> None:
    sound = hush.made(kind, 6)
    assert len(sound) == 6 * 16_000
    assert np.abs(sound).max() > 0.001 or kind == "digital silence"
    path = tmp_path / "hush.wav"
    clips.write(path, sound)
    assert _heard(path) == ""


def test_speech_beside_music_and_noise_is_all_that_is_heard(tmp_path: Path) -> None:
    jfk = clips.decoded(speech.sample("jfk"))
    parts = [hush.made("strings", 5), jfk, hush.made("pink noise, low", 5)]
    path = tmp_path / "between.wav"
    clips.write(path, np.concatenate(parts))
    assert word_error_rate(speech.sample_text("jfk"), plain(_heard(path))) < 0.05
