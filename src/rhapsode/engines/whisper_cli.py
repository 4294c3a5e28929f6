"""whisper.cpp by its program `whisper-cli`, for machines that have it and no Python binding.

The program loads the model anew for each block and tells its segments at the end of it; it
can be stopped at any moment, and a crash of it costs this process nothing.
"""

import json
import re
import subprocess
import tempfile
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import (
    SAMPLE_RATE,
    Canceled,
    Canceling,
    LanguageGuess,
    Samples,
    TranscribeOptions,
)
from rhapsode.engines.calls import Calls, Emit
from rhapsode.engines.failures import unsupported_language
from rhapsode.engines.tokens import Token, segment_of, words_of
from rhapsode.engines.whisper import NUMERAL, wishes

PROGRAM = "whisper-cli"
_ENGINE = "whisper.cpp"
_SHORTEST = SAMPLE_RATE // 10
_WINDOW = 30 * SAMPLE_RATE
_POLL_SECONDS = 0.1
_FOUND = re.compile(r"auto-detected language: (\w+) \(p = ([\d.]+)\)")


class CommandLine:
    """A `Transcriber` that runs the program for every call."""

    def __init__(
        self,
        weights: Path,
        languages: tuple[str, ...],
        threads: int,
        device: str,
        program: str = PROGRAM,
    ) -> None:
        self.languages = languages
        self.takes = wishes(languages)
        self._start = [program, "-m", str(weights), "-t", str(threads)]
        self._start += ["--no-gpu"] if device == "cpu" else []
        self._calls = Calls(_ENGINE)

    def detect_language(self, samples: Samples) -> LanguageGuess:
        """Looks at the first 30 s."""
        if len(self.languages) == 1 or len(samples) < _SHORTEST:
            return LanguageGuess(self.languages[0] if len(self.languages) == 1 else "en", 1.0)
        with self._calls.alone(), tempfile.TemporaryDirectory(prefix="rhapsode-") as folder:
            sound = _written(samples[:_WINDOW], Path(folder))
            said = self._run([*("-f", str(sound)), "-dl"], threading.Event())
        found = _FOUND.search(said)
        if found is None:
            raise RuntimeError(f"{PROGRAM} detected no language: {_last_line(said)}")
        return LanguageGuess(found[1], min(1.0, float(found[2])))

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        """See `Transcriber`; without a language it is detected first."""
        language = options.language or self.detect_language(samples).language
        if language not in self.languages:
            raise unsupported_language(language, self.languages)
        if len(samples) < _SHORTEST:
            return

        def work(emit: Emit, stop: threading.Event) -> None:
            limit = len(samples) / SAMPLE_RATE
            with tempfile.TemporaryDirectory(prefix="rhapsode-") as name:
                folder = Path(name)
                sound = _written(samples, folder)
                wanted = [*("-f", str(sound)), *("-l", language), *("-of", str(folder / "out"))]
                self._run([*wanted, *_options(options)], stop)
                for segment in _read(folder / "out.json", language, limit):
                    emit(segment)

        yield from self._calls.segments(work, canceled)

    def close(self) -> None:
        """Waits for a call that may still be running; nothing is kept in memory."""
        with self._calls.alone():
            pass

    def _run(self, arguments: list[str], stop: threading.Event) -> str:
        """Runs the program to its end, or kills it at a stop; what it printed on its log."""
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                [*self._start, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            ) as process,
        ):
            while not _ended(process):
                if stop.is_set():
                    process.kill()
                    raise Canceled
            said.seek(0)
            text = said.read().decode(errors="replace")
        if process.returncode:
            raise RuntimeError(f"{PROGRAM} ended with {process.returncode}: {_last_line(text)}")
        return text


def _options(options: TranscribeOptions) -> list[str]:
    chosen = ["--output-json-full" if options.word_times else "--output-json"]
    chosen += ["--suppress-nst", *("--max-context", "0")]
    if options.translate:
        chosen += ["--translate"]
    if options.temperature is not None:
        chosen += ["--temperature", f"{options.temperature:g}", "--no-fallback"]
    if not options.numerals:
        chosen += ["--suppress-regex", NUMERAL]
    if options.context:
        chosen += ["--prompt", options.context, "--carry-initial-prompt"]
    return chosen


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _written(samples: Samples, folder: Path) -> Path:
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _read(path: Path, language: str, limit: float) -> Iterator[Segment]:
    # A token may hold part of a character, which the program writes as it is.
    document = json.loads(path.read_bytes().decode(errors="surrogateescape"))
    for item in document["transcription"]:
        start, end = item["offsets"]["from"] / 1000, item["offsets"]["to"] / 1000
        words = words_of(_tokens(item.get("tokens", ())), language)
        text = item["text"].encode(errors="surrogateescape").decode(errors="replace")
        if (segment := segment_of(text, start, end, words, limit=limit)) is not None:
            yield segment


def _tokens(items: Any) -> Iterator[Token]:
    for item in items:
        text = item["text"].encode(errors="surrogateescape")
        if not text.startswith(b"[_"):  # the program's names of special tokens
            start, end = item["offsets"]["from"] / 1000, item["offsets"]["to"] / 1000
            yield Token(text, start, end, float(item["p"]))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"
