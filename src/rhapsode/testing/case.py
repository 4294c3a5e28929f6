"""What the suite is told about an engine, and the sounds that it makes of its speech."""

import wave
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from rhapsode.engines import audio
from rhapsode.engines.base import SAMPLE_RATE, Engine, LoadSettings, Samples


@dataclass(frozen=True, kw_only=True)
class Case:
    """One engine with one model, and a recording that it should understand.

    `speech` is five seconds or more of clear speech in `language`, and `text` what is said
    in it. `max_wer` is the largest word error rate that passes, on the recording itself; at
    8 kHz it may be `max_wer_8khz`. `has_words` says whether the model tells times of words,
    `tells_language` whether `detect_language` knows. `lacks` is a language that the model
    refuses; None where it takes any.
    """

    engine: Engine
    model: Path
    speech: Path
    text: str
    language: str
    max_wer: float = 0.1
    max_wer_8khz: float = 0.25
    has_words: bool = True
    tells_language: bool = True
    lacks: str | None = "xx"
    settings: LoadSettings = field(default=LoadSettings(device="cpu", threads=2))

    @property
    def samples(self) -> Samples:
        """The speech as engines get it."""
        return np.concatenate(list(audio.decode(self.speech)))


def write_wav(path: Path, samples: Samples, rate: int = SAMPLE_RATE) -> Path:
    """A file of 16-bit mono sound."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def at_rate(samples: Samples, rate: int) -> Samples:
    """The same sound with so many samples a second."""
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([made.to_ndarray()[0] for made in frames])


def silence(seconds: float) -> Samples:
    """Nothing at all."""
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def noise(seconds: float) -> Samples:
    """White noise, loud; the same each time."""
    values = np.random.default_rng(1).normal(0, 0.1, int(seconds * SAMPLE_RATE))
    return values.astype(np.float32)
