from pathlib import Path

import pytest

from bench.der import Errors, Spoken, read_rttm, score

REFERENCE = [Spoken(0, 10, "a"), Spoken(10, 20, "b")]


def test_what_is_right_has_no_errors_whatever_speakers_are_called() -> None:
    found = [Spoken(0, 10, "2"), Spoken(10, 20, "1")]
    assert score(REFERENCE, found) == Errors(20, 0, 0, 0)


def test_each_kind_of_error_is_counted() -> None:
    found = [Spoken(0, 8, "1"), Spoken(10, 15, "2"), Spoken(15, 20, "1"), Spoken(21, 24, "2")]
    errors = score(REFERENCE, found)
    assert errors == Errors(speech=20, missed=2, invented=3, confused=5)
    assert errors.rate == 0.5


def test_speech_of_two_counts_twice() -> None:
    reference = [Spoken(0, 10, "a"), Spoken(5, 10, "b")]
    assert score(reference, [Spoken(0, 10, "1")]) == Errors(15, 5, 0, 0)


def test_the_best_matching_counts_not_the_greedy_one() -> None:
    reference = [Spoken(0, 6, "a"), Spoken(6, 11, "b"), Spoken(11, 16, "a")]
    found = [Spoken(0, 6, "1"), Spoken(6, 11, "1"), Spoken(11, 16, "2")]
    # 1 is with a for 6 s and with b for 5 s; 2 is with a for 5 s: 1=b and 2=a is better.
    assert score(reference, found).confused == 6


def test_within_the_collar_nothing_counts() -> None:
    found = [Spoken(0, 10.2, "1"), Spoken(10.2, 20.2, "2")]
    assert score(REFERENCE, found).rate == pytest.approx(0.02)
    assert score(REFERENCE, found, collar=0.25).rate == 0
    assert score(REFERENCE, found, collar=0.25).speech == pytest.approx(19)


def test_nobody_found_misses_everything() -> None:
    assert score(REFERENCE, []).rate == 1.0
    assert score([], []).rate == 0.0


def test_rttm_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.rttm"
    path.write_text(
        "SPEAKER sample 1 6.690 0.430 <NA> <NA> anna <NA> <NA>\n;; a remark\n"
        "SPEAKER sample 1 7.5 1.0 <NA> <NA> bert <NA> <NA>\n"
    )
    assert read_rttm(path) == [Spoken(6.69, 7.12, "anna"), Spoken(7.5, 8.5, "bert")]
