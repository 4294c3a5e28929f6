"""What a job asks for beyond plain text."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobSpec
from rhapsode.domain.transcripts import Segment, Word
from rhapsode.engines import pipeline
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Canceling,
    LanguageGuess,
    Samples,
    TranscribeOptions,
    Wish,
)
from rhapsode.engines.pipeline import PipelineResult
from rhapsode.engines.wishes import unheeded, without_punctuation
from tests.support import recordings, speech

BASE = JobSpec(model="base")


class Polyglot:
    """Hears German and French in turns, then something unclear, and says what it was told."""

    takes = frozenset({Wish.CONTEXT})

    def __init__(self, *guesses: LanguageGuess) -> None:
        self.guesses = list(guesses)
        self.told: list[TranscribeOptions] = []

    def detect_language(self, samples: Samples) -> LanguageGuess:
        return self.guesses.pop(0)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        self.told.append(options)
        yield Segment(0.0, len(samples) / SAMPLE_RATE, f"in {options.language}.")

    def close(self) -> None:
        pass


def run(path: Path, spec: JobSpec, transcriber: object = None) -> PipelineResult:
    used = transcriber or speech.loaded(spec.model)
    return pipeline.run(path, spec, used, lambda _: None, lambda: False)  # type: ignore[arg-type]


def error_rate(result: PipelineResult) -> float:
    wanted = speech.plain(speech.sample_text("jfk"))
    return jiwer.wer(wanted, speech.plain(result.transcript.text))


@pytest.fixture
def long_talk(tmp_path: Path) -> Path:
    """More than a minute of speech."""
    sound, rate = recordings.read_wav(speech.sample("jfk"))
    return recordings.write_wav(tmp_path / "long.wav", [sound] * 8, rate)


def test_the_language_is_chosen_among_those_allowed() -> None:
    guess = LanguageGuess("nl", 0.5, {"nl": 0.5, "de": 0.3, "en": 0.1})

    assert guess.among(()) == guess
    assert guess.among(["nl", "de"]) == guess
    assert guess.among(["de", "en"]) == LanguageGuess("de", 0.3, guess.odds)
    assert guess.among(["fr"]).language == "fr"


def test_english_among_others_is_heard_by_the_real_model() -> None:
    result = run(speech.sample("jfk"), replace(BASE, languages=("de", "en", "fr")))

    assert (result.transcript.language, error_rate(result)) == ("en", 0.0)


def test_languages_may_change_within_a_recording(long_talk: Path) -> None:
    guesses = [
        LanguageGuess("de", 0.9),
        LanguageGuess("fr", 0.9),
        LanguageGuess("it", 0.2),
        LanguageGuess("de", 0.8),
    ]
    polyglot = Polyglot(*guesses)

    transcript = run(long_talk, JobSpec(mixed_languages=True), polyglot).transcript

    spoken = [segment.language for segment in transcript.segments]
    assert spoken == ["de", "fr", "fr", "de"]
    assert transcript.language_probability is None
    assert transcript.language in {"de", "fr"}


def test_the_real_model_hears_each_stretch(long_talk: Path) -> None:
    transcript = run(long_talk, replace(BASE, mixed_languages=True)).transcript

    assert {segment.language for segment in transcript.segments} == {"en"}
    assert transcript.language == "en"


def test_a_translation_says_what_it_is() -> None:
    result = run(speech.sample("jfk"), replace(BASE, language="en", translate_to="en"))

    assert (result.transcript.language, error_rate(result)) == ("en", 0.0)
    assert result.warnings == ("The text is a translation from English, made by the model.",)


def test_a_model_of_one_language_cannot_translate() -> None:
    with pytest.raises(Invalid) as refusal:
        run(speech.sample("jfk"), JobSpec(model="tiny.en", translate_to="en"))

    assert refusal.value.code == "translation_unavailable"


def test_what_the_engine_passes_over_is_said(long_talk: Path) -> None:
    polyglot = Polyglot(LanguageGuess("de", 0.9))
    spec = JobSpec(hotwords=("Rhapsode", "Ithaka"), prompt="Homer.", temperature=0.5)

    result = run(long_talk, spec, polyglot)

    assert polyglot.told[0].context == "Homer. Rhapsode, Ithaka"
    assert result.warnings == ("The engine faster-whisper takes no account of a temperature.",)


def test_more_hot_words_than_fit_are_said() -> None:
    spec = JobSpec(hotwords=tuple(f"Polyphemos {n}" for n in range(100)))

    (told,) = unheeded(spec, Polyglot())

    assert told.startswith("Prompt and hot words have 1490 characters together")


def test_hot_words_and_no_numerals_leave_the_rest_as_it_was() -> None:
    spec = replace(BASE, hotwords=("Americans",), numerals=False, temperature=0.0)

    assert error_rate(run(speech.sample("jfk"), spec)) == 0.0


def test_without_punctuation() -> None:
    result = run(speech.sample("jfk"), replace(BASE, punctuation=False))

    text = result.transcript.text
    assert [mark for mark in ",.;?!" if mark in text] == []
    assert error_rate(result) == 0.0


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("“Well,” he said - it's 3.5 o'clock!", "Well he said it's 3.5 o'clock"),
        ("¿Qué? — ¡nada!", "Qué nada"),
        ("20 % of R&D at 10:30.", "20 % of R&D at 10:30"),
        ("…", ""),
    ],
)
def test_marks_go_and_words_stay(text: str, bare: str) -> None:
    segment = Segment(0, 1, text, None, (Word(0, 0.5, text), Word(0.5, 1, "…")))

    found = without_punctuation(segment)

    assert found.text == bare
    assert [word.text for word in found.words] == ([bare] if bare else [])


def test_silence_has_no_language(tmp_path: Path) -> None:
    path = recordings.write_wav(tmp_path / "a.wav", [np.zeros(SAMPLE_RATE * 3, np.float32)])

    result = run(path, replace(BASE, mixed_languages=True, translate_to="en"))

    assert (result.transcript.language, result.warnings) == (None, ())
