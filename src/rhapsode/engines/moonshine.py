"""The engine `moonshine`: small, quick models of one language each, on the CPU.

The library cuts speech into lines by itself. It is given half a minute at a time, so that
a cancel does not leave it busy for long, and so that it holds little.
"""

import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rhapsode.domain.transcripts import Segment, Word
from rhapsode.engines import blocks
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Availability,
    Canceled,
    Canceling,
    LanguageGuess,
    LoadSettings,
    Samples,
    TranscribeOptions,
)
from rhapsode.engines.calls import Calls, Emit
from rhapsode.engines.failures import only_file, unloadable, unsupported_language
from rhapsode.engines.tokens import segment_of

NAME = "moonshine"
_ALIGNERS = ("decoder_with_attention.ort", "decoder_kv_with_attention.ort")
"""Files with which the library can tell when each word was said."""

_FILES = ("encoder*.ort", "tokenizer.bin")


class Moonshine:
    """The entry point's value."""

    name = NAME

    def probe(self) -> Availability:
        """Looks for the library without importing it."""
        if find_spec("moonshine_voice") is None:
            return Availability(
                False,
                "the package moonshine-voice is not installed",
                install="pip install 'rhapsode[moonshine]'",
            )
        try:
            return Availability(True, version("moonshine-voice"))
        except PackageNotFoundError:
            return Availability(True, "unknown version")

    def load(self, model: Path, settings: LoadSettings) -> "LoadedModel":  # noqa: ARG002
        """Loads a folder named like `tiny-en`; the library knows no devices and no formats."""
        for pattern in _FILES:
            only_file(NAME, model, pattern)
        kind, _, language = model.name.rpartition("-")
        return LoadedModel(_transcriber(model, kind), language)


ENGINE = Moonshine()


class LoadedModel:
    """A `Transcriber` over one of the library's."""

    def __init__(self, transcriber: Any, language: str) -> None:
        self.languages = (language,)
        self._transcriber = transcriber
        self._calls = Calls(NAME)

    def detect_language(self, samples: Samples) -> LanguageGuess:  # noqa: ARG002
        """The one that it knows."""
        return LanguageGuess(self.languages[0], 1.0)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """See `Transcriber`; the library takes no prompt."""
        language = options.language or self.languages[0]
        if language not in self.languages:
            raise unsupported_language(language, self.languages)

        def work(emit: Emit, stop: threading.Event) -> None:
            for block in blocks.cut(samples):
                if stop.is_set():
                    raise Canceled
                for segment in self._segments(block.samples, options):
                    emit(blocks.in_recording_time(segment, block))

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a call that may still be running, then frees the weights."""
        with self._calls.alone():
            self._transcriber.close()

    def _segments(self, samples: Samples, options: TranscribeOptions) -> Iterator[Segment]:
        limit = len(samples) / SAMPLE_RATE
        found = self._transcriber.transcribe_without_streaming(samples.tolist(), SAMPLE_RATE)
        for line in found.lines:
            words = _words(line) if options.word_times else ()
            end = line.start_time + line.duration
            segment = segment_of(line.text, line.start_time, end, words, limit=limit)
            if segment is not None:
                yield segment


def _words(line: Any) -> Iterator[Word]:
    for word in line.words or ():
        if text := word.word.strip():
            confidence = round(min(1.0, max(0.0, float(word.confidence))), 4)
            yield Word(float(word.start), float(word.end), text, confidence)


def _transcriber(model: Path, kind: str) -> Any:
    from moonshine_voice import ModelArch, MoonshineError
    from moonshine_voice.transcriber import Transcriber

    name = kind.upper().replace("-", "_")
    if name not in ModelArch.__members__:
        known = ", ".join(member.lower().replace("_", "-") for member in ModelArch.__members__)
        raise unloadable(
            NAME,
            model,
            f"'{model.name}' names no kind of model.",
            hint=f"Name the folder KIND-LANGUAGE, as in tiny-en; the kinds are: {known}.",
        )
    options = {"return_audio_data": "false"}
    if any((model / file).is_file() for file in _ALIGNERS):
        options["word_timestamps"] = "true"
    try:
        return Transcriber(model, ModelArch[name], options=options)
    except (MoonshineError, OSError) as error:
        raise unloadable(NAME, model, error) from error
