import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rhapsode.catalogue.entries import WHISPER_LANGUAGES
from rhapsode.domain.errors import Invalid, Unavailable
from rhapsode.engines import audio, faster_whisper
from rhapsode.engines.base import (
    Canceled,
    LoadSettings,
    Samples,
    TranscribeOptions,
)
from rhapsode.engines.faster_whisper import ENGINE, LoadedModel
from tests.support import speech


def _never() -> bool:
    return False


@pytest.fixture(scope="module")
def two_cities() -> Samples:
    return np.concatenate(list(audio.decode(speech.sample("two-cities"))))


@pytest.fixture
def tiny() -> LoadedModel:
    model = speech.loaded("tiny.en")
    assert isinstance(model, LoadedModel)
    return model


def test_probe_imports_nothing() -> None:
    code = (
        "import sys; from rhapsode.engines.faster_whisper import ENGINE; "
        "assert ENGINE.probe().available; "
        "assert not {'faster_whisper', 'ctranslate2', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_type_of_the_library_comes_out(tiny: LoadedModel, two_cities: Samples) -> None:
    segments = tiny.transcribe(two_cities[: 16_000 * 10], TranscribeOptions("en"), _never)
    for segment in segments:
        assert type(segment).__module__ == "rhapsode.domain.transcripts"
        for word in segment.words:
            assert (type(word.start), type(word.probability)) == (float, float)


def test_english_models_need_no_detection(tiny: LoadedModel) -> None:
    assert tiny.languages == ("en",)
    assert tiny.detect_language(np.zeros(1600, np.float32)).language == "en"


def test_a_language_that_it_lacks(tiny: LoadedModel, two_cities: Samples) -> None:
    with pytest.raises(Invalid) as refusal:
        next(tiny.transcribe(two_cities, TranscribeOptions("fr"), _never))
    assert refusal.value.code == "unsupported_language"
    assert refusal.value.hint == "It knows: en."


def test_the_default_model_knows_what_the_catalogue_says() -> None:
    model = speech.loaded("base")
    assert isinstance(model, LoadedModel)
    assert sorted(model.languages) == sorted(WHISPER_LANGUAGES)
    guess = model.detect_language(np.concatenate(list(audio.decode(speech.sample("jfk")))))
    assert (guess.language, guess.probability > 0.8) == ("en", True)


def test_cancel_takes_effect_at_once_and_the_next_call_waits(
    tiny: LoadedModel, two_cities: Samples
) -> None:
    canceled = threading.Event()
    segments = tiny.transcribe(two_cities, TranscribeOptions("en"), canceled.is_set)
    next(segments)
    canceled.set()
    before = time.monotonic()
    with pytest.raises(Canceled):
        list(segments)
    assert time.monotonic() - before < 2.0
    again = list(tiny.transcribe(two_cities[:160_000], TranscribeOptions("en"), _never))
    assert again[0].text.startswith("It was the best of times")


def test_a_call_that_waits_for_another_can_be_canceled(
    tiny: LoadedModel, two_cities: Samples
) -> None:
    first = tiny.transcribe(two_cities, TranscribeOptions("en"), _never)
    next(first)
    with pytest.raises(Canceled):
        next(tiny.transcribe(two_cities, TranscribeOptions("en"), lambda: True))
    _drained(first)


def test_a_caller_that_loses_interest_stops_the_work(
    tiny: LoadedModel, two_cities: Samples
) -> None:
    segments = tiny.transcribe(
        np.concatenate([two_cities] * 5), TranscribeOptions("en"), _never
    )
    next(segments)
    _drained(segments)
    before = time.monotonic()
    list(tiny.transcribe(two_cities[:16_000], TranscribeOptions("en"), _never))
    assert time.monotonic() - before < 15


def _drained(segments: Iterator[object]) -> None:
    segments.close()  # type: ignore[attr-defined]


def test_a_failing_library_is_told_in_our_words(
    tiny: LoadedModel, two_cities: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA failed with error out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(tiny._model, "transcribe", fail)
        with pytest.raises(Unavailable) as failure:
            list(tiny.transcribe(two_cities, TranscribeOptions("en"), _never))
    assert failure.value.code == "engine_failed"
    assert "out of memory" in failure.value.message
    assert list(tiny.transcribe(two_cities[:160_000], TranscribeOptions("en"), _never))


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as failure:
        ENGINE.load(tmp_path, LoadSettings(device="cpu"))
    assert failure.value.code == "model_unloadable"


def test_a_graphics_card_that_does_not_work_is_not_used(
    two_cities: Samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if faster_whisper._has_cuda():
        pytest.skip("this machine's graphics card works")
    monkeypatch.setattr(faster_whisper, "_has_cuda", lambda: True)
    model = ENGINE.load(speech.model_path("tiny.en"), LoadSettings())
    assert "so the CPU is" in caplog.text
    assert list(model.transcribe(two_cities[:160_000], TranscribeOptions("en"), _never))
    model.close()


def test_closing_frees_the_model() -> None:
    model = ENGINE.load(speech.model_path("tiny.en"), LoadSettings(device="cpu", threads=1))
    model.close()
    with pytest.raises(Unavailable):
        list(model.transcribe(np.zeros(16_000, np.float32), TranscribeOptions("en"), _never))
