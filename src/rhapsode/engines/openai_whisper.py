"""The engine `openai-whisper`: OpenAI's own implementation of Whisper, on PyTorch.

The library answers when all of its sound is transcribed, so segments come block by block.
It is stopped through the model itself: each step of the decoder looks whether it should.
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

from rhapsode.domain.languages import WHISPER_LANGUAGES, WITH_CANTONESE
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
    thread_choices,
)
from rhapsode.engines.calls import Calls, Emit
from rhapsode.engines.failures import only_file, unloadable, unsupported_language
from rhapsode.engines.tokens import segment_of
from rhapsode.engines.whisper import wishes

NAME = "openai-whisper"
log = logging.getLogger(__name__)
_WINDOW = 30 * SAMPLE_RATE
_SURE = 0.7
_MAX_LANGUAGE_WINDOWS = 4


class OpenAiWhisper:
    """The entry point's value."""

    name = NAME

    def probe(self) -> Availability:
        """Looks for the library without importing it."""
        missing = [name for name in ("whisper", "torch") if find_spec(name) is None]
        if missing:
            return Availability(
                False,
                f"not installed: {', '.join(missing)}",
                install="pip install 'rhapsode[openai-whisper]'",
            )
        try:
            return Availability(True, version("openai-whisper"))
        except PackageNotFoundError:
            return Availability(False, "the package called whisper here is another one")

    def choices(self, settings: LoadSettings) -> Choices:  # noqa: ARG002
        """The threads: what is best depends on the cores."""
        return {"threads": thread_choices()}

    def load(self, model: Path, settings: LoadSettings) -> "LoadedModel":
        """Loads the one checkpoint in the folder; in half precision on a graphics card."""
        path = only_file(NAME, model, "*.pt")
        import torch
        import whisper

        device = _device(torch, settings.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        try:
            loaded = whisper.load_model(str(path), device=device)
        except Exception as error:
            # Unpickling a damaged file can raise almost anything.
            raise unloadable(NAME, model, str(error) or type(error).__name__) from error
        half = device != "cpu" and settings.compute_type in {"auto", "float16"}
        return LoadedModel(loaded, half=half)


ENGINE = OpenAiWhisper()


class LoadedModel:
    """A `Transcriber` over the library's model."""

    def __init__(self, model: Any, *, half: bool) -> None:
        self.languages = _languages(model)
        self.takes = wishes(self.languages)
        self._model = model
        self._half = half
        self._calls = Calls(NAME)
        self._stop: threading.Event | None = None
        for part in (model.encoder, model.decoder):
            part.register_forward_pre_hook(self._look_up)

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """Looks at one window of 30 s, and at up to three more while none is clear."""
        if len(self.languages) == 1:
            return LanguageGuess(self.languages[0], 1.0)
        heard: Counter[str] = Counter()
        with self._calls.alone():
            for count, start in enumerate(range(0, max(1, len(samples)), _WINDOW), start=1):
                heard.update(self._odds(samples[start : start + _WINDOW]))
                best, total = heard.most_common(1)[0]
                if total / count >= _SURE or count == _MAX_LANGUAGE_WINDOWS:
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
            for segment in self._work(samples, language, options, stop):
                emit(segment)

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a call that may still be running, then frees the weights."""
        with self._calls.alone():
            device, self._model = str(getattr(self._model, "device", "cpu")), None
            if device.startswith("cuda"):
                import torch

                torch.cuda.empty_cache()

    def _work(
        self, samples: Samples, language: str, options: TranscribeOptions, stop: threading.Event
    ) -> Iterator[Segment]:
        if self._model is None:
            raise RuntimeError("the model is closed")
        self._stop = stop
        try:
            found = self._model.transcribe(
                samples,
                language=language,
                word_timestamps=options.word_times,
                task="translate" if options.translate else "transcribe",
                initial_prompt=options.context,
                carry_initial_prompt=bool(options.context),
                suppress_tokens="-1" if options.numerals else self._without_numerals(language),
                **({} if options.temperature is None else {"temperature": options.temperature}),
                condition_on_previous_text=False,  # see faster_whisper.py
                fp16=self._half,
            )
        finally:
            self._stop = None
        limit = len(samples) / SAMPLE_RATE
        for item in found["segments"]:
            if (segment := _segment(item, limit)) is not None:
                yield segment

    def _odds(self, samples: Samples) -> dict[str, float]:
        import torch
        import whisper

        mel = whisper.log_mel_spectrogram(
            whisper.pad_or_trim(np.ascontiguousarray(samples)),
            n_mels=self._model.dims.n_mels,
            device=self._model.device,
        )
        with torch.no_grad():
            _, odds = self._model.detect_language(mel.half() if self._half else mel)
        return {code: float(value) for code, value in odds.items()}

    def _without_numerals(self, language: str) -> str:
        """The library's own choice of tokens to suppress, and every token with a digit."""
        from whisper.tokenizer import get_tokenizer

        tokenizer = get_tokenizer(self._model.is_multilingual, language=language)
        encoding = tokenizer.encoding
        spelled = ((token, encoding.decode([token])) for token in range(tokenizer.eot))
        return ",".join(["-1", *(str(t) for t, text in spelled if any(map(str.isdigit, text)))])

    def _look_up(self, *_: object) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Canceled


def _segment(item: dict[str, Any], limit: float) -> Segment | None:
    words = [
        Word(float(word["start"]), float(word["end"]), text, _rounded(word["probability"]))
        for word in item.get("words", ())
        if (text := word["word"].strip())
    ]
    start, end = float(item["start"]), float(item["end"])
    return segment_of(item["text"], start, end, words, limit=limit)


def _rounded(probability: Any) -> float:
    return round(min(1.0, max(0.0, float(probability))), 4)


def _languages(model: Any) -> tuple[str, ...]:
    if not model.is_multilingual:
        return ("en",)
    cantonese = model.num_languages > len(WHISPER_LANGUAGES)
    return WITH_CANTONESE if cantonese else WHISPER_LANGUAGES


def _device(torch: Any, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
