"""Factories of recordings, good and bad; each writes a file and returns its path."""

import struct
import wave
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Sound = NDArray[np.float32]


def tone_sound(seconds: float, rate: int = RATE, hertz: float = 440.0) -> Sound:
    times = np.arange(int(seconds * rate), dtype=np.float64) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def noise_sound(seconds: float, rate: int = RATE, level: float = 0.2, seed: int = 0) -> Sound:
    generator = np.random.default_rng(seed)
    return (level * generator.standard_normal(int(seconds * rate))).astype(np.float32)


def write_wav(path: Path, sounds: Iterable[Sound], rate: int = RATE, channels: int = 1) -> Path:
    """Writes blocks of samples one after another, so that a long file needs little memory."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        for sound in sounds:
            clipped = np.clip(sound, -1, 1)
            file.writeframesraw((clipped * 32767).astype("<i2").repeat(channels).tobytes())
    return path


def read_wav(path: Path) -> tuple[Sound, int]:
    """The samples of a 16-bit mono WAV, and its rate."""
    with wave.open(str(path), "rb") as file:
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return raw.astype(np.float32) / 32768, file.getframerate()


def tone(path: Path, seconds: float = 2.0, hertz: float = 440.0) -> Path:
    return write_wav(path, [tone_sound(seconds, hertz=hertz)])


def silence(path: Path, seconds: float = 5.0) -> Path:
    minute = np.zeros(60 * RATE, np.float32)
    whole, rest = divmod(seconds, 60)
    blocks = [minute] * int(whole) + [minute[: int(rest * RATE)]]
    return write_wav(path, blocks)


def noise(path: Path, seconds: float = 5.0, level: float = 0.2) -> Path:
    return write_wav(path, [noise_sound(seconds, level=level)])


def eight_channels(path: Path, sound: Sound, rate: int = RATE) -> Path:
    """192 kHz, eight channels, the sound on each of them."""
    return write_wav(path, [np.repeat(sound, 192_000 // rate)], rate=192_000, channels=8)


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def text(path: Path) -> Path:
    path.write_text("This is no recording.\n" * 200, encoding="utf-8")
    return path


def playlist(path: Path, target: str) -> Path:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:10", "#EXTINF:10,", target, "#EXT-X-ENDLIST"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def concat_list(path: Path, target: str) -> Path:
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n", encoding="utf-8")
    return path


def wav_with_false_length(path: Path, sound: Sound, promised_seconds: float) -> Path:
    """A WAV whose header promises more than the file holds."""
    write_wav(path, [sound])
    content = bytearray(path.read_bytes())
    size = int(promised_seconds * RATE * 2)
    content[4:8] = struct.pack("<I", size + 36)
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    return path


def encoded(path: Path, sound: Sound, codec: str, container: str, rate: int = RATE) -> Path:
    """Any container and codec that FFmpeg can write, mono."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        for frame in _frames(sound, rate):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def with_hole(path: Path, sound: Sound, hole_seconds: float) -> Path:
    """The sound twice, with nothing at all stored for the time between."""
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for offset in (0, len(sound) + int(hole_seconds * RATE)):
            for frame in _frames(sound, RATE):
                frame.pts += offset
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def mp4(path: Path, sound: Sound, rate: int = RATE) -> Path:
    return encoded(path, sound, "aac", "mp4", rate)


def mp4_truncated(path: Path, sound: Sound) -> Path:
    """Cut off before the index, which a recorder writes last."""
    mp4(path, sound)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])
    return path


def webm_without_duration(path: Path, sound: Sound) -> Path:
    """As a browser's MediaRecorder writes it: Opus, live, no duration in the header."""
    with (
        path.open("wb") as file,
        av.open(_Unseekable(file), "w", format="webm", options={"live": "1"}) as output,
    ):
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        for frame in _frames(np.repeat(sound, 3), 48_000):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def video_without_sound(path: Path, seconds: float = 1.0) -> Path:
    with av.open(str(path), "w", format="mp4") as output:
        _add_video(output, seconds)
    return path


def video_with_sound(path: Path, sound: Sound, rate: int = RATE) -> Path:
    with av.open(str(path), "w", format="mp4") as output:
        audio = output.add_stream("aac", rate=rate, layout="mono")
        _add_video(output, len(sound) / rate)
        for frame in _frames(sound, rate):
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


class _Unseekable:
    def __init__(self, file: object) -> None:
        self.write = file.write  # type: ignore[attr-defined]


def _add_video(output: av.container.OutputContainer, seconds: float) -> None:
    video = output.add_stream("mpeg4", rate=10)
    video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
    for index in range(int(seconds * 10)):
        frame = av.VideoFrame.from_ndarray(
            np.full((48, 64, 3), index % 256, np.uint8), format="rgb24"
        )
        frame.pts, frame.time_base = index, Fraction(1, 10)
        output.mux(video.encode(frame))
    output.mux(video.encode(None))


def _frames(sound: Sound, rate: int) -> Iterator[av.AudioFrame]:
    step = 1024
    for start in range(0, len(sound), step):
        piece = np.clip(sound[start : start + step], -1, 1)
        values = (piece * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        yield frame
