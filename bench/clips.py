"""Real speech with its text: the clips that accuracy is measured on."""

import json
import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from bench.report import note
from rhapsode.engines import audio
from rhapsode.engines.base import SAMPLE_RATE, Samples
from tests.support import speech

FOLDER = "RHAPSODE_BENCH_CLIPS"
"""Names a folder with recordings and `reference.jsonl`: `{"file": …, "text": …}` a line."""

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "audio"
_SAMPLES = ("jfk", "two-cities")
_SAME = {"jfk.flac": "jfk", "two_cities_16k.wav": "two-cities"}
"""Files of the folder that are samples of the catalogue, too."""

_PAUSES = (0.4, 1.1, 0.7, 2.6, 0.3, 1.6)


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, and what is said in it."""

    name: str
    path: Path
    text: str


def clips() -> list[Clip]:
    """The catalogue's samples, and those of the folder where there is one."""
    found = [Clip(name, speech.sample(name), speech.sample_text(name)) for name in _SAMPLES]
    folder = Path(os.environ.get(FOLDER, _BESIDE))
    listing = folder / "reference.jsonl"
    if not listing.is_file():
        note(f"accuracy: no {listing}, so only the catalogue's samples ({FOLDER} names one)")
        return found
    for line in listing.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["file"] not in _SAME and entry.get("language", "en") == "en":
            found.append(Clip(entry["file"], folder / entry["file"], entry["text"]))
    return found


@cache
def decoded(path: Path) -> Samples:
    """The recording as engines get it."""
    return np.concatenate(list(audio.decode(path)))


def joined(parts: Sequence[Clip], minutes: float, path: Path) -> Clip:
    """The clips one after the other, again and again, with pauses of many lengths."""
    sounds, texts, seconds = [], [], 0.0
    for part, pause in zip(cycle(parts), cycle(_PAUSES)):
        sound = decoded(part.path)
        sounds += [sound, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
        texts.append(part.text)
        seconds += len(sound) / SAMPLE_RATE + pause
        if seconds >= 60 * minutes:
            break
    write(path, np.concatenate(sounds))
    return Clip(path.stem, path, " ".join(texts))


def write(path: Path, sound: Samples) -> None:
    """A WAV file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
