import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.speakers import SpeakerBounds, Voices, bounds_of, label


@pytest.mark.parametrize(
    ("asked", "bounds"),
    [
        ({}, SpeakerBounds()),
        ({"exact": 2}, SpeakerBounds(least=2, most=2)),
        ({"least": 2}, SpeakerBounds(least=2)),
        ({"most": 4}, SpeakerBounds(most=4)),
        ({"least": 2, "most": 4}, SpeakerBounds(least=2, most=4)),
    ],
)
def test_numbers_become_bounds(asked: dict[str, int], bounds: SpeakerBounds) -> None:
    assert bounds_of(**asked) == bounds


@pytest.mark.parametrize(
    "asked",
    [
        {"exact": 0},
        {"exact": 101},
        {"least": -1},
        {"least": 3, "most": 2},
        {"exact": 2, "most": 3},
        {"exact": 2, "least": 1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(asked: dict[str, int]) -> None:
    with pytest.raises(Invalid) as refusal:
        bounds_of(**asked)
    assert refusal.value.code == "speakers_invalid"


def test_labels_count_from_one() -> None:
    assert [label(number) for number in (0, 9)] == ["Speaker 1", "Speaker 10"]


def test_voices_of_one_name_sound_like_the_first() -> None:
    voices = Voices("m", {"a": (1.0,), "b": (2.0,), "c": (3.0,)})
    assert voices.renamed({"a": "b", "b": "b"}) == Voices("m", {"b": (1.0,), "c": (3.0,)})
