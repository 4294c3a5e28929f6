import pytest

from rhapsode.domain.word_errors import plain, word_error_rate, word_errors


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("ask not what", "ask not what", 0),
        ("ask not what", "ask what", 1),
        ("ask not what", "do ask not what", 1),
        ("ask not what", "asked not that", 2),
        ("ask not what", "", 3),
        ("", "thank you", 2),
    ],
)
def test_words_to_change_drop_or_add(said: str, heard: str, wrong: int) -> None:
    assert word_errors(said, heard) == wrong


def test_case_and_punctuation_do_not_count() -> None:
    assert plain("It's — “done”, he said.") == "it's done he said"
    assert word_error_rate("Ask not what.", "ask, NOT what!") == 0
    assert word_error_rate("one two three four", "one two four") == 0.25
