"""The engine `onnx-asr`: NVIDIA's Parakeet and Canary, GigaAM, Whisper and more, as ONNX.

These models hear half a minute at a time, so the sound is cut at pauses before. Whisper
tells no times in this library: its segments are what was spoken between two cuts.
"""

import json
import logging
import math
import re
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from rhapsode.domain.languages import EUROPEAN
from rhapsode.domain.transcripts import Segment
from rhapsode.engines import blocks
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
from rhapsode.engines.failures import unloadable, unsupported_language
from rhapsode.engines.tokens import Token, segment_of, words_of

NAME = "onnx-asr"
UNKNOWN = "und"
"""The code for a language that a model speaks without telling which it is."""

SPOKEN = {
    "nemo-parakeet-ctc-0.6b": ("en",),
    "nemo-parakeet-rnnt-0.6b": ("en",),
    "nemo-parakeet-tdt-0.6b-v2": ("en",),
    "nemo-parakeet-tdt-0.6b-v3": EUROPEAN,
    "nemo-canary-1b-v2": EUROPEAN,
    "gigaam-v3-ctc": ("ru",),
    "gigaam-v3-e2e-ctc": ("ru",),
    "gigaam-v3-e2e-rnnt": ("ru",),
}
"""The languages of models whose files do not say so, by the library's names of them."""

log = logging.getLogger(__name__)
_WINDOW = 30 * SAMPLE_RATE
_LONGEST_TOKEN = 0.5
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_ENGLISH_VOCABULARY = 51_864
_QUANTIZED = re.compile(r"[._]([a-z0-9]+)\.onnx$")
_FORMATS = ("int8", "uint8", "fp16", "q4", "q4f16", "bnb4", "quantized")


class OnnxAsr:
    """The entry point's value."""

    name = NAME

    def probe(self) -> Availability:
        """Looks for the libraries without importing them."""
        missing = [name for name in ("onnx_asr", "onnxruntime") if find_spec(name) is None]
        if missing:
            return Availability(
                False,
                f"not installed: {', '.join(missing)}",
                install="pip install 'rhapsode[onnx-asr]'",
            )
        try:
            return Availability(True, version("onnx-asr"))
        except PackageNotFoundError:
            return Availability(True, "unknown version")

    def choices(self, settings: LoadSettings) -> Choices:  # noqa: ARG002
        """The threads: what is best depends on the cores."""
        return {"threads": thread_choices()}

    def load(self, model: Path, settings: LoadSettings) -> "LoadedModel":
        """Loads the folder's model, in the number format of its files where they differ."""
        name = _library_name(model)
        try:
            loaded = _loaded(model, name, settings)
        except Exception as error:
            # onnxruntime's, onnx-asr's and json's errors have no common kind.
            raise unloadable(NAME, model, str(error) or type(error).__name__) from error
        return LoadedModel(loaded, _languages(model, name))


ENGINE = OnnxAsr()


