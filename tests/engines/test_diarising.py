from itertools import pairwise
from pathlib import Path

import pytest

from rhapsode.domain.formats import Format, render
from rhapsode.domain.jobs import JobSpec, Layout, Progress
from rhapsode.domain.speakers import SpeakerBounds
from rhapsode.domain.transcripts import Transcript
from rhapsode.engines import diarising, pipeline
from tests.support import conversations, recordings, speech

SPEC = JobSpec(model="tiny.en", layout=Layout.DIARISATION)


def _transcribed(path: Path) -> Transcript:
    transcriber = speech.loaded(SPEC.model)
    return pipeline.run(path, SPEC, transcriber, lambda _: None, lambda: False).transcript


def _diarised(
    path: Path, transcript: Transcript, bounds: SpeakerBounds | None = None
) -> tuple[Transcript, list[Progress]]:
    news: list[Progress] = []
    found = diarising.diarised(
        path,
        transcript,
        conversations.diariser(),
        bounds or SpeakerBounds(),
        news.append,
        lambda: False,
    )
    return found, news


@pytest.fixture(scope="module")
def call() -> Transcript:
    path = speech.sample("two-speakers")
    return _diarised(path, _transcribed(path))[0]


def test_a_call_becomes_paragraphs_of_two_speakers(call: Transcript) -> None:
    assert call.speakers == ("Speaker 1", "Speaker 2")
    text = render(call, Format.TXT, layout=Layout.DIARISATION)
    paragraphs = text.rstrip("\n").split("\n\n")
    names = [paragraph.partition(": ")[0] for paragraph in paragraphs]
    assert set(names) == {"Speaker 1", "Speaker 2"}
    assert all(one != two for one, two in pairwise(names))
    assert len(paragraphs) >= 5


def test_words_have_the_speaker_of_their_segment_and_of_the_reference(call: Transcript) -> None:
    reference = conversations.two_speakers()
    pairs: dict[tuple[str | None, str], int] = {}
    for segment in call.segments:
        for word in segment.words:
            assert word.speaker == segment.speaker
            middle = (word.start + word.end) / 2
            truth = {turn.speaker for turn in reference if turn.start <= middle < turn.end}
            if len(truth) == 1:
                pair = (word.speaker, truth.pop())
                pairs[pair] = pairs.get(pair, 0) + 1
    best = sorted(pairs.values(), reverse=True)
    assert len({speaker for (speaker, _) in sorted(pairs, key=pairs.__getitem__)[-2:]}) == 2
    assert sum(best[:2]) / sum(best) >= 0.9


def test_parting_segments_loses_no_word(call: Transcript) -> None:
    plain = _transcribed(speech.sample("two-speakers"))
    words = [word.text for segment in call.segments for word in segment.words]
    assert words == [word.text for segment in plain.segments for word in segment.words]
    assert call.text.split() == plain.text.split()


def test_what_the_speakers_sound_like_is_kept_but_not_shown(call: Transcript) -> None:
    assert call.voices is not None
    assert sorted(call.voices.vectors) == ["Speaker 1", "Speaker 2"]
    assert "voices" not in render(call, Format.JSON)
    assert Transcript.from_dict(call.to_stored()) == call


@pytest.mark.parametrize("kind", [Format.SRT, Format.VTT, Format.TSV, Format.CSV])
def test_every_format_names_the_speakers(call: Transcript, kind: Format) -> None:
    marks = {Format.SRT: "[Speaker 2] ", Format.VTT: "<v Speaker 2>"}
    assert marks.get(kind, "Speaker 2") in render(call, kind, layout=Layout.DIARISATION)


def test_progress_rises_to_the_end() -> None:
    path = speech.sample("jfk")
    found, news = _diarised(path, _transcribed(path))
    assert found.speakers == ("Speaker 1",)
    assert {item.stage for item in news} == {"diarising"}
    fractions = [item.fraction for item in news]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fractions == sorted(fractions)


def test_where_nothing_was_said_nobody_is_looked_for(tmp_path: Path) -> None:
    path = recordings.tone(tmp_path / "a.wav", 3.0)
    assert _diarised(path, Transcript(None, 3.0)) == (Transcript(None, 3.0), [])
