"""Short pieces of real speech, each a file of its own with the text that it holds."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.recordings import read_wav, write_wav
from tests.support.speech import sample

MODEL = "tiny.en"
SPEC = {"model": MODEL, "language": "en", "word_times": False}

_PHRASES = (
    (3.2, 4.9, "ask not"),
    (5.2, 7.9, "what your country can do for you"),
    (8.0, 11.0, "ask what you can do for your country"),
)


@dataclass(frozen=True)
class Clip:
    """A recording and the words in it."""

    path: Path
    text: str


def clip(folder: Path, number: int) -> Clip:
    """One clip; every number makes a file with bytes of its own."""
    start, end, text = _PHRASES[number % len(_PHRASES)]
    speech, rate = read_wav(sample("jfk"))
    path = folder / f"clip-{number:03}.wav"
    write_wav(path, [speech[int(start * rate) : int(end * rate)]])
    return Clip(_numbered(path, number), text)


def _numbered(path: Path, number: int) -> Path:
    """Adds a chunk that players skip, so that no two files have the same digest."""
    content = bytearray(path.read_bytes())
    content += b"note" + (4).to_bytes(4, "little") + number.to_bytes(4, "little")
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    path.write_bytes(content)
    return path
