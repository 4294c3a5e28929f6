"""The suite itself: inherit from `EngineConformance` and give it a case."""

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rhapsode.domain.errors import Invalid, Unavailable
from rhapsode.domain.jobs import JobSpec, Progress
from rhapsode.domain.transcripts import Segment, Transcript
from rhapsode.engines import pipeline
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Canceled,
    Canceling,
    Samples,
    TranscribeOptions,
    Transcriber,
)
from rhapsode.testing.case import Case, at_rate, noise, silence, write_wav
from rhapsode.testing.wer import plain, word_error_rate

CANCEL_SECONDS = 2.0
"""How soon a cancel must take effect."""

_LONG = 180 * SAMPLE_RATE
_SLACK = 0.05
_KEPT_SHARE = 0.4
_KEPT_BYTES = 24_000_000


def _never() -> bool:
    return False


class EngineConformance:
    """What holds for every engine. Its tests run in the order written, on one loaded model."""

    @classmethod
    def make_case(cls) -> Case:
        """What to test; override it. It may skip."""
        raise NotImplementedError("make_case must say what to test")

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls) -> Case:
        """The engine to test."""
        return cls.make_case()

    @pytest.fixture(scope="class")
    @classmethod
    def transcriber(cls, case: Case) -> Iterator[Transcriber]:
        """The model in memory."""
        loaded = case.engine.load(case.model, case.settings)
        yield loaded
        loaded.close()

    def test_probe_finds_the_library(self, case: Case) -> None:
        """It is available, and says its version."""
        found = case.engine.probe()
        assert found.available, found.detail
        assert found.detail

    def test_speech_is_understood(self, case: Case, transcriber: Transcriber) -> None:
        """As many words as promised are right."""
        heard = _text(_segments(case, transcriber, case.samples))
        assert word_error_rate(case.text, heard) <= case.max_wer, heard

    def test_segments_are_in_order_and_inside_the_sound(
        self, case: Case, transcriber: Transcriber
    ) -> None:
        """Times never run backwards, nor past the end; values are plain Python's."""
        samples = case.samples
        segments = _segments(case, transcriber, samples)
        assert segments
        _assert_in_order(segments, len(samples) / SAMPLE_RATE)

    def test_words_are_in_order_and_inside_their_segment(
        self, case: Case, transcriber: Transcriber
    ) -> None:
        """The words spell the segment's text; without word times there are none."""
        for segment in _segments(case, transcriber, case.samples):
            assert bool(segment.words) == case.has_words
            _assert_words(segment)

    def test_word_times_can_be_left_out(self, case: Case, transcriber: Transcriber) -> None:
        """The text is as good without."""
        options = TranscribeOptions(case.language, word_times=False)
        heard = _text(list(transcriber.transcribe(case.samples, options, _never)))
        assert word_error_rate(case.text, heard) <= case.max_wer, heard

    @pytest.mark.parametrize("count", [0, 1, 160, 1600, 4000])
    def test_hardly_any_sound(self, case: Case, transcriber: Transcriber, count: int) -> None:
        """Nothing, one sample, and fractions of a second are no errors."""
        segments = _segments(case, transcriber, case.samples[:count])
        _assert_in_order(segments, count / SAMPLE_RATE)

    @pytest.mark.parametrize("make", [silence, noise])
    def test_nothing_is_invented(
        self, case: Case, transcriber: Transcriber, tmp_path: Path, make: object
    ) -> None:
        """The pipeline yields no word on silence and on noise."""
        assert callable(make)
        path = write_wav(tmp_path / "sound.wav", make(12.0))
        assert _through_pipeline(case, transcriber, path).segments == ()

    def test_the_language_is_told(self, case: Case, transcriber: Transcriber) -> None:
        """Or `und` with no probability, where the model does not know."""
        guess = transcriber.detect_language(case.samples)
        assert guess.language == (case.language if case.tells_language else "und")
        assert 0.0 <= guess.probability <= 1.0

    def test_a_language_that_it_lacks_is_refused(
        self, case: Case, transcriber: Transcriber
    ) -> None:
        """By the error that every engine has for it."""
        if case.lacks is None:
            pytest.skip("the model takes any language")
        with pytest.raises(Invalid) as refusal:
            list(transcriber.transcribe(case.samples, TranscribeOptions(case.lacks), _never))
        assert refusal.value.code == "unsupported_language"

    def test_the_same_twice(self, case: Case, transcriber: Transcriber) -> None:
        """The same sound gives the same segments."""
        samples = case.samples
        first = _segments(case, transcriber, samples)
        assert _segments(case, transcriber, samples) == first

    def test_any_script(self, case: Case, transcriber: Transcriber) -> None:
        """A prompt in other scripts harms nothing, and what comes out is proper Unicode."""
        options = TranscribeOptions(case.language, prompt="Привет, 世界! שלום 🎙 e\u0301")
        text = _text(list(transcriber.transcribe(case.samples, options, _never)))
        assert text.encode("utf-8").decode("utf-8") == text

    def test_a_folder_with_any_name(self, case: Case, tmp_path: Path) -> None:
        """A model is loaded from a path with spaces and letters of other scripts."""
        if not case.model.is_dir():
            pytest.skip("the model has no files")
        parent = tmp_path / "Módels 模型"
        parent.mkdir()
        (parent / case.model.name).symlink_to(case.model, target_is_directory=True)
        case.engine.load(parent / case.model.name, case.settings).close()

    @pytest.mark.parametrize("rate", [8_000, 48_000])
    def test_other_sample_rates(
        self, case: Case, transcriber: Transcriber, tmp_path: Path, rate: int
    ) -> None:
        """Recordings of telephones and of studios are understood."""
        path = write_wav(tmp_path / "sound.wav", at_rate(case.samples, rate), rate)
        transcript = _through_pipeline(case, transcriber, path)
        most = case.max_wer_8khz if rate == 8_000 else case.max_wer
        assert word_error_rate(case.text, transcript.text) <= most, transcript.text

    def test_progress_never_falls(self, case: Case, transcriber: Transcriber) -> None:
        """It goes from 0 to 1, and no further."""
        heard: list[Progress] = []
        _through_pipeline(case, transcriber, case.speech, heard)
        fractions = [progress.fraction for progress in heard]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)

    def test_a_cancel_takes_effect_soon(self, case: Case, transcriber: Transcriber) -> None:
        """Within two seconds, in the middle of the work; the model can be used afterwards.

        An engine that is done with three minutes of speech before that need not stop.
        """
        samples = np.concatenate(
            [case.samples] * max(1, 180 * SAMPLE_RATE // len(case.samples))
        )
        canceled = threading.Event()
        timer = threading.Timer(0.3, canceled.set)
        timer.start()
        started = time.monotonic()
        with suppress(Canceled):
            for _ in _work(case, transcriber, samples, canceled.is_set):
                pass
            assert time.monotonic() - started < 1.0, "it worked on, though it was canceled"
        assert time.monotonic() - started < 0.3 + CANCEL_SECONDS
        timer.join()
        heard = _text(_segments(case, transcriber, case.samples))
        assert word_error_rate(case.text, heard) <= case.max_wer, heard

    def test_a_cancel_before_the_start(self, case: Case, transcriber: Transcriber) -> None:
        """Is one too."""
        with pytest.raises(Canceled):
            list(_work(case, transcriber, case.samples, lambda: True))

    def test_closing_frees_the_memory(self, case: Case) -> None:
        """Most of what loading took is given back. Measured at the second load."""
        if sys.platform != "linux":
            pytest.skip("memory is read from /proc")
        _used(case)
        before = _resident()
        loaded = _used(case, until_loaded=True) - before
        kept = _resident() - before
        assert kept <= max(_KEPT_BYTES, _KEPT_SHARE * loaded), f"{kept} of {loaded} bytes"

    def test_a_closed_model_says_so(self, case: Case) -> None:
        """Or works on, where nothing was to be freed; it never crashes."""
        loaded = case.engine.load(case.model, case.settings)
        loaded.close()
        with suppress(Unavailable):
            _segments(case, loaded, case.samples)

    def test_a_folder_without_a_model(self, case: Case, tmp_path: Path) -> None:
        """Is refused as a model that cannot be loaded."""
        if not case.model.is_dir():
            pytest.skip("the model has no files")
        with pytest.raises(Unavailable) as failure:
            case.engine.load(tmp_path, case.settings)
        assert failure.value.code == "model_unloadable"

    @pytest.mark.parametrize("keep", [0.0, 0.5])
    def test_a_damaged_model(self, case: Case, tmp_path: Path, keep: float) -> None:
        """Weights that are cut short are told, with what repairs them."""
        if not case.model.is_dir():
            pytest.skip("the model has no files")
        folder = _damaged(case.model, tmp_path / case.model.name, keep)
        with pytest.raises(Unavailable) as failure:
            case.engine.load(folder, case.settings)
        assert failure.value.code == "model_unloadable"
        assert failure.value.hint


def _work(
    case: Case, transcriber: Transcriber, samples: Samples, canceled: Canceling
) -> Iterator[Segment]:
    return transcriber.transcribe(samples, TranscribeOptions(case.language), canceled)


def _segments(case: Case, transcriber: Transcriber, samples: Samples) -> list[Segment]:
    return list(_work(case, transcriber, samples, _never))


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text for segment in segments)


