"""Temporary folders that do not outlive their process for long."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_LOCK = "lock"
_PREFIX = "runner-"
_FRESH = "new-"
_FRESH_SECONDS = 3600.0


class Scratch:
    """One process's folder below `root`; a context manager that removes it at the end.

    The process holds a lock on a file in it. Whoever starts later removes the folders whose
    lock nobody holds: a killed process's. A lock says that even across containers, where
    every runner may well be process 1.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root = root

    def __enter__(self) -> Self:
        remove_stale(self.root)
        # It gets the name that others look for only once it is locked.
        fresh = Path(tempfile.mkdtemp(prefix=_FRESH, dir=self.root))
        self._lock = (fresh / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = fresh.rename(self.root / fresh.name.replace(_FRESH, _PREFIX, 1))
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    @contextmanager
    def job_folder(self, run: str) -> Iterator[Path]:
        """A folder for one run, gone afterwards with all that is in it."""
        folder = self.folder / run.replace("/", "-")
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_stale(root: Path) -> None:
    """Remove the folders of processes that are gone."""
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    for folder in root.glob(f"{_FRESH}*"):  # killed between making and renaming it
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _FRESH_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """How much an ordinary user may still write there."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize
