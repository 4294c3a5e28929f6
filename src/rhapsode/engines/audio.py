"""Opens media files of any kind, looks inside, and decodes their sound as a stream.

One down-mix path for the whole product: FFmpeg's resampler to 16-bit mono, then float. In
16 bit it scales the channels so that their sum cannot overflow; its float path would be
3 dB louder for stereo and could exceed full scale. Whisper's own decoding does the same.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition

from rhapsode.domain.errors import Invalid
from rhapsode.domain.media import MediaProbe
from rhapsode.engines.base import SAMPLE_RATE, Samples
from rhapsode.engines.sniff import Sniffed, sniff

Source = Path | str | BinaryIO
"""A path, or a seekable binary file object."""

BLOCK_SECONDS = 10.0
"""Length of the blocks that `Decoder` yields (the last one is shorter)."""

WALK_SECONDS = 10.0
"""How long `probe` may walk a file's packets to find a duration that its header lacks."""

_HEAD_BYTES = 4096
_WALK_PACKETS = 256
_GAP_SECONDS = 0.1
_MAX_GAP_SECONDS = 3600.0
_WORTH_TELLING_SECONDS = 0.5  # codecs that send nothing in pauses leave shorter gaps

_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,eac3,flac,flv,gsm,loas,matroska,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,rm,shn,spdif,tak,tta,voc,w64,wav,wv,xwma"
)
"""Containers that hold their own data. Playlists (HLS, DASH, concat, …) are left out: they
make FFmpeg open whatever other files or addresses they name."""

_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}

_CONTAINER_NAMES = {"mov": "mp4"}


def probe(source: Source) -> MediaProbe:
    """What is inside; raises Invalid (`media_empty`, `media_unreadable`, `media_truncated`,
    `media_without_audio`).

    A duration that the header lacks is found by walking the packets, for at most
    WALK_SECONDS; what is then left is estimated by its bytes.
    """
    with _opened(source) as (container, sniffed):
        stream = _audio_stream(container)
        context = stream.codec_context
        return MediaProbe(
            container=_container_name(container, sniffed),
            codec=context.name,
            channels=context.channels,
            sample_rate=context.sample_rate,
            duration=_promised(container, stream) or _walked(container, stream, sniffed.size),
            has_video=_has_video(container),
        )


def decode(source: Source) -> Iterator[Samples]:
    """The sound as blocks of BLOCK_SECONDS; raises what `probe` raises."""
    return Decoder(source).blocks()


@dataclass
class Decoder:
    """One decoding of one source, that can tell afterwards what was odd about it.

    `seconds` counts what was decoded, `promised` is the header's duration (None where it has
    none), `broken_packets` counts those that could not be decoded, `missing` the seconds for
    which nothing was stored.
    """

    source: Source
    seconds: float = 0.0
    promised: float | None = None
    broken_packets: int = 0
    missing: float = 0.0
    ended_by_error: bool = field(default=False, init=False)

    def blocks(self) -> Iterator[Samples]:
        """The sound as blocks of BLOCK_SECONDS, decoded as they are asked for."""
        size = int(BLOCK_SECONDS * SAMPLE_RATE)
        held: list[Samples] = []
        count = 0
        for piece in self._pieces():
            held.append(piece)
            count += len(piece)
            if count >= size:
                joined = np.concatenate(held)
                for start in range(0, count - size + 1, size):
                    yield self._counted(joined[start : start + size])
                held = [joined[count - count % size :].copy()]
                count %= size
        if count:
            yield self._counted(np.concatenate(held))

    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the recording, once it is decoded."""
        found = []
        if self.promised and self.seconds < self.promised - max(1.0, 0.01 * self.promised):
            found.append(
                f"The recording ends after {self.seconds:.0f} s although its header promises "
                f"{self.promised:.0f} s: it may have been cut off."
            )
        if self.broken_packets or self.ended_by_error:
            found.append("Parts of the recording are damaged and were left out.")
        if self.missing:
            found.append(
                f"For {self.missing:.1f} s the recording holds no sound, or damaged sound; "
                "they count as silence."
            )
        return tuple(found)

    def _counted(self, block: Samples) -> Samples:
        self.seconds += len(block) / SAMPLE_RATE
        return block

    def _pieces(self) -> Iterator[Samples]:
        with _opened(self.source) as (container, sniffed):
            stream = _audio_stream(container)
            self.promised = _promised(container, stream, sniffed.promised_seconds)
            timeline = _Timeline(_start(container), self.promised)
            resampler = _Resampler()
            for frame in self._frames(container, stream):
                if gap := timeline.gap_before(frame):
                    self.missing += gap if gap >= _WORTH_TELLING_SECONDS else 0.0
                    yield np.zeros(int(gap * SAMPLE_RATE), np.float32)
                yield from resampler.converted(frame)
            yield from resampler.flushed()

    def _frames(self, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        for packet in self._packets(container, stream):
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError):
                self.broken_packets += 1

    def _packets(
        self, container: InputContainer, stream: AudioStream
    ) -> "Iterator[Packet[AudioStream]]":
        try:
            yield from container.demux(stream)
        except av.error.FFmpegError:  # damage in the middle: keep what came before it
            self.ended_by_error = True


class _Resampler:
    """FFmpeg's resampler to 16 kHz mono, set up anew where the stream changes its shape."""

    def __init__(self) -> None:
        self._inner: AudioResampler | None = None
        self._shape: object = None

    def converted(self, frame: AudioFrame) -> Iterator[Samples]:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._inner is None or shape != self._shape:
            yield from self.flushed()
            self._inner = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            self._shape = shape
        frame.pts = None
        yield from _resampled(self._inner, frame)

    def flushed(self) -> Iterator[Samples]:
        if self._inner is not None:
            yield from _resampled(self._inner, None)
            self._inner = None