class LoadedModel:
    """A `Transcriber` over the library's; no `languages` means that it tells nobody."""

    def __init__(self, model: Any, languages: tuple[str, ...]) -> None:
        self.languages = languages
        self._model = model
        self._calls = Calls(NAME)

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """By the first 30 s with Whisper; other models of several languages do not tell."""
        if len(self.languages) == 1:
            return LanguageGuess(self.languages[0], 1.0)
        if not hasattr(self._model.asr, "_detect_lang_input") or not len(samples):
            return LanguageGuess(UNKNOWN, 0.0)
        with self._calls.alone():
            return _heard(self._model.asr, np.ascontiguousarray(samples[:_WINDOW]))

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """See `Transcriber`; the library takes no prompt."""
        language = options.language or self.detect_language(samples).language
        if self.languages and language not in (*self.languages, UNKNOWN):
            raise unsupported_language(language, self.languages)

        def work(emit: Emit, stop: threading.Event) -> None:
            for block in blocks.cut(samples):
                if stop.is_set():
                    raise Canceled
                segment = self._segment(block.samples, language, words=options.word_times)
                if segment is not None:
                    emit(blocks.in_recording_time(segment, block))

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a call that may still be running, then frees the weights."""
        with self._calls.alone():
            self._model = None

    def _segment(self, samples: Samples, language: str, *, words: bool) -> Segment | None:
        if self._model is None:
            raise RuntimeError("the model is closed")
        chosen = {} if language == UNKNOWN else {"language": language}
        found = self._model.with_timestamps().recognize(
            np.ascontiguousarray(samples), sample_rate=SAMPLE_RATE, **chosen
        )
        limit = len(samples) / SAMPLE_RATE
        spoken = words_of(_tokens(found, limit), language) if words else ()
        start, end = (spoken[0].start, spoken[-1].end) if spoken else (0.0, limit)
        return segment_of(found.text, start, end, spoken, limit=limit)


def _tokens(found: Any, limit: float) -> Iterator[Token]:
    """The tokens with their times: each lasts until the next one, but not for long."""
    if not found.tokens or not found.timestamps:
        return
    odds = found.logprobs or [0.0] * len(found.tokens)
    starts = [float(start) for start in found.timestamps]
    spans = pairwise([*starts, limit])
    for text, (start, following), odd in zip(found.tokens, spans, odds, strict=True):
        end = max(start, min(following, start + _LONGEST_TOKEN))
        yield Token(text.encode(), start, end, math.exp(min(0.0, float(odd))))


def _heard(asr: Any, samples: Samples) -> LanguageGuess:
    """The language token that Whisper finds likeliest; the library has no call for it."""
    encoded = asr._encode(samples[None], np.array([len(samples)], np.int64))  # noqa: SLF001
    scores, _ = asr._decode(asr._detect_lang_input, asr._create_state(), encoded)  # noqa: SLF001
    codes = {
        found[1]: number
        for token, number in asr._tokens.items()  # noqa: SLF001
        if (found := _LANGUAGE.fullmatch(token))
    }
    values = scores[0, -1, list(codes.values())].astype(np.float64)
    odds = np.exp(values - values.max())
    best = int(odds.argmax())
    return LanguageGuess(list(codes)[best], float(odds[best] / odds.sum()))


def _loaded(model: Path, name: str | None, settings: LoadSettings) -> Any:
    import onnx_asr
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if settings.threads:
        options.intra_op_num_threads = settings.threads
    return onnx_asr.load_model(
        cast("Any", name),  # None makes it read the configuration, which its types leave out
        model,
        quantization=_format(model, settings.compute_type),
        sess_options=options,
        providers=_providers(onnxruntime.get_available_providers(), settings.device),
    )


def _providers(available: list[str], device: str) -> list[Any]:
    kind, _, index = device.partition(":")
    has_cuda = "CUDAExecutionProvider" in available
    if kind == "cuda" and not has_cuda:
        raise RuntimeError(
            "onnxruntime has no CUDA here; `pip install onnxruntime-gpu` brings it"
        )
    if kind == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    return [
        ("CUDAExecutionProvider", {"device_id": int(index or 0)}),
        "CPUExecutionProvider",
    ]


def _format(model: Path, wanted: str) -> str | None:
    """The number format asked for, or the files' own where they come in one only."""
    found = {_format_of(path.name) for path in model.rglob("*.onnx")}
    if wanted != "auto" and wanted in found:
        return wanted
    return None if None in found or len(found) != 1 else found.pop()


def _format_of(filename: str) -> str | None:
    match = _QUANTIZED.search(filename)
    return match[1] if match and match[1] in _FORMATS else None


def _library_name(model: Path) -> str | None:
    """The library's name of the model; None where its `config.json` must say what it is."""
    from onnx_asr.resolver import model_repos

    for suffix in ("", *(f"-{form}" for form in _FORMATS)):
        name = model.name.removesuffix(suffix)
        if name in model_repos:
            return name
    return None


def _languages(model: Path, name: str | None) -> tuple[str, ...]:
    if name in SPOKEN:
        return SPOKEN[name]
    config = model / "config.json"
    known = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if known.get("vocab_size") == _ENGLISH_VOCABULARY:
        return ("en",)
    tokens = model / "added_tokens.json"
    if not tokens.is_file():
        return ()
    found = _LANGUAGE.findall(tokens.read_text(encoding="utf-8"))
    return tuple(sorted(set(found)))
