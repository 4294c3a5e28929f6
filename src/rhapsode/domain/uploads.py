"""Uploads: recordings that arrive in pieces, and may break off and go on in between."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from rhapsode.domain.errors import Conflict, Invalid
from rhapsode.domain.media import MediaId, clean_name
from rhapsode.domain.users import UserId

UploadId = NewType("UploadId", UUID)

PART_BYTES = 8 * 1024 * 1024
"""How much of what arrives is held in memory, and lost where the server is killed."""

MOST_METADATA_CHARACTERS = 4096
CHECKSUM_ALGORITHMS = ("sha1", "sha256", "md5")

Metadata = dict[str, str]
"""Key → value in Base64, as the client sent them: a value may be any bytes."""


class UploadState(StrEnum):
    """Receiving → assembling → finished or failed; deleting is where all of them end."""

    RECEIVING = "receiving"
    ASSEMBLING = "assembling"
    FINISHED = "finished"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class UploadError:
    """Why no recording came of an upload."""

    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A recording on its way in. `size` is None until the client says it.

    All bytes before `received` are stored. `media_id` is what came of it, while that exists.
    """

    id: UploadId
    user_id: UserId
    name: str
    metadata: Metadata
    size: int | None
    received: int
    state: UploadState
    created_at: datetime
    expires_at: datetime
    media_id: MediaId | None = None
    error: UploadError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every byte has arrived."""
        return self.received == self.size


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of an upload, stored as one object: from where, how many, their SHA-256."""

    upload_id: UploadId
    start: int
    size: int
    object_id: UUID
    digest: str

    @property
    def key(self) -> str:
        """Where the object store keeps it."""
        return f"{parts_prefix(self.upload_id)}/{self.start:015}-{self.object_id}"


PREFIX = "uploads"


def parts_prefix(upload_id: UploadId) -> str:
    """What the keys of all parts of an upload begin with."""
    return f"{PREFIX}/{upload_id}"


class OffsetConflict(Conflict):
    """The piece does not begin where what is stored ends."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            "upload_offset",
            f"The upload goes on at byte {offset}.",
            hint="Ask where it goes on (HEAD), and send from there.",
        )
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a piece's digest has to be."""

    algorithm: str
    digest: bytes


def parsed_checksum(text: str) -> Checksum:
    """The value of Upload-Checksum; Invalid where it is not understood."""
    algorithm, _, value = text.strip().partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise Invalid(
            "upload_checksum_algorithm",
            f"'{algorithm[:40]}' is not a checksum that this server computes.",
            hint=f"It knows {', '.join(CHECKSUM_ALGORITHMS)}.",
        )
    return Checksum(algorithm, _from_base64(value.strip(), "Upload-Checksum"))


def parsed_metadata(text: str) -> Metadata:
    """The value of Upload-Metadata: `key base64, key base64, …`; Invalid where it is none."""
    if len(text) > MOST_METADATA_CHARACTERS:
        raise _malformed(
            f"Upload-Metadata is longer than {MOST_METADATA_CHARACTERS} characters"
        )
    found: Metadata = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        key, _, value = item.partition(" ")
        if key in found or not _is_key(key):
            raise _malformed(f"'{key[:40]}' is no key of Upload-Metadata, or comes twice")
        _from_base64(value.strip(), "Upload-Metadata")
        found[key] = value.strip()
    return found


def written_metadata(metadata: Metadata) -> str:
    """The same as a header's value."""
    return ",".join(f"{key} {value}".strip() for key, value in metadata.items())


def name_in(metadata: Metadata) -> str:
    """The recording's name: what clients send as `filename` or `name`."""
    value = metadata.get("filename") or metadata.get("name") or ""
    return clean_name(base64.b64decode(value).decode("utf-8", "replace"))


def _is_key(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _from_base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"A value in {header} is no Base64") from error


def _malformed(what: str) -> Invalid:
    return Invalid("upload_header", f"{what}.")
