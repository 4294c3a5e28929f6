"""URLs as they may be shown, and texts of others that repeat them."""

import pytest

from rhapsode.domain.urls import name_in, shown, without_secrets

URL = "https://me:hunter2@example.org/a.wav?sig=s3cr%2Fet&v=1#fragment"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("s3cr%2Fet and s3cr/et", "******** and ********"),
        ("hunter2 at #fragment", "******** at #********"),
        ("GET /a.wav?sig=s3cr%2Fet&v=1", "GET /a.wav?********"),
        ("sig, v=1 and me are no secrets", "sig, v=1 and me are no secrets"),
    ],
)
def test_what_a_url_keeps_secret_stays_secret(text: str, masked: str) -> None:
    assert without_secrets(text, URL) == masked


def test_short_values_are_no_secrets() -> None:
    assert without_secrets("page 1 of 1", "https://example.org/?page=1") == "page 1 of 1"


def test_a_secret_within_another_is_no_way_to_read_the_rest() -> None:
    assert without_secrets("abcdefgh", "https://h/?a=abcd&b=abcdefgh") == "********"


def test_what_cannot_be_read_has_no_secrets() -> None:
    assert without_secrets("text", "http://[nowhere?sig=text") == "text"


def test_a_key_in_a_bucket_is_shown_whole() -> None:
    assert shown("s3://tapes/a b#1?.wav") == "s3://tapes/a b#1?.wav"
    assert name_in("s3://tapes/1961/a%20b#1?.wav") == "a%20b#1?.wav"
    assert (
        shown("https://me:pw@a.example/b.wav?X-Amz-Signature=c#d") == "https://a.example/b.wav"
    )
