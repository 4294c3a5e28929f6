"""Recordings to measure with: real speech with pauses, as short or as long as needed."""

import io
import struct
import wave
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rhapsode.engines import audio
from tests.support import speech

RATE = 16_000
_SAMPLES = ("two-cities", "jfk")
_PAUSES = (0.8, 1.7, 3.0, 1.2)
"""Seconds between two readings: some shorter and some longer than what the pipeline keeps."""

_FRAME_SECONDS = 10
Sound = NDArray[np.float32]


def tiny() -> bytes:
    """One second of nothing as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * RATE))
    return buffer.getvalue()


def wav_header(data_bytes: int) -> bytes:
    """The header of a 16-bit stereo WAV at 48 kHz with so much sound."""
    form = struct.pack("<HHIIHH", 1, 2, 48_000, 192_000, 4, 16)
    return (
        b"RIFF"
        + struct.pack("<I", data_bytes + 36)
        + b"WAVEfmt "
        + struct.pack("<I", len(form))
        + form
        + b"data"
        + struct.pack("<I", data_bytes)
    )


@cache
def _readings() -> tuple[Sound, ...]:
    return tuple(np.concatenate(list(audio.decode(speech.sample(name)))) for name in _SAMPLES)


def reading() -> Iterator[Sound]:
    """People reading, with pauses, without end."""
    for voice, pause in zip(cycle(_readings()), cycle(_PAUSES)):
        yield voice
        yield np.zeros(int(pause * RATE), np.float32)


def with_speech(path: Path, minutes: float, dense_minutes: float, share: float) -> Path:
    """A FLAC file: first speech without end, then speech for a `share` of the time."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with av.open(str(unfinished), "w", format="flac") as output:
        stream = output.add_stream("flac", rate=RATE, layout="mono")
        for frame in _frames(_programme(minutes, dense_minutes, share)):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    unfinished.rename(path)
    return path


def _programme(minutes: float, dense_minutes: float, share: float) -> Iterator[Sound]:
    left, done = int(minutes * 60 * RATE), 0
    for piece in reading():
        part = piece[:left]
        yield part
        left, done = left - len(part), done + len(part)
        if done >= dense_minutes * 60 * RATE:
            rest = int(min(left, len(part) * (1 / share - 1)))
            yield from _silence(rest)
            left -= rest
        if left <= 0:
            return


def _silence(samples: int) -> Iterator[Sound]:
    block = np.zeros(60 * RATE, np.float32)
    while samples > 0:
        yield block[:samples]
        samples -= len(block)


def _frames(sounds: Iterator[Sound]) -> Iterator[av.AudioFrame]:
    step, at = _FRAME_SECONDS * RATE, 0
    for sound in sounds:
        values = (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        for start in range(0, len(values), step):
            piece = values[start : start + step].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, at
            at += piece.shape[1]
            yield frame
