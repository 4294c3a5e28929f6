"""Notes on uploads that are under way, so that a program that was ended can go on with them."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from uuid import UUID

_OLD_SECONDS = 7 * 86400.0


def fingerprint(server: str, path: Path, found: os.stat_result) -> str:
    """What stands for these bytes on their way to this server."""
    parts = (server, str(path.resolve()), str(found.st_size), str(found.st_mtime_ns))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


class Notes:
    """Which upload takes which file, one small file each in a folder of the user's.

    They are a convenience: what cannot be written or read is as if it had not been noted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, key: str) -> UUID | None:
        """The upload of a file, None where there is none known."""
        try:
            return UUID(json.loads(self._path(key).read_text(encoding="utf-8"))["upload"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note(self, key: str, upload_id: UUID, file: Path) -> None:
        """Remember the upload of a file."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._forget_old()
            draft = self._path(f"{key}.{os.getpid()}")
            document = {"upload": str(upload_id), "file": str(file)}
            draft.write_text(json.dumps(document), encoding="utf-8")
            draft.replace(self._path(key))

    def forget(self, key: str) -> None:
        """The upload is of no more use."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _forget_old(self) -> None:
        since = time.time() - _OLD_SECONDS
        for path in self._folder.glob("*.json"):
            if path.stat().st_mtime < since:
                path.unlink()
