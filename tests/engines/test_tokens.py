import pytest

from rhapsode.domain.transcripts import Word
from rhapsode.engines.tokens import Token, is_tag, segment_of, words_of


def _tokens(*texts: str | bytes) -> list[Token]:
    return [
        Token(
            text if isinstance(text, bytes) else text.encode(),
            index / 10,
            (index + 1) / 10,
            0.5,
        )
        for index, text in enumerate(texts)
    ]


def test_pieces_of_words_are_joined_with_their_times() -> None:
    words = words_of(_tokens(" foolish", "ness", ",", " it"), "en")
    assert words == (Word(0.0, 0.3, "foolishness,", 0.5), Word(0.3, 0.4, "it", 0.5))


def test_a_character_in_two_tokens_is_one() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    assert [w.text for w in words_of(_tokens(" caf", first, second, " noir"), "fr")] == [
        "café",
        "noir",
    ]


def test_a_language_without_spaces_has_a_word_for_each_character() -> None:
    ni = "你".encode()
    tokens = _tokens(ni[:2], ni[2:], "好", "。", "世界")
    assert [word.text for word in words_of(tokens, "zh")] == ["你", "好。", "世界"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    (word,) = words_of(_tokens(b" \xff\xfe"), "en")
    assert word.text == "\ufffd\ufffd"


def test_empty_tokens_are_no_words() -> None:
    assert words_of(_tokens(" ", " ", ""), "en") == ()


@pytest.mark.parametrize("text", ["[BLANK_AUDIO]", "(music)", "♪ la la ♪", "*sighs*"])
def test_names_of_sounds_are_not_speech(text: str) -> None:
    assert is_tag(text)
    assert segment_of(f" {text} ", 0.0, 1.0, limit=2.0) is None


@pytest.mark.parametrize("text", ["(so) he said (twice)", "[", "2 * 3", "well (then)", ""])
def test_speech_with_brackets_is_speech(text: str) -> None:
    assert not is_tag(text)


def test_times_are_put_in_order_and_inside() -> None:
    words = [Word(0.5, 0.4, "a", 1.0), Word(0.3, 9.0, "b", 1.0)]
    segment = segment_of(" a b ", -1.0, 30.0, words, limit=2.0)
    assert segment is not None
    assert (segment.start, segment.end, segment.text) == (0.0, 2.0, "a b")
    assert [(w.start, w.end) for w in segment.words] == [(0.5, 0.5), (0.5, 2.0)]
