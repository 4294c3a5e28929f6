from pathlib import Path

import numpy as np
import pytest

from bench import accuracy, clips, hush, reader
from bench.accuracy import Score, Subject
from bench.clips import Clip
from bench.reader import BARE, OURS
from tests.support import speech


def test_texts_are_compared_by_whispers_rules() -> None:
    clip = Clip("made", Path(), "Mister Brown's colour is twenty one percent, isn't it?")
    assert accuracy.scored(clip, "Mr. Brown's color is 21%, is not it") == Score(0, 9)
    assert accuracy.scored(clip, "Mr. Brown's color is 21%") == Score(3, 9)


def test_a_clip_that_a_library_cannot_take_does_not_count() -> None:
    onnx = Subject("onnx-asr", "whisper-tiny", Path())
    long = Clip("two-cities", speech.sample("two-cities"), "")
    assert accuracy.fits(onnx, OURS, long)
    assert not accuracy.fits(onnx, BARE, long)
    assert accuracy.fits(onnx, BARE, Clip("jfk", speech.sample("jfk"), ""))


def test_clips_joined_have_the_text_and_the_length(tmp_path: Path) -> None:
    jfk = Clip("jfk", speech.sample("jfk"), "ask not")
    long = clips.joined([jfk], 0.5, tmp_path / "long.wav")
    assert long.text == "ask not ask not ask not"
    assert 30 <= accuracy.length(long) < 45


def test_ours_and_the_library_read_the_same(tmp_path: Path) -> None:
    subject = Subject("faster-whisper", "tiny.en", speech.model_path("tiny.en"))
    jfk = Clip("jfk", speech.sample("jfk"), speech.sample_text("jfk"))
    result = accuracy.heard(subject, [jfk])
    assert result.compared() == (Score(0, 22), Score(0, 22))
    assert result.pace(OURS)[0] > 0
    assert result.ours.peak > 100 * 2**20


def test_a_reader_that_fails_says_why() -> None:
    order = reader.Order("faster-whisper", Path("/nowhere"), OURS, (speech.sample("jfk"),))
    with pytest.raises(RuntimeError, match="/nowhere"):
        reader.read(order)


@pytest.mark.parametrize("kind", hush.KINDS)
def test_hush_is_the_same_each_time(kind: str) -> None:
    first, second = hush.made(kind, 2), hush.made(kind, 2)
    assert np.array_equal(first, second)
    assert first.dtype == np.float32
    assert np.abs(first).max() <= 1
