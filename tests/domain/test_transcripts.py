"""The canonical document of a transcript."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode.domain.transcripts import Segment, Transcript, Word

times = st.floats(0, 1e6, allow_nan=False).map(lambda value: round(value, 3))
words = st.builds(Word, times, times, st.text(), st.none() | st.floats(0, 1))
segments = st.builds(
    Segment, times, times, st.text(), st.none() | st.text(), st.lists(words).map(tuple)
)
transcripts = st.builds(
    Transcript,
    st.sampled_from(["en", "yue", None]),
    times,
    st.lists(segments, max_size=4).map(tuple),
    st.none() | st.floats(0, 1),
)


@given(transcripts)
def test_a_transcript_survives_its_document(transcript: Transcript) -> None:
    document = json.loads(json.dumps(transcript.to_dict()))

    assert Transcript.from_dict(document) == transcript


def document(**changes: Any) -> dict[str, Any]:
    segment = {"start": 0, "end": 1, "text": "hello"}
    return {"language": "en", "duration": 1, "segments": [segment], **changes}


def segment_with(**changes: Any) -> dict[str, Any]:
    return document(segments=[{"start": 0, "end": 1, "text": "hello", **changes}])


def test_the_least_that_is_a_transcript() -> None:
    assert Transcript.from_dict(document()) == Transcript("en", 1.0, (Segment(0, 1, "hello"),))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        document(segments=[{}]),
        document(segments="text"),
        document(segments=None),
        document(duration=None),
        document(duration="long"),
        document(duration=float("nan")),
        document(duration=float("inf")),
        document(language=5),
        document(language="e" * 17),
        document(language_probability="sure"),
        segment_with(start=float("nan")),
        segment_with(end=float("inf")),
        segment_with(text=None),
        segment_with(speaker=5),
        segment_with(words=[{"start": 0, "end": 1}]),
        segment_with(words=[{"start": 0, "end": 1, "text": "a", "probability": "b"}]),
        segment_with(words=[{"start": 0, "end": float("nan"), "text": "a"}]),
    ],
)
def test_what_is_no_transcript_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Transcript.from_dict(wrong)
