"""The engine `whisper.cpp`: Whisper models in ggml's format, quantised ones too.

In this process by pywhispercpp; where only the program `whisper-cli` is installed, by that
(`whisper_cli.py`).
"""

import atexit
import logging
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.domain.languages import WHISPER_LANGUAGES, WITH_CANTONESE
from rhapsode.domain.transcripts import Segment
from rhapsode.engines import ggml
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
    Transcriber,
    cpu_threads,
    thread_choices,
)
from rhapsode.engines.calls import Calls, Emit
from rhapsode.engines.failures import only_file, unloadable, unsupported_language
from rhapsode.engines.tokens import Token, segment_of, words_of
from rhapsode.engines.whisper import NUMERAL, wishes
from rhapsode.engines.whisper_cli import PROGRAM, CommandLine

NAME = "whisper.cpp"
SHORTEST = SAMPLE_RATE // 10
"""Samples below which the library refuses, and would show the result of the call before."""

_WINDOW = 30 * SAMPLE_RATE
log = logging.getLogger(__name__)


class WhisperCpp:
    """The entry point's value."""

    name = NAME

    def probe(self) -> Availability:
        """Looks for the binding without importing it, then for the program."""
        if find_spec("_pywhispercpp") is not None:
            try:
                return Availability(True, version("pywhispercpp"))
            except PackageNotFoundError:
                return Availability(True, "unknown version")
        if program := shutil.which(PROGRAM):
            return Availability(True, f"by {program}")
        return Availability(
            False,
            f"neither the package pywhispercpp nor the program {PROGRAM} is installed",
            install="pip install 'rhapsode[whisper-cpp]'",
        )

    def choices(self, settings: LoadSettings) -> Choices:  # noqa: ARG002
        """The threads: what is best depends on the cores."""
        return {"threads": thread_choices()}

    def load(self, model: Path, settings: LoadSettings) -> Transcriber:
        """Loads the one ggml file in the folder; its number format is the file's own."""
        if find_spec("_pywhispercpp") is None:
            return self.by_program(model, settings)
        path, languages = _checked(model)
        threads = settings.threads or cpu_threads()
        return LoadedModel(_context(model, path, settings), languages, threads)

    def by_program(
        self, model: Path, settings: LoadSettings, program: str = PROGRAM
    ) -> CommandLine:
        """The same by the program, though the binding may be there."""
        path, languages = _checked(model)
        threads = settings.threads or cpu_threads()
        return CommandLine(path, languages, threads, settings.device, program)


ENGINE = WhisperCpp()


