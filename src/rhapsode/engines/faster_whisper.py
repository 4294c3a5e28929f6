"""The engine `faster-whisper`: Whisper models on CTranslate2.

The library decodes windows of 30 s, each of which may take many seconds, and cannot be
stopped inside one: after a cancel its thread (`calls.py`) ends with the window.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.transcripts import Segment, Word
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Availability,
    Canceled,
    Canceling,
    Choices,
    LanguageGuess,
    LoadSettings,
    Samples,
    TranscribeOptions,
    cpu_threads,
    thread_choices,
)
from rhapsode.engines.calls import Calls, Emit
from rhapsode.engines.failures import unloadable, unsupported_language
from rhapsode.engines.whisper import wishes

NAME = "faster-whisper"
BEAM_SIZE = 5
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""A higher one is tried where decoding with the one before went wrong."""

SURE = 0.7
"""A language heard with this probability in one window needs no second look."""

MAX_LANGUAGE_WINDOWS = 4
log = logging.getLogger(__name__)
_WINDOW = 30 * SAMPLE_RATE


class FasterWhisper:
    """The entry point's value."""

    name = NAME

    def probe(self) -> Availability:
        """Looks for the library without importing it."""
        missing = [m for m in ("faster_whisper", "ctranslate2") if find_spec(m) is None]
        if missing:
            return Availability(
                False,
                f"not installed: {', '.join(missing)}",
                install="pip install 'rhapsode[faster-whisper]'",
            )
        try:
            return Availability(True, version("faster-whisper"))
        except PackageNotFoundError:
            return Availability(True, "unknown version")

    def choices(self, settings: LoadSettings) -> Choices:
        """Threads on a CPU, number formats, and the CPU too, where there is a card.

        No batches: the library decodes a window of a batch once and does not go on where the
        text broke off, so words at its end get lost; read again, they cost what was gained.
        """
        if settings.device == "cpu" or not _has_cuda():
            formats = _supported("cpu", "bfloat16", "float32")
            return {"threads": thread_choices(), "compute_type": formats}
        formats = _supported("cuda", "int8_float16", "bfloat16")
        return {"compute_type": formats, "device": ("cpu",)}

    def load(self, model: Path, settings: LoadSettings) -> "LoadedModel":
        """Loads the weights; on a CPU as 8-bit integers unless told otherwise."""
        try:
            return LoadedModel(_loaded(model, settings))
        except (RuntimeError, ValueError, OSError) as error:
            raise _unloadable(model, settings, error) from error


ENGINE = FasterWhisper()


class _Stopped(Exception):
    """Ends the library's generator between two windows."""


class LoadedModel:
    """A `Transcriber` over one WhisperModel."""

    def __init__(self, model: Any) -> None:
        self.languages = _languages(model)
        self.takes = wishes(self.languages)
        self._model = model
        self._calls = Calls(NAME)

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """Looks at one window of 30 s, and at up to three more while none is clear."""
        if len(self.languages) == 1:
            return LanguageGuess(self.languages[0], 1.0)
        heard: Counter[str] = Counter()
        with self._calls.alone():
            for count, start in enumerate(range(0, max(1, len(samples)), _WINDOW), start=1):
                _, _, odds = self._model.detect_language(samples[start : start + _WINDOW])
                heard.update(dict(odds))
                best, total = heard.most_common(1)[0]
                if total / count >= SURE or count == MAX_LANGUAGE_WINDOWS:
                    break
        odds = {code: min(1.0, value / count) for code, value in heard.items()}
        return LanguageGuess(best, odds[best], odds)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """See `Transcriber`; without a language it is detected first."""
        language = options.language or self.detect_language(samples).language
        if language not in self.languages:
            raise unsupported_language(language, self.languages)

        def work(emit: Emit, stop: threading.Event) -> None:
            self._work(samples, language, options, emit, stop)

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a window that may still be running, then frees the weights."""
        with self._calls.alone():
            self._model.model.unload_model()

    def _work(
        self,
        samples: Samples,
        language: str,
        options: TranscribeOptions,
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        self._model.stop = stop
        try:
            arguments = _arguments(self._model, language, options)
            found, _ = self._model.transcribe(samples, **arguments)
            for segment in found:
                emit(_segment(segment))
        except _Stopped:
            raise Canceled from None
        finally:
            self._model.stop = None


def _unloadable(model: Path, settings: LoadSettings, error: Exception) -> Unavailable:
    """A fault of the device, where the files are all there; else of the files."""
    on = f"on '{settings.device}': {error}"
    if settings.device == "cpu" or not (model / "model.bin").is_file():
        return unloadable(NAME, model, on)
    hint = "`--device cpu` works on every machine; `rhapsode models verify` checks the files."
    return unloadable(NAME, model, on, hint)


def _arguments(model: Any, language: str, options: TranscribeOptions) -> dict[str, Any]:
    """Those of the library's `transcribe`."""
    return {
        "language": language,
        "beam_size": BEAM_SIZE,
        "word_timestamps": options.word_times,
        "task": "translate" if options.translate else "transcribe",
        # As hot words, the prompt is there in every window, not only in the first.
        "hotwords": options.context,
        "temperature": TEMPERATURES if options.temperature is None else options.temperature,
        "suppress_tokens": [-1] if options.numerals else [-1, *_numerals(model)],
        # What it said before makes Whisper repeat itself when it once went wrong, and a
        # block's text would depend on where the block before it was cut.
        "condition_on_previous_text": False,
        "vad_filter": False,  # the pipeline left silence out already
    }


