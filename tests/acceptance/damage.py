"""Recordings with something wrong about them; each factory returns the file's path."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.support import recordings
from tests.support.recordings import RATE, Sound
from tests.support.speech import sample

_HOUR = 3600


def speech(start: float = 0.0, end: float = 11.0) -> Sound:
    """A part of a speech, at the rate of `recordings`."""
    sound, rate = recordings.read_wav(sample("jfk"))
    return sound[int(start * rate) : int(end * rate)]


def mp4_cut(path: Path) -> Path:
    """The index comes first and is whole; of the sound, the second half is missing."""
    whole = path.with_name("whole.mp4")
    sound = np.tile(speech(), 3)
    with av.open(str(whole), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("aac", rate=RATE, layout="mono")
        for frame in recordings._frames(sound, RATE):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    content = whole.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    path.write_bytes(content[: len(content) // 2])
    return path


def broken_in_the_middle(path: Path, codec: str, container: str) -> Path:
    """Twelve seconds of speech, of which the middle tenth is random bytes."""
    recordings.encoded(path, speech(), codec, container)
    content = bytearray(path.read_bytes())
    hole = slice(len(content) // 2, len(content) // 2 + len(content) // 10)
    content[hole] = np.random.default_rng(1).bytes(hole.stop - hole.start)
    path.write_bytes(content)
    return path


def one_pixel_video(path: Path) -> Path:
    """A video of one pixel, with speech."""
    with av.open(str(path), "w", format="matroska") as output:
        video = output.add_stream("ffv1", rate=1)
        video.width, video.height, video.pix_fmt = 1, 1, "yuv420p"
        audio = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        image = np.zeros((1, 1, 3), np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for piece in recordings._frames(speech(5.2, 11.0), RATE):
            output.mux(audio.encode(piece))
        output.mux(audio.encode(None))
    return path


def hours_of_silence(path: Path, hours: float) -> Path:
    """FLAC, which stores silence in next to nothing."""
    rate = 8000
    with av.open(str(path), "w", format="flac") as output:
        stream = output.add_stream("flac", rate=rate, layout="mono")
        step = stream.codec_context.frame_size or 4096
        nothing = np.zeros((1, step), np.int16)
        for start in range(0, int(hours * _HOUR * rate), step):
            frame = av.AudioFrame.from_ndarray(nothing, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def session_description(path: Path, _: str) -> Path:
    """An SDP file, which makes some players listen on the network."""
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0"]
    path.write_text("\r\n".join([*lines, "m=audio 5004 RTP/AVP 0", ""]))
    return path
