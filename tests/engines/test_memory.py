"""A recording's length costs no memory: decoding, speech detection and cutting stream."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rhapsode.engines import audio
from tests.support import recordings, speech

_CHILD = """
import resource, sys
from pathlib import Path
from rhapsode.engines.pipeline import SpeechAhead

speech = SpeechAhead(Path(sys.argv[1]))
count = sum(len(block.samples) for block in speech.blocks(lambda: False, lambda _: None))
assert count > 0.8 * speech.decoder.seconds * 16000, count
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_kib(path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def _speech_of(path: Path, minutes: int) -> Path:
    sound = np.concatenate(list(audio.decode(speech.sample("two-cities"))))
    times = round(minutes * 60 * recordings.RATE / len(sound))
    return recordings.write_wav(path, (sound for _ in range(times)))


@pytest.mark.slow
def test_two_hours_cost_no_more_memory_than_ten_minutes(tmp_path: Path) -> None:
    short = _peak_kib(_speech_of(tmp_path / "short.wav", 10))
    long = _peak_kib(_speech_of(tmp_path / "long.wav", 120))
    assert long / short <= 1.1