class LoadedModel:
    """A `Transcriber` over one context of the library."""

    def __init__(self, context: Any, languages: tuple[str, ...], threads: int) -> None:
        self.languages = languages
        self.takes = wishes(languages)
        self._context = context
        self._threads = threads
        self._calls = Calls(NAME)

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """Looks at the first 30 s."""
        if len(self.languages) == 1 or len(samples) < SHORTEST:
            return LanguageGuess(self.languages[0] if len(self.languages) == 1 else "en", 1.0)
        import _pywhispercpp as library

        odds = np.zeros(library.whisper_lang_max_id() + 1, np.float32)
        window = np.ascontiguousarray(samples[:_WINDOW])
        with self._calls.alone():
            library.whisper_pcm_to_mel(self._context, window, len(window), self._threads)
            best = library.whisper_lang_auto_detect(self._context, 0, self._threads, odds)
        known = {
            library.whisper_lang_str(i): float(min(1.0, odd)) for i, odd in enumerate(odds)
        }
        name = library.whisper_lang_str(best)
        return LanguageGuess(name, known[name], known)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """See `Transcriber`; without a language it is detected first."""
        language = options.language or self.detect_language(samples).language
        if language not in self.languages:
            raise unsupported_language(language, self.languages)
        if len(samples) < SHORTEST:
            return

        def work(emit: Emit, stop: threading.Event) -> None:
            self._work(np.ascontiguousarray(samples), language, options, emit, stop)

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a call that may still be running, then frees the weights."""
        import _pywhispercpp as library

        with self._calls.alone():
            context, self._context = self._context, None
            if context is not None:
                library.whisper_free(context)

    def _work(
        self,
        samples: Samples,
        language: str,
        options: TranscribeOptions,
        emit: Emit,
        stop: threading.Event,
    ) -> None:
        import _pywhispercpp as library

        if self._context is None:
            raise RuntimeError("the model is closed")
        reading = _Reading(library, language, options, len(samples) / SAMPLE_RATE, emit)
        parameters = _parameters(library, language, options, self._threads)
        library.assign_new_segment_callback(parameters, reading.hear)
        library.assign_abort_callback(parameters, stop.is_set)
        code = library.whisper_full(self._context, parameters, samples, len(samples))
        if stop.is_set():
            raise Canceled
        if reading.error is not None:
            raise reading.error
        if code:
            raise RuntimeError(f"the library answers {code}")


class _Reading:
    """Hears of new segments while the library works, and hands them on.

    An exception must not go through the library's own code, so it is kept for later.
    """

    def __init__(
        self, library: Any, language: str, options: TranscribeOptions, limit: float, emit: Emit
    ) -> None:
        self._library, self._language, self._emit = library, language, emit
        self._words, self._limit = options.word_times, limit
        self.error: Exception | None = None

    def hear(self, context: Any, count: int, _: object = None) -> None:
        """The library's callback: the last `count` segments are new."""
        try:
            total = self._library.whisper_full_n_segments(context)
            for index in range(total - count, total):
                if (segment := self._segment(context, index)) is not None:
                    self._emit(segment)
        except Exception as error:  # noqa: BLE001 (it is raised again after the call)
            self.error = error

    def _segment(self, context: Any, index: int) -> Segment | None:
        library = self._library
        text = library.whisper_full_get_segment_text(context, index).decode(errors="replace")
        start = library.whisper_full_get_segment_t0(context, index) / 100
        end = library.whisper_full_get_segment_t1(context, index) / 100
        words = words_of(self._tokens(context, index), self._language) if self._words else ()
        return segment_of(text, start, end, words, limit=self._limit)

    def _tokens(self, context: Any, index: int) -> list[Token]:
        library, tokens = self._library, []
        end_of_text = library.whisper_token_eot(context)
        for number in range(library.whisper_full_n_tokens(context, index)):
            data = library.whisper_full_get_token_data(context, index, number)
            if data.id < end_of_text:
                text = library.whisper_token_to_bytes(context, data.id)
                tokens.append(Token(text, data.t0 / 100, data.t1 / 100, float(data.p)))
        return tokens


def _parameters(library: Any, language: str, options: TranscribeOptions, threads: int) -> Any:
    chosen = library.whisper_full_default_params(
        library.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
    )
    chosen.language = language
    chosen.n_threads = threads
    chosen.token_timestamps = options.word_times
    chosen.no_context = True  # see faster_whisper.py on what was said before
    chosen.suppress_nst = True
    chosen.print_progress = chosen.print_realtime = chosen.print_timestamps = False
    chosen.translate = options.translate
    if options.temperature is not None:
        chosen.temperature = options.temperature
        chosen.temperature_inc = 0.0
    if not options.numerals:
        chosen.suppress_regex = NUMERAL
    if options.context:
        chosen.initial_prompt = options.context
        chosen.carry_initial_prompt = True
    return chosen


@cache
def _library() -> Any:
    """The library, which writes to our log instead of the terminal.

    Its callback must be gone before Python is, or the process would end by an abort.
    """
    import _pywhispercpp as library

    library.whisper_log_set(lambda _, text: log.debug("%s", text.rstrip()))
    atexit.register(library.whisper_log_set, None)
    return library


def _context(model: Path, path: Path, settings: LoadSettings) -> Any:
    library = _library()
    kind, _, index = settings.device.partition(":")
    if kind == "cuda" and "CUDA" not in str(library.whisper_print_system_info()):
        raise unloadable(
            NAME,
            model,
            "this pywhispercpp was built without CUDA.",
            hint="Build it with GGML_CUDA=1, or choose `--device cpu`.",
        )
    chosen = library.whisper_context_default_params()
    chosen.use_gpu = kind != "cpu"
    chosen.gpu_device = int(index or 0)
    return library.whisper_init_from_file_with_params(str(path), chosen)


def _checked(model: Path) -> tuple[Path, tuple[str, ...]]:
    """The one weight file of a model, whole, and the languages that it knows."""
    path = only_file(NAME, model, "*.bin")
    try:
        return path, _languages(ggml.check(path))
    except (ggml.Broken, OSError) as error:
        raise unloadable(NAME, model, error) from error


def _languages(header: ggml.Header) -> tuple[str, ...]:
    if not header.multilingual:
        return ("en",)
    return WITH_CANTONESE if header.cantonese else WHISPER_LANGUAGES
