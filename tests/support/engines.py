"""An engine that does as its prompt says: the plug-in for crashes, hangs and slowness.

It is installed as a plug-in really is, by the metadata of a distribution on the path.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rhapsode.domain.errors import Unavailable
from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import (
    Availability,
    Canceled,
    Canceling,
    LanguageGuess,
    LoadSettings,
    Samples,
    TranscribeOptions,
)

NAME = "puppet"
BEGUN = "begun"
"""A file beside its models' folders, there once it was ever asked to transcribe."""
MODELS = ("quick", "other", "slow-to-load", "crash-on-load", "bad-model")


class PuppetTranscriber:
    def __init__(self, model: Path) -> None:
        self._model = model.name
        self._begun = model.parent / BEGUN

    def detect_language(self, samples: Samples) -> LanguageGuess:
        return LanguageGuess("en", 1.0)

    def transcribe(
        self, samples: Samples, options: TranscribeOptions, canceled: Canceling
    ) -> Iterator[Segment]:
        self._begun.parent.mkdir(parents=True, exist_ok=True)
        self._begun.touch()
        command, _, argument = (options.prompt or "say").partition(" ")
        _COMMANDS[command](argument, canceled)
        yield Segment(0.0, 0.5, f"{self._model} {os.getpid()} {argument}".strip())

    def close(self) -> None:
        pass


class PuppetEngine:
    name = NAME
    own_models = MODELS

    def probe(self) -> Availability:
        return Availability(available=True, detail="1.0")

    def load(self, model: Path, settings: LoadSettings) -> PuppetTranscriber:
        if model.name == "slow-to-load":
            time.sleep(2)
        if model.name == "crash-on-load":
            os.kill(os.getpid(), signal.SIGABRT)
        if model.name == "bad-model":
            raise Unavailable("model_unloadable", "The model is broken.")
        return PuppetTranscriber(model)


def _null(argument: str, canceled: Canceling) -> None:
    """Native code that follows a null pointer."""
    ctypes.memmove(0, b"x", 1)


def _devour(argument: str, canceled: Canceling) -> None:
    """Native code that asks for more memory than the system grants it, and cannot bear a no.

    C++ without a handler ends its process where there is no memory, as these libraries do.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64_000_000, used + 64_000_000))
    allocate = ctypes.CDLL("libstdc++.so.6")["_Znwm"]
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    while True:
        allocate(16_000_000)


def _sleep(argument: str, canceled: Canceling) -> None:
    """Politely: stops when asked."""
    end = time.monotonic() + float(argument)
    while time.monotonic() < end:
        if canceled():
            raise Canceled
        time.sleep(0.02)


def _native(argument: str, canceled: Canceling) -> None:
    """Like native code that holds the interpreter: no other thread runs."""
    ctypes.PyDLL(None).usleep(int(float(argument) * 1_000_000))


def _print(argument: str, canceled: Canceling) -> None:
    """Chatter of every kind, and an attempt to read the commands."""
    print("plain chatter", '{"kind": "Done"}', flush=True)
    os.write(1, b'{"kind": "Stopped", "run": "x"}\nhalf a line')
    os.write(2, b"\xff\xfe" + b"x" * 3_000_000 + b"\n")
    if sys.stdin.read() or os.read(0, 10):
        raise RuntimeError("standard input has something to read")


def _write_away(argument: str, canceled: Canceling) -> None:
    raise OSError(28, "No space left on device")


def _raise(argument: str, canceled: Canceling) -> None:
    raise ValueError(f"two\nlines of {argument}")


def _allocate(argument: str, canceled: Canceling) -> None:
    raise MemoryError


def _spin(argument: str, canceled: Canceling) -> None:
    end = time.monotonic() + float(argument)
    while time.monotonic() < end:
        pass


_COMMANDS: dict[str, Callable[[str, Canceling], None]] = {
    "say": lambda *_: None,
    "sleep": _sleep,
    "stubborn": lambda argument, _: time.sleep(float(argument)),
    "native": _native,
    "spin": _spin,
    "print": _print,
    "raise": _raise,
    "allocate": _allocate,
    "disk": _write_away,
    "null": _null,
    "devour": _devour,
    "exit": lambda argument, _: os._exit(int(argument)),
    "die": lambda argument, _: os.kill(os.getpid(), signal.Signals[argument]),
}

ENGINE = PuppetEngine()


def install(folder: Path) -> Path:
    """A folder that, on PYTHONPATH, makes the puppet an installed plug-in."""
    return _distribution(folder, f"{NAME}-engine", NAME, "tests.support.engines:ENGINE")


def install_code(folder: Path, name: str, code: str) -> Path:
    """The same for an engine whose module consists of this code, which may do anything."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_module.py").write_text(code, encoding="utf-8")
    return _distribution(folder, f"{name}-engine", name, f"{name}_module:ENGINE")


def _distribution(folder: Path, package: str, engine: str, value: str) -> Path:
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rhapsode.engines]\n{engine} = {value}\n")
    return folder