def _numerals(model: Any) -> list[int]:
    """The tokens with a digit in them; without them Whisper writes numbers as words."""
    vocabulary: dict[str, int] = model.hf_tokenizer.get_vocab()
    spelled = (item for item in vocabulary.items() if not item[0].startswith("<|"))
    return sorted(token for text, token in spelled if any(c.isdigit() for c in text))


def _segment(segment: Any) -> Segment:
    words = tuple(
        Word(float(word.start), float(word.end), text, round(float(word.probability), 4))
        for word in segment.words or ()
        if (text := word.word.strip())
    )
    return Segment(float(segment.start), float(segment.end), segment.text.strip(), None, words)


def _loaded(folder: Path, settings: LoadSettings) -> Any:
    if settings.device != "auto":
        return _loaded_on(settings.device, folder, settings)
    if _has_cuda():
        try:
            model = _loaded_on("cuda", folder, settings)
            # The CUDA libraries are only looked for when the first window is computed.
            model.encode(
                np.zeros((model.feat_kwargs.get("feature_size", 80), 3000), np.float32)
            )
            return model
        except (RuntimeError, ValueError) as error:
            log.warning("the graphics card cannot be used, so the CPU is: %s", error)
    return _loaded_on("cpu", folder, settings)


def _loaded_on(device: str, folder: Path, settings: LoadSettings) -> Any:
    kind, _, index = device.partition(":")  # the library takes `cuda:1` in two parts
    return _stoppable()(
        str(folder),
        device=kind,
        device_index=int(index or 0),
        compute_type=_compute_type(kind, settings.compute_type),
        cpu_threads=settings.threads or cpu_threads(),
        local_files_only=True,
    )


def _languages(model: Any) -> tuple[str, ...]:
    """What the library knows of, as far as this model has a token for it."""
    known = model.supported_languages
    if len(known) == 1:
        return tuple(known)
    token = model.hf_tokenizer.token_to_id
    return tuple(code for code in known if token(f"<|{code}|>") is not None)


def _stoppable() -> type[Any]:
    from faster_whisper import WhisperModel

    class StoppableModel(WhisperModel):  # type: ignore[misc]
        """Looks at `stop` before each window: the generator itself yields only segments."""

        stop: threading.Event | None = None

        def encode(self, features: Any) -> Any:
            if self.stop is not None and self.stop.is_set():
                raise _Stopped
            return super().encode(features)

    return StoppableModel


def _has_cuda() -> bool:
    import ctranslate2

    return bool(ctranslate2.get_cuda_device_count())


def _compute_type(device: str, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types(device)
    choices = ("float16", "int8_float16", "int8") if device == "cuda" else ("int8",)
    return next((choice for choice in choices if choice in supported), "default")


def _supported(device: str, *formats: str) -> tuple[str, ...]:
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types(device)
    return tuple(form for form in formats if form in supported)