def _resampled(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[Samples]:
    for piece in resampler.resample(frame):
        yield piece.to_ndarray().reshape(-1).astype(np.float32) / 32768.0


class _Timeline:
    """Keeps decoded time in step with the file's clock: where sound is missing, silence."""

    def __init__(self, start: float, promised: float | None) -> None:
        self._at = start
        self._end = start + promised + 1.0 if promised else None

    def gap_before(self, frame: AudioFrame) -> float:
        """Seconds of silence to put before this frame; a clock that makes no sense has none."""
        at = frame.time
        length = frame.samples / frame.sample_rate
        gap = max(0.0, at - self._at) if at is not None else 0.0
        sensible = gap <= _MAX_GAP_SECONDS and (
            self._end is None or self._at + gap + length <= self._end
        )
        if gap < _GAP_SECONDS or not sensible:
            gap = 0.0
        self._at += gap + length
        return gap


@contextmanager
def _opened(source: Source) -> Iterator[tuple[InputContainer, Sniffed]]:
    sniffed = sniff(source, _HEAD_BYTES)
    if sniffed.size == 0:
        raise Invalid("media_empty", "The file is empty.", hint="Was the upload complete?")
    try:
        container = av.open(
            _location(source), "r", container_options=_OPTIONS, metadata_errors="ignore"
        )
    except av.error.FFmpegError as error:
        raise _unreadable(sniffed) from error
    try:
        yield container, sniffed
    finally:
        container.close()


def _location(source: Source) -> str | BinaryIO:
    if isinstance(source, str | Path):
        # With its protocol spelled out, a name such as "concat:…" stays a file's name.
        return "file:" + os.path.abspath(source)  # noqa: PTH100 (resolves no links)
    source.seek(0)
    return source


def _unreadable(sniffed: Sniffed) -> Invalid:
    if sniffed.is_mp4:
        return Invalid(
            "media_truncated",
            "The recording is cut off: it is an MP4 file without its index (moov).",
            hint="Copy or upload it again; MP4 recorders write the index last.",
        )
    return Invalid(
        "media_unreadable",
        f"The file is no recording that can be read: it looks like {sniffed.kind}.",
        hint="Audio and video files of every usual kind can be read.",
    )


def _audio_stream(container: InputContainer) -> AudioStream:
    stream = container.streams.best("audio")
    if stream is None and container.streams.audio:
        raise Invalid("media_unreadable", "The sound is in a format that cannot be decoded.")
    if stream is None:
        raise Invalid("media_without_audio", "The file has no sound.")
    if not isinstance(stream, AudioStream) or not stream.codec_context.sample_rate:
        raise Invalid("media_unreadable", "The sound's format cannot be made out.")
    return stream


def _has_video(container: InputContainer) -> bool:
    return any(
        not stream.disposition & Disposition.attached_pic for stream in container.streams.video
    )


def _container_name(container: InputContainer, sniffed: Sniffed) -> str:
    if "matroska" in container.format.name:
        return "webm" if sniffed.is_webm else "matroska"
    first = container.format.name.split(",")[0]
    return _CONTAINER_NAMES.get(first, first)


def _start(container: InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _promised(
    container: InputContainer, stream: AudioStream, header: float | None = None
) -> float | None:
    """The duration that the header states, in seconds."""
    if header:
        return header
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None


def _walked(container: InputContainer, stream: AudioStream, size: int) -> float | None:
    deadline = time.monotonic() + WALK_SECONDS
    end, position = 0.0, 0
    try:
        for count, packet in enumerate(container.demux(stream), start=1):
            if packet.pts is not None and packet.time_base:
                length = packet.duration or 0
                end = max(end, float((packet.pts + length) * packet.time_base))
                position = max(position, packet.pos or 0)
            if count % _WALK_PACKETS == 0 and time.monotonic() > deadline:
                return end * size / position if position else None
    except av.error.FFmpegError:  # a damaged tail ends the walk, not the probe
        pass
    return max(0.0, end - _start(container)) or None
