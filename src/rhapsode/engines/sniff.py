"""Looks at a file's first bytes, to say in words what was found when it is no recording."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#EXTM3U", "a playlist, which only names other files"),
    (b"ffconcat", "a playlist, which only names other files"),
    (b"RIFF", "a damaged RIFF file (WAV or AVI)"),
    (b"OggS", "a damaged Ogg file"),
    (b"fLaC", "a damaged FLAC file"),
    (b"\x1a\x45\xdf\xa3", "a damaged WebM or Matroska file"),
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The first bytes of a file, and its size."""

    head: bytes
    size: int

    @property
    def is_mp4(self) -> bool:
        """Whether it begins as MP4 files do."""
        return self.head[4:8] in (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip")

    @property
    def is_webm(self) -> bool:
        """Whether a Matroska file says that it keeps to WebM."""
        return b"webm" in self.head[:128]

    @property
    def promised_seconds(self) -> float | None:
        """The duration by a WAV header, which FFmpeg corrects by the size of the file."""
        return _wav_seconds(self.head)

    @property
    def kind(self) -> str:
        """What it looks like, in words for a person."""
        for magic, words in _KINDS:
            if self.head.startswith(magic):
                return words
        if not any(self.head):
            return "nothing but zeros"
        return _text_kind(self.head) or "data of no known kind"


def sniff(source: Path | str | BinaryIO, count: int) -> Sniffed:
    """Reads the first `count` bytes; a file object is left at its start."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return _sniffed(file, count)
    source.seek(0)
    sniffed = _sniffed(source, count)
    source.seek(0)
    return sniffed


def _sniffed(file: BinaryIO, count: int) -> Sniffed:
    head = file.read(count)
    return Sniffed(head, file.seek(0, os.SEEK_END))


def _text_kind(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < 4 else "ignore")
    except UnicodeDecodeError:
        return None
    odd = sum(1 for c in text if not c.isprintable() and c not in "\r\n\t\f")
    if odd or len(text.encode()) < len(head) - 3:
        return None
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return "a web page"
    return "text"


def _wav_seconds(head: bytes) -> float | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    rate, at = 0, 12
    while at + 8 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt ":
            rate = int.from_bytes(head[at + 16 : at + 20], "little")
        if name == b"data":
            # Programs that stream leave the size open: zero, or all ones.
            return size / rate if rate and 0 < size < 0xFFFFF000 else None
        at += 8 + size + size % 2
    return None