def _through_pipeline(
    case: Case, transcriber: Transcriber, path: Path, heard: list[Progress] | None = None
) -> Transcript:
    spec = JobSpec(engine=case.engine.name, model=case.model.name, language=case.language)
    told = [] if heard is None else heard
    return pipeline.run(path, spec, transcriber, told.append, _never).transcript


def _assert_in_order(segments: list[Segment], seconds: float) -> None:
    at = 0.0
    for segment in segments:
        assert type(segment.text) is str
        assert segment.text == segment.text.strip() != ""
        assert (type(segment.start), type(segment.end)) == (float, float)
        assert at - _SLACK <= segment.start <= segment.end <= seconds + _SLACK
        at = segment.start


def _assert_words(segment: Segment) -> None:
    at = segment.start - _SLACK
    for word in segment.words:
        assert type(word.probability) is float
        assert 0.0 <= word.probability <= 1.0
        assert at <= word.start <= word.end <= segment.end + _SLACK
        at = word.start
    if segment.words:
        spelled = "".join(word.text for word in segment.words)
        assert _letters(spelled) == _letters(segment.text)


def _letters(text: str) -> str:
    return plain(text).replace(" ", "")


def _used(case: Case, *, until_loaded: bool = False) -> int:
    """Loads, works and closes; the memory in use, while loaded where wanted."""
    transcriber = case.engine.load(case.model, case.settings)
    _segments(case, transcriber, case.samples[: 2 * SAMPLE_RATE])
    loaded = _resident()
    transcriber.close()
    del transcriber
    return loaded if until_loaded else _resident()


def _resident() -> int:
    """Bytes that this process holds, after everything that can be given back was."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _damaged(model: Path, folder: Path, keep: float) -> Path:
    """A copy of the model's folder whose largest file has only that share of its bytes."""
    files = [path for path in model.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    for path in files:
        target = folder / path.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path == largest:
            with path.open("rb") as file:
                target.write_bytes(file.read(int(path.stat().st_size * keep)))
        else:
            target.symlink_to(path)
    return folder
