"""Media: stored recordings, and the rules for their names."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from rhapsode.domain.users import UserId

MediaId = NewType("MediaId", UUID)

MAX_NAME_CHARACTERS = 200
FALLBACK_NAME = "recording"


class MediaState(StrEnum):
    """The row comes before its object and goes after it, so no object is ever unowned."""

    RECEIVING = "receiving"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class MediaProbe:
    """What a look inside the container found.

    `duration` is in seconds, None where the container does not say.
    """

    container: str
    codec: str
    channels: int
    sample_rate: int
    duration: float | None
    has_video: bool

    @property
    def media_type(self) -> str:
        """A MIME type by which a browser can play it."""
        family = "video" if self.has_video else "audio"
        return _MEDIA_TYPES.get((self.container, family), "application/octet-stream")


_MEDIA_TYPES = {
    ("wav", "audio"): "audio/wav",
    ("mp3", "audio"): "audio/mpeg",
    ("flac", "audio"): "audio/flac",
    ("ogg", "audio"): "audio/ogg",
    ("ogg", "video"): "video/ogg",
    ("aac", "audio"): "audio/aac",
    ("mp4", "audio"): "audio/mp4",
    ("mp4", "video"): "video/mp4",
    ("webm", "audio"): "audio/webm",
    ("webm", "video"): "video/webm",
    ("matroska", "audio"): "audio/x-matroska",
    ("matroska", "video"): "video/x-matroska",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One stored audio or video file. `digest` is its SHA-256 in hexadecimal."""

    id: MediaId
    user_id: UserId
    name: str
    state: MediaState
    size: int
    created_at: datetime
    digest: str | None = None
    probe: MediaProbe | None = None

    @property
    def key(self) -> str:
        """Where the object store keeps it; the file's own name plays no part in it."""
        return media_key(self.id)

    @property
    def duration(self) -> float | None:
        """Seconds, None where unknown."""
        return self.probe.duration if self.probe else None


def media_key(media_id: MediaId) -> str:
    """The object store's key of a media."""
    return f"media/{media_id}"


def clean_name(name: str | None) -> str:
    """A file name fit to show and to offer for download: no folders, no control characters."""
    text = unicodedata.normalize("NFC", name or "").replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(c for c in text if _is_printable(c))
    text = text.strip().strip(".").strip()
    return _shortened(text) or FALLBACK_NAME


def _is_printable(character: str) -> bool:
    """Neither control nor line break, nor what turns the direction of the text around."""
    if unicodedata.bidirectional(character) in _TURNING:
        return False
    return unicodedata.category(character) not in {"Cc", "Cs", "Co", "Zl", "Zp"}


_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 10:
        return name[:MAX_NAME_CHARACTERS]
    return stem[: MAX_NAME_CHARACTERS - len(ending) - 1] + "." + ending
