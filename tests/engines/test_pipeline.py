import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest

from rhapsode.domain.errors import Invalid, Unavailable
from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.transcripts import Segment, Transcript, Word
from rhapsode.engines import audio, pipeline
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Canceled,
    Canceling,
    LanguageGuess,
    Samples,
    TranscribeOptions,
    Transcriber,
)
from rhapsode.engines.pipeline import PipelineResult
from tests.support import recordings, speech

TINY = JobSpec(model="tiny.en")


def _run(path: Path, spec: JobSpec = TINY) -> PipelineResult:
    return pipeline.run(path, spec, speech.loaded(spec.model), lambda _: None, lambda: False)


def _error_rate(transcript: Transcript, sample: str) -> float:
    return jiwer.wer(speech.plain(speech.sample_text(sample)), speech.plain(transcript.text))


def _check_times(transcript: Transcript) -> None:
    now = 0.0
    for segment in transcript.segments:
        assert now <= segment.start <= segment.end <= transcript.duration
        for word in segment.words:
            assert now <= word.start <= word.end <= segment.end
            assert word.start == round(word.start, 3)
            assert word.text == word.text.strip() != ""
            now = word.end
        now = segment.end


@pytest.mark.parametrize("sample", ["jfk", "two-cities"])
def test_real_speech_becomes_its_words(sample: str) -> None:
    transcript = _run(speech.sample(sample)).transcript
    assert _error_rate(transcript, sample) <= 0.05
    assert transcript.language == "en"
    assert all(segment.words for segment in transcript.segments)
    _check_times(transcript)


def test_the_default_model_detects_the_language() -> None:
    transcript = _run(speech.sample("jfk"), JobSpec()).transcript
    assert transcript.language == "en"
    assert transcript.language_probability is not None
    assert transcript.language_probability > 0.8
    assert _error_rate(transcript, "jfk") <= 0.05


def test_words_are_placed_where_they_are_spoken(tmp_path: Path) -> None:
    sound, rate = recordings.read_wav(speech.sample("jfk"))
    quiet = np.zeros(20 * rate, np.float32)
    path = recordings.write_wav(tmp_path / "a.wav", [quiet, sound, quiet, sound, quiet])
    transcript = _run(path).transcript
    words = [word for segment in transcript.segments for word in segment.words]
    asks = [word.start for word in words if word.text.lower().startswith("ask")]
    assert [round(start) for start in asks] == pytest.approx([23, 28, 54, 59], abs=1)
    assert transcript.duration == pytest.approx(82.0)
    _check_times(transcript)


def test_without_word_times_segments_have_times_only() -> None:
    transcript = _run(speech.sample("jfk"), replace(TINY, word_times=False)).transcript
    assert [segment.words for segment in transcript.segments] == [()] * len(transcript.segments)
    assert _error_rate(transcript, "jfk") <= 0.05
    _check_times(transcript)


def test_a_prompt_sets_the_spelling() -> None:
    spec = replace(TINY, prompt="and so my fellow americans, ask not, no capitals")
    assert "americans" in _run(speech.sample("jfk"), spec).transcript.text.lower()


@pytest.mark.parametrize("make", [recordings.silence, recordings.noise, recordings.tone])
def test_where_nobody_speaks_nothing_is_invented(tmp_path: Path, make) -> None:
    result = _run(make(tmp_path / "a.wav", 40.0))
    assert result == PipelineResult(Transcript(language=None, duration=40.0))


def test_a_tenth_of_a_second_is_nothing(tmp_path: Path) -> None:
    assert _run(recordings.tone(tmp_path / "a.wav", 0.1)).transcript.segments == ()


def test_eight_channels_at_192_khz(tmp_path: Path) -> None:
    sound, rate = recordings.read_wav(speech.sample("jfk"))
    path = recordings.eight_channels(tmp_path / "a.wav", sound, rate)
    assert _error_rate(_run(path).transcript, "jfk") <= 0.05


def test_a_browsers_recording(tmp_path: Path) -> None:
    sound, _ = recordings.read_wav(speech.sample("jfk"))
    path = recordings.webm_without_duration(tmp_path / "a.webm", sound)
    assert _error_rate(_run(path).transcript, "jfk") <= 0.05


def test_a_false_header_costs_a_warning_only(tmp_path: Path) -> None:
    sound, _ = recordings.read_wav(speech.sample("jfk"))
    result = _run(recordings.wav_with_false_length(tmp_path / "a.wav", sound, 600))
    assert _error_rate(result.transcript, "jfk") <= 0.05
    assert result.transcript.duration == 11.0
    assert len(result.warnings) == 1


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        _run(recordings.text(tmp_path / "a.wav"))
    assert refusal.value.code == "media_unreadable"


def test_a_language_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(Invalid) as refusal:
        _run(speech.sample("jfk"), replace(TINY, language="de"))
    assert refusal.value.code == "unsupported_language"


def test_progress_rises_to_one(tmp_path: Path) -> None:
    seen: list[Progress] = []
    pipeline.run(
        speech.sample("two-cities"), TINY, speech.loaded("tiny.en"), seen.append, lambda: False
    )
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(set(fractions))
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len(fractions) > 5
    assert {progress.stage for progress in seen} == {"transcribing"}


