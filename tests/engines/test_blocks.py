import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from rhapsode.engines import audio, blocks
from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.blocks import Block, BlockBuilder, Piece, SpeechCutter, joined
from tests.support import recordings, speech


def _decoded(name: str) -> Samples:
    return np.concatenate(list(audio.decode(speech.sample(name))))


def _pieces(sound: Samples, step: int = 160_000) -> list[Piece]:
    cutter = SpeechCutter()
    found = [
        piece
        for start in range(0, len(sound), step)
        for piece in cutter.feed(sound[start : start + step])
    ]
    return [*found, *cutter.finish()]


def _blocks(pieces: Iterable[Piece]) -> list[Block]:
    builder = BlockBuilder()
    found = [block for piece in pieces if (block := builder.add(piece))]
    last = builder.finish()
    return [*found, last] if last else found


def _seconds_of(pieces: Iterable[Piece]) -> float:
    return sum(len(piece.samples) for piece in pieces) / SAMPLE_RATE


@pytest.mark.parametrize("level", [0.001, 0.05, 0.2, 0.5])
def test_white_noise_is_no_speech(level: float) -> None:
    assert _pieces(recordings.noise_sound(60.0, level=level)) == []


def test_silence_and_a_tone_are_no_speech() -> None:
    assert _pieces(np.zeros(60 * SAMPLE_RATE, np.float32)) == []
    assert _pieces(recordings.tone_sound(60.0)) == []


def test_nothing_at_all_is_no_speech() -> None:
    assert _pieces(np.zeros(0, np.float32)) == []
    assert _pieces(np.zeros(1600, np.float32)) == []


def test_the_steps_in_which_sound_comes_do_not_matter() -> None:
    sound = _decoded("two-cities")
    spans, odd = (
        [(piece.start, piece.end) for piece in _pieces(sound, step)]
        for step in (160_000, 3_333)
    )
    assert spans == odd


def test_pieces_are_the_recordings_own_samples_in_order() -> None:
    sound = _decoded("two-cities")
    pieces = _pieces(sound)
    assert len(pieces) > 10
    for piece in pieces:
        assert np.array_equal(piece.samples, sound[piece.start : piece.end])
    for before, after in itertools.pairwise(pieces):
        assert before.end <= after.start


def test_a_long_silence_is_left_out_and_a_short_one_is_kept() -> None:
    jfk = _decoded("jfk")
    whole = _seconds_of(_pieces(jfk))
    quiet = np.zeros(int(1.0 * SAMPLE_RATE), np.float32)
    long_quiet = np.zeros(60 * SAMPLE_RATE, np.float32)
    assert _seconds_of(_pieces(np.concatenate([jfk, long_quiet, jfk]))) == pytest.approx(
        2 * whole, abs=1.0
    )
    assert _seconds_of(_pieces(np.concatenate([jfk, quiet, jfk]))) == pytest.approx(
        2 * len(jfk) / SAMPLE_RATE + 1.0, abs=1.0
    )


def test_speech_without_any_pause_is_cut_after_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Talker:
        def probabilities(self, samples: Samples) -> Samples:
            return np.ones(-(-len(samples) // 512), np.float32)

    monkeypatch.setattr(blocks, "SpeechMeter", Talker)
    pieces = _pieces(recordings.noise_sound(125.0))
    assert max(_seconds_of([piece]) for piece in pieces) <= 30.1
    assert _seconds_of(pieces) == pytest.approx(125.0)


def _piece(start_seconds: float, seconds: float, pause: float) -> Piece:
    start = int(start_seconds * SAMPLE_RATE)
    return Piece(start, np.full(int(seconds * SAMPLE_RATE), start_seconds, np.float32), pause)


def test_a_block_ends_at_the_longest_pause_of_its_last_minutes() -> None:
    pauses = {5: 1.9, 20: 0.9, 25: 0.5}
    pieces = [_piece(10.0 * i, 10.0, pauses.get(i, 0.2)) for i in range(40)]
    made = _blocks(pieces)
    assert [block.starts[0] // SAMPLE_RATE for block in made] == [0, 210]
    assert sum(len(block.samples) for block in made) == 400 * SAMPLE_RATE


def test_blocks_never_exceed_their_limit() -> None:
    made = _blocks(_piece(30.0 * i, 30.0, 0.0) for i in range(60))
    assert max(len(block.samples) for block in made) <= 300 * SAMPLE_RATE
    assert sum(len(block.samples) for block in made) == 1800 * SAMPLE_RATE


def test_times_lead_back_to_the_recording() -> None:
    block = joined([_piece(10.0, 5.0, 2.0), _piece(100.0, 5.0, 2.0)])
    assert block.original(1.0, 2.0) == (11.0, 12.0)
    assert block.original(6.0, 7.0) == (101.0, 102.0)
    assert block.end_seconds == 105.0


def test_a_word_over_a_seam_stays_on_the_side_of_its_middle() -> None:
    block = joined([_piece(10.0, 5.0, 2.0), _piece(100.0, 5.0, 2.0)])
    assert block.original(4.0, 5.5) == (14.0, 15.0)
    assert block.original(4.8, 6.0) == (100.0, 101.0)


def test_at_a_seam_an_end_is_before_and_a_start_after() -> None:
    block = joined([_piece(10.0, 5.0, 2.0), _piece(100.0, 5.0, 2.0)])
    assert block.original_point(5.0, is_end=True) == 15.0
    assert block.original_point(5.0, is_end=False) == 100.0
