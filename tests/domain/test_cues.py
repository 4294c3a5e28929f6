"""Subtitle shaping: limits are kept, nothing said is lost, time goes forward."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.domain.cues import Cue, Shaping, shape
from rhapsode.domain.transcripts import Segment, Word

TEXT = "one two three four five six"

limits = st.none() | st.integers(1, 60)
shapings = st.builds(
    Shaping, limits, st.none() | st.integers(1, 4), st.none() | st.integers(1, 12)
)
spoken = st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12))


def timed(words: list[str], start: float = 0.0, pace: float = 0.3) -> Segment:
    """A segment whose words follow one another."""
    moments = [round(start + pace * i, 3) for i in range(len(words) + 1)]
    each = tuple(Word(moments[i], moments[i + 1], word) for i, word in enumerate(words))
    return Segment(start, moments[-1], " ".join(words), None, each)


def untimed(words: list[str]) -> Segment:
    return Segment(0.0, 0.3 * len(words), " ".join(words))


segments = (spoken.map(timed) | spoken.map(untimed)).filter(lambda s: bool(s.text.strip()))


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def words_of(cue: Cue) -> int:
    return len(" ".join(cue.lines).split())


@given(segments, shapings)
def test_nothing_said_is_lost_or_added(segment: Segment, shaping: Shaping) -> None:
    text = "".join("".join(cue.lines) for cue in shape([segment], shaping))

    assert squeezed(text) == squeezed(segment.text)


@given(segments, shapings)
def test_no_line_is_too_long_unless_it_is_one_word(segment: Segment, shaping: Shaping) -> None:
    width = shaping.width or 10**6
    lines = [line for cue in shape([segment], shaping) for line in cue.lines]

    assert [line for line in lines if len(line) > width and " " in line] == []


@given(segments, shapings)
def test_no_cue_has_too_many_lines(segment: Segment, shaping: Shaping) -> None:
    height = shaping.height if shaping.width else 1

    assert all(len(cue.lines) <= height for cue in shape([segment], shaping))


@given(segments, shapings)
def test_no_cue_has_too_many_words(segment: Segment, shaping: Shaping) -> None:
    most = shaping.words_per_cue or 10**6

    assert all(words_of(cue) <= most for cue in shape([segment], shaping))


@given(st.lists(segments, max_size=4), shapings)
def test_time_goes_forward(given_segments: list[Segment], shaping: Shaping) -> None:
    at = 0.0
    moved = []
    for segment in given_segments:
        words = tuple(Word(w.start + at, w.end + at, w.text) for w in segment.words)
        moved.append(Segment(segment.start + at, segment.end + at, segment.text, None, words))
        at += segment.end

    cues = list(shape(moved, shaping))

    assert all(cue.start <= cue.end + 0.001 for cue in cues)
    assert all(a.end <= b.start + 0.002 for a, b in pairwise(cues))


def test_without_limits_a_segment_is_a_cue() -> None:
    segment = Segment(1, 2, " one\n two ", "Ann")

    assert list(shape([segment], Shaping())) == [Cue(1, 2, ("one two",), "Ann")]


def test_words_per_cue_are_spread_evenly() -> None:
    cues = list(shape([timed(TEXT.split())], Shaping(words_per_cue=4)))

    assert cues == [
        Cue(0.0, 0.9, ("one two three",)),
        Cue(0.9, 1.8, ("four five six",)),
    ]


def test_a_break_is_best_after_a_mark() -> None:
    words = ["Is", "it", "so?", "Then", "be", "it", "so."]

    cues = list(shape([timed(words)], Shaping(words_per_cue=5)))

    assert [cue.lines for cue in cues] == [("Is it so?",), ("Then be it so.",)]


def test_lines_of_a_cue() -> None:
    cues = list(shape([timed(TEXT.split())], Shaping(chars_per_line=10)))

    assert [cue.lines for cue in cues] == [("one two", "three"), ("four five", "six")]


def test_one_line_a_cue() -> None:
    shaping = Shaping(chars_per_line=10, lines_per_cue=1)

    assert [cue.lines for cue in shape([timed(TEXT.split())], shaping)] == [
        ("one two",),
        ("three four",),
        ("five six",),
    ]


def test_lines_alone_imply_the_customary_width() -> None:
    assert (Shaping(lines_per_cue=1).width, Shaping(chars_per_line=5).height) == (42, 2)


def test_a_long_word_is_not_cut() -> None:
    word = "Donaudampfschifffahrtsgesellschaft"

    cues = list(shape([timed(["die", word, "kam"])], Shaping(chars_per_line=8)))

    assert [cue.lines for cue in cues] == [("die", word), ("kam",)]


def test_words_missing_from_the_text_fall_back_to_spreading_it() -> None:
    segment = Segment(0, 4, "aa bb cc dd", None, (Word(0, 1, "other"),))

    assert list(shape([segment], Shaping(words_per_cue=2))) == [
        Cue(0, 2, ("aa bb",)),
        Cue(2, 4, ("cc dd",)),
    ]


def test_words_without_a_space_between_stay_together() -> None:
    words = (Word(0, 1, "don"), Word(1, 2, "'t"), Word(2, 3, "go"))
    segment = Segment(0, 3, "don't go", None, words)

    assert [cue.lines for cue in shape([segment], Shaping(words_per_cue=2))] == [
        ("don't",),
        ("go",),
    ]


@pytest.mark.parametrize("length", [30, 60])
def test_a_script_without_spaces_is_cut_by_characters(length: int) -> None:
    segment = Segment(0, 6, "语" * length)

    cues = list(shape([segment], Shaping(chars_per_line=10, lines_per_cue=1)))

    assert [cue.lines for cue in cues] == [("语" * 10,)] * (length // 10)


def test_a_script_without_spaces_is_cut_beside_words_with_spaces() -> None:
    segment = Segment(0, 6, "iPhone 是一款很好的手机 ok")

    cues = list(shape([segment], Shaping(chars_per_line=8, lines_per_cue=1)))

    assert [cue.lines for cue in cues] == [("iPhone",), ("是一款很好的手机",), ("ok",)]


@pytest.mark.parametrize("text", ["안녕하세요", "👩‍🎤👩‍🎤👩‍🎤", "verylongword"])
def test_what_has_spaces_elsewhere_is_not_cut(text: str) -> None:
    cues = list(shape([Segment(0, 1, text)], Shaping(chars_per_line=2, lines_per_cue=1)))

    assert [cue.lines for cue in cues] == [(text,)]


def test_marks_stay_with_their_letter() -> None:
    segment = Segment(0, 1, "กี่" * 20)

    cues = list(shape([segment], Shaping(chars_per_line=6, lines_per_cue=1)))

    assert [cue.lines for cue in cues] == [("กี่กี่",)] * 10


def test_right_to_left_text_keeps_its_order() -> None:
    cues = list(shape([timed(["שלום", "לכולם", "כאן"])], Shaping(words_per_cue=2)))

    assert [cue.lines for cue in cues] == [("שלום",), ("לכולם כאן",)]
