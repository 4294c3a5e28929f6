from rhapsode.domain.speakers import Turn
from rhapsode.domain.transcripts import Segment, Word
from rhapsode.engines.turns import with_speakers


def _segment(
    text: str, start: float = 0.0, pace: float = 1.0, *, timed: bool = True
) -> Segment:
    """A segment whose every word takes `pace` seconds."""
    texts = text.split()
    words = tuple(
        Word(start + number * pace, start + (number + 1) * pace, word)
        for number, word in enumerate(texts)
    )
    return Segment(start, start + len(texts) * pace, text, words=words if timed else ())


def _said(segments: tuple[Segment, ...]) -> list[tuple[str | None, str]]:
    for segment in segments:
        assert {word.speaker for word in segment.words} <= {segment.speaker}
        if segment.words:
            assert segment.start == segment.words[0].start
            assert segment.end == segment.words[-1].end
    return [(segment.speaker, segment.text) for segment in segments]


def test_a_segment_is_parted_where_the_speaker_changes() -> None:
    turns = [Turn(0, 3, 0), Turn(3, 6, 1)]
    found = with_speakers([_segment("How are you? Fine, thank you.")], turns)
    assert _said(found) == [("Speaker 1", "How are you?"), ("Speaker 2", "Fine, thank you.")]


def test_a_word_goes_to_whoever_speaks_most_of_it() -> None:
    turns = [Turn(0, 1.4, 0), Turn(1.4, 4, 1)]
    assert _said(with_speakers([_segment("one two three")], turns)) == [
        ("Speaker 1", "one"),
        ("Speaker 2", "two three"),
    ]


def test_while_two_speak_the_one_who_spoke_goes_on() -> None:
    turns = [Turn(0, 3, 1), Turn(1, 3, 0)]
    assert _said(with_speakers([_segment("one two three")], turns)) == [
        ("Speaker 2", "one two three")
    ]


def test_words_between_turns_go_to_the_nearest() -> None:
    turns = [Turn(0, 1, 0), Turn(3.2, 5, 1)]
    assert _said(with_speakers([_segment("one two three four five")], turns)) == [
        ("Speaker 1", "one two"),
        ("Speaker 2", "three four five"),
    ]


def test_words_far_from_every_turn_keep_the_speaker_before_them() -> None:
    segments = [_segment("one"), _segment("two", start=50.0)]
    assert _said(with_speakers(segments, [Turn(0, 1, 4)])) == [
        ("Speaker 5", "one"),
        ("Speaker 5", "two"),
    ]


def test_words_before_anybody_have_no_speaker() -> None:
    assert _said(with_speakers([_segment("one")], [Turn(50, 51, 0)])) == [(None, "one")]


def test_a_slip_of_one_short_word_is_no_change() -> None:
    turns = [Turn(0, 0.4, 0), Turn(0.4, 0.6, 1), Turn(0.6, 2, 0)]
    assert _said(with_speakers([_segment("one two three four", pace=0.2)], turns)) == [
        ("Speaker 1", "one two three four")
    ]


def test_a_word_that_takes_its_time_is_a_change() -> None:
    turns = [Turn(0, 1, 0), Turn(1, 2, 1), Turn(2, 3, 0)]
    assert [who for who, _ in _said(with_speakers([_segment("so? yes. good.")], turns))] == [
        "Speaker 1",
        "Speaker 2",
        "Speaker 1",
    ]


def test_without_word_times_a_segment_stays_whole() -> None:
    turns = [Turn(0, 2, 0), Turn(2, 6, 1)]
    segment = _segment("How are you? Fine, thank you.", timed=False)
    assert _said(with_speakers([segment], turns)) == [
        ("Speaker 2", "How are you? Fine, thank you.")
    ]


def test_text_that_spells_words_otherwise_stays_whole() -> None:
    segment = Segment(0, 2, "1 2", words=(Word(0, 1, "one"), Word(1, 2, "two")))
    turns = [Turn(0, 1, 0), Turn(1, 2, 1)]
    assert [s.text for s in with_speakers([segment], turns)] == ["1 2"]


def test_scripts_without_spaces_are_parted() -> None:
    segment = Segment(0, 2, "你好再见", words=(Word(0, 1, "你好"), Word(1, 2, "再见")))
    turns = [Turn(0, 1, 0), Turn(1, 2, 1)]
    assert _said(with_speakers([segment], turns)) == [
        ("Speaker 1", "你好"),
        ("Speaker 2", "再见"),
    ]


def test_no_turns_change_nothing() -> None:
    segments = (_segment("one two"),)
    assert with_speakers(segments, []) == segments
