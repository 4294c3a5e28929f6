"""Whisper models in ggml's format: their header, and whether the file is whole.

The library answers a broken file with a null pointer that its Python binding cannot tell
from a model, and the first use of it kills the process. So the file is walked through here,
from tensor to tensor without reading their data, before the library sees it.

The format (little endian): a magic number, eleven 32-bit counts, the mel filters, the
tokens, and then each tensor as number of dimensions, length of name, type, dimensions,
name, data.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"lmgg"
ENGLISH_VOCABULARY = 51_864
"""Tokens of the English models; the multilingual ones have one more, and one a language."""

_CANTONESE_VOCABULARY = 51_866
_COUNTS = struct.Struct("<11i")
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
}
"""Values in a block and bytes that it takes, by ggml's number of the type."""

_MOST_NAME = 256
_MOST_TOKEN = 1 << 16


class Broken(Exception):
    """The file is no whole model; the message says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a model file says of itself."""

    vocabulary: int
    audio_layers: int
    text_layers: int

    @property
    def multilingual(self) -> bool:
        """Whether it knows more than English."""
        return self.vocabulary > ENGLISH_VOCABULARY

    @property
    def cantonese(self) -> bool:
        """Whether it knows Cantonese too."""
        return self.vocabulary >= _CANTONESE_VOCABULARY

    @property
    def tensors(self) -> int:
        """How many tensors such a model has."""
        return 11 + 15 * self.audio_layers + 24 * self.text_layers


def check(path: Path) -> Header:
    """The header of a whole model; Broken where the file is something else or damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise Broken(f"{path.name} is no ggml model")
        header, filters = _header(path, file)
        _skip(path, file, filters * 4, size)
        for _ in range(_count(path, file)):
            _skip(path, file, _bounded(path, _count(path, file), _MOST_TOKEN), size)
        found = 0
        while file.tell() < size:
            _skip(path, file, _tensor_bytes(path, file), size)
            found += 1
    if found != header.tensors:
        raise Broken(f"{path.name} is cut short: {found} of {header.tensors} tensors are there")
    return header


def _header(path: Path, file: BinaryIO) -> tuple[Header, int]:
    """The header, and the number of values in the mel filters, which follow it."""
    counts = _COUNTS.unpack(_exactly(path, file, _COUNTS.size))
    header = Header(vocabulary=counts[0], audio_layers=counts[4], text_layers=counts[8])
    rows, columns = struct.unpack("<2i", _exactly(path, file, 8))
    return header, _bounded(path, rows, 4096) * _bounded(path, columns, 65536)


def _tensor_bytes(path: Path, file: BinaryIO) -> int:
    """Reads a tensor's description; how many bytes of data follow."""
    dimensions, length, kind = struct.unpack("<3i", _exactly(path, file, 12))
    if kind not in _BLOCKS or not 1 <= dimensions <= 4:
        raise Broken(f"{path.name} is damaged near byte {file.tell()}")
    values = 1
    for _ in range(dimensions):
        values *= _bounded(path, _count(path, file), 1 << 24)
    _exactly(path, file, _bounded(path, length, _MOST_NAME))
    block, size = _BLOCKS[kind]
    return values // block * size


def _count(path: Path, file: BinaryIO) -> int:
    return int(struct.unpack("<i", _exactly(path, file, 4))[0])


def _bounded(path: Path, value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise Broken(f"{path.name} is damaged: {value} cannot be a length")
    return value


def _exactly(path: Path, file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise Broken(f"{path.name} is cut short at byte {file.tell()}")
    return data


def _skip(path: Path, file: BinaryIO, count: int, size: int) -> None:
    if file.seek(count, os.SEEK_CUR) > size:
        raise Broken(f"{path.name} is cut short: it ends at byte {size}")
