from datetime import UTC, datetime
from uuid import uuid4

import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.speakers import Voices
from rhapsode.domain.users import UserId
from rhapsode.domain.voices import Voice, VoiceId, clean_speaker_name, recognised

_USER = UserId(uuid4())


def _voice(name: str, *vector: float, model: str = "m") -> Voice:
    return Voice(
        id=VoiceId(uuid4()),
        user_id=_USER,
        name=name,
        model=model,
        vector=vector,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_whoever_sounds_alike_is_named() -> None:
    heard = Voices("m", {"Speaker 1": (0.0, 1.0), "Speaker 2": (0.8, 0.6)})
    assert recognised(heard, [_voice("Anna", 1.0, 0.0)]) == {"Speaker 2": "Anna"}


def test_whoever_does_not_is_not() -> None:
    heard = Voices("m", {"Speaker 1": (0.5, 0.866)})
    assert recognised(heard, [_voice("Anna", 1.0, 0.0)]) == {}


def test_the_surest_match_takes_the_name() -> None:
    heard = Voices("m", {"Speaker 1": (0.8, 0.6), "Speaker 2": (1.0, 0.0)})
    assert recognised(heard, [_voice("Anna", 1.0, 0.0)]) == {"Speaker 2": "Anna"}


def test_a_speaker_whose_likest_name_is_taken_gets_the_next() -> None:
    heard = Voices("m", {"Speaker 1": (0.8, 0.6), "Speaker 2": (1.0, 0.0)})
    known = [_voice("Anna", 1.0, 0.0), _voice("Bert", 0.6, 0.8)]
    assert recognised(heard, known) == {"Speaker 2": "Anna", "Speaker 1": "Bert"}


def test_a_voice_enrolled_twice_counts_once() -> None:
    heard = Voices("m", {"Speaker 1": (1.0, 0.0), "Speaker 2": (0.0, 1.0)})
    known = [_voice("Anna", 1.0, 0.0), _voice("Anna", 0.0, 1.0)]
    assert len(recognised(heard, known)) == 1


@pytest.mark.parametrize(
    "voice", [_voice("Anna", 1.0, 0.0, model="other"), _voice("Anna", 1.0, 0.0, 0.0)]
)
def test_what_another_network_heard_is_not_compared(voice: Voice) -> None:
    assert recognised(Voices("m", {"Speaker 1": (1.0, 0.0)}), [voice]) == {}


def test_names_are_one_line() -> None:
    assert clean_speaker_name("  Anna\n Lee ") == "Anna Lee"
    for name in ("", " \n", "x" * 101):
        with pytest.raises(Invalid):
            clean_speaker_name(name)
