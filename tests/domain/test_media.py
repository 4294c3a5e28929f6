"""Names of recordings, and the types by which browsers play them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.domain.media import MediaProbe, clean_name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("talk.mp3", "talk.mp3"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\talk.wav", "talk.wav"),
        ("C:\\fakepath\\talk.wav", "talk.wav"),
        ("/", "recording"),
        (".", "recording"),
        ("..", "recording"),
        ("a/..", "recording"),
        ("", "recording"),
        (None, "recording"),
        ("   ", "recording"),
        ("\0", "recording"),
        ("a\0b.wav", "ab.wav"),
        ("line\r\nbreak\t.wav", "linebreak.wav"),
        ("\x1b[31mred.wav", "[31mred.wav"),
        (".hidden.wav", "hidden.wav"),
        (" talk . ", "talk"),
        ("🎤 héllo.wav", "🎤 héllo.wav"),
        ("👩‍🎤.wav", "👩‍🎤.wav"),
        ("ｅ\u0301.wav", unicodedata.normalize("NFC", "ｅ\u0301.wav")),
        ("cafe\u0301.wav", "café.wav"),
        ("录音.wav", "录音.wav"),
        ("\ud800.wav", "wav"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("two\u2028lines.wav", "twolines.wav"),
    ],
)
def test_names(given_name: str | None, name: str) -> None:
    assert clean_name(given_name) == name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("a" * 10_000, "a" * 200),
        ("a" * 10_000 + ".wav", "a" * 196 + ".wav"),
        ("a." + "b" * 10_000, "a." + "b" * 198),
    ],
)
def test_long_names_keep_their_ending(given_name: str, name: str) -> None:
    assert clean_name(given_name) == name


@given(st.text(alphabet=st.characters(), max_size=300))
def test_a_cleaned_name_is_fit_for_everything(text: str) -> None:
    name = clean_name(text)

    assert 1 <= len(name) <= 200
    assert not set(name) & set("/\\\0\r\n")
    assert name not in {".", ".."}
    assert name.encode().decode() == name


@pytest.mark.parametrize(
    ("container", "has_video", "media_type"),
    [
        ("wav", False, "audio/wav"),
        ("mp4", True, "video/mp4"),
        ("mp4", False, "audio/mp4"),
        ("unheard-of", False, "application/octet-stream"),
    ],
)
def test_media_types(container: str, has_video: bool, media_type: str) -> None:
    probe = MediaProbe(container, "codec", 1, 16_000, 1.0, has_video)

    assert probe.media_type == media_type