class Counting:
    """A transcriber that only says what it was given."""

    def __init__(self, delay: threading.Event | None = None) -> None:
        self.given: list[tuple[float, TranscribeOptions]] = []
        self.asked = 0
        self.delay = delay

    def detect_language(self, samples: Samples) -> LanguageGuess:
        self.asked += 1
        return LanguageGuess("de", 0.9)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        seconds = len(samples) / SAMPLE_RATE
        self.given.append((seconds, options))
        if self.delay is not None:
            self.delay.wait(10)
        yield Segment(0.0, seconds, "spoken", None, (Word(0.0, seconds, "spoken"),))

    def close(self) -> None:
        return


def _long_speech(path: Path, times: int) -> Path:
    sound = np.concatenate(list(audio.decode(speech.sample("two-cities"))))
    return recordings.write_wav(path, (sound for _ in range(times)))


def test_a_long_recording_comes_in_blocks_in_one_language(tmp_path: Path) -> None:
    transcriber: Transcriber = Counting()
    path = _long_speech(tmp_path / "a.wav", 20)
    result = pipeline.run(path, JobSpec(), transcriber, lambda _: None, lambda: False)
    assert isinstance(transcriber, Counting)
    lengths = [seconds for seconds, _ in transcriber.given]
    assert len(lengths) in (3, 4)
    assert max(lengths) <= 300.0
    assert min(lengths[:-1]) >= 180.0
    assert {options.language for _, options in transcriber.given} == {"de"}
    assert transcriber.asked == 1
    assert result.transcript.language == "de"
    _check_times(result.transcript)


def test_a_cancel_before_the_first_block(tmp_path: Path) -> None:
    with pytest.raises(Canceled):
        pipeline.run(speech.sample("jfk"), TINY, Counting(), lambda _: None, lambda: True)


def test_a_cancel_while_the_language_is_being_heard() -> None:
    listening, over = threading.Event(), threading.Event()

    class Listener(Counting):
        def detect_language(self, samples: Samples) -> LanguageGuess:
            listening.set()
            over.wait(10)
            return super().detect_language(samples)

    with pytest.raises(Canceled):
        pipeline.run(
            speech.sample("jfk"), JobSpec(), Listener(), lambda _: None, listening.is_set
        )
    assert not over.is_set()
    over.set()


def test_a_failure_while_the_language_is_being_heard() -> None:
    class Deaf(Counting):
        def detect_language(self, samples: Samples) -> LanguageGuess:
            raise Unavailable("engine_failed", "It hears nothing.")

    with pytest.raises(Unavailable, match="It hears nothing"):
        pipeline.run(speech.sample("jfk"), JobSpec(), Deaf(), lambda _: None, lambda: False)


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    path = _long_speech(tmp_path / "a.wav", 20)
    transcriber = Counting()

    def stop_after_first() -> bool:
        return bool(transcriber.given)

    with pytest.raises(Canceled):
        pipeline.run(path, JobSpec(), transcriber, lambda _: None, stop_after_first)
    assert threading.active_count() == before


def test_a_cancel_in_the_middle_takes_effect_within_two_seconds() -> None:
    began = threading.Event()
    canceled_at: list[float] = []

    def canceled() -> bool:
        return bool(canceled_at)

    def report(progress: Progress) -> None:
        if progress.fraction > 0 and not canceled_at:
            canceled_at.append(time.monotonic())
            began.set()

    with pytest.raises(Canceled):
        pipeline.run(
            speech.sample("two-cities"), JobSpec(), speech.loaded("base"), report, canceled
        )
    assert time.monotonic() - canceled_at[0] < 2.0


def test_a_segment_with_a_long_silence_inside_is_parted() -> None:
    words = (Word(0, 1, "Ask"), Word(1, 2, "not,"), Word(60, 61, "ask"), Word(61, 62, "what."))
    parts = pipeline.split_at_silence(Segment(0, 62, "Ask not, ask what.", None, words))
    assert parts == [
        Segment(0, 2, "Ask not,", None, words[:2]),
        Segment(60, 62, "ask what.", None, words[2:]),
    ]


def test_a_segment_that_spells_its_words_otherwise_stays_whole() -> None:
    words = (Word(0, 1, "ten"), Word(60, 61, "more"))
    segment = Segment(0, 61, "10 more", None, words)
    assert pipeline.split_at_silence(segment) == [segment]


def test_times_are_put_in_order_and_inside() -> None:
    words = (Word(-0.5, 1.00049, "a"), Word(0.9, 1.2, "b"), Word(1.2, 99.0, "c"))
    segments = [Segment(0.0, 99.0, "a b c", None, words), Segment(5.0, 6.0, "d")]
    tidy = pipeline.tidied(segments, 7.0)
    assert [(w.start, w.end) for w in tidy[0].words] == [(0.0, 1.0), (1.0, 1.2), (1.2, 7.0)]
    assert (tidy[1].start, tidy[1].end) == (7.0, 7.0)
