"""What sources of settings give, where each value came from, and what can be wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from rhapsode.settings.tree import Section, Settings

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `text` for people, `folder` to which its paths are relative."""

    text: str
    folder: Path | None = None


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Given:
    """One value of one source."""

    key: Key
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, which key, what, and what to do about it."""

    where: str
    key: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        named = f"{self.key}: " if self.key else ""
        hint = f" hint: {self.hint}" if self.hint else ""
        return f"{self.where}: {named}{self.message}{hint}"


class SettingsError(Exception):
    """The settings cannot be used; `problems` has every reason, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def dotted(key: Key) -> str:
    """A key as people write it: `server.port`."""
    return ".".join(key)


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, None for a single value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def leaves(
    section: type[Section] = Settings, above: Key = ()
) -> Iterator[tuple[Key, FieldInfo]]:
    """Every setting that holds a value, in the order of the tree."""
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner:
            yield from leaves(inner, (*above, name))
        else:
            yield (*above, name), field


LEAVES: dict[Key, FieldInfo] = dict(leaves())
SECTIONS: frozenset[Key] = frozenset(key[:-1] for key in LEAVES)


def suggestion(key: Key) -> str | None:
    """What an unknown key was perhaps meant to be."""
    siblings = {known[: len(key)] for known in LEAVES if known[: len(key) - 1] == key[:-1]}
    near = get_close_matches(key[-1], [known[-1] for known in siblings], n=1)
    if near:
        return f"did you mean {dotted((*key[:-1], near[0]))}?"
    same_name = [dotted(known) for known in LEAVES if known[-1] == key[-1]]
    near = same_name or get_close_matches(dotted(key), map(dotted, LEAVES), n=1)
    if near:
        return f"did you mean {' or '.join(near)}?"
    if siblings:
        return f"known here: {', '.join(sorted(known[-1] for known in siblings))}."
    return None


def read_secret(path: Path) -> str:
    """A secret file's text without the line end that editors leave; OSError, UnicodeError."""
    return path.read_text(encoding="utf-8").rstrip("\r\n")


def why_unreadable(error: OSError | UnicodeError) -> str:
    """The reason in words, without the path."""
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text"
    return error.strerror or str(error)
