"""From files and environment to one checked tree that knows where each value came from."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rhapsode.settings.document import DocumentReader
from rhapsode.settings.environment import (
    CONFIG,
    SECRETS_DIR,
    from_environment,
    from_secrets,
    without_file,
)
from rhapsode.settings.tree import APP, Settings
from rhapsode.settings.values import (
    DEFAULT,
    LEAVES,
    SECTIONS,
    Given,
    Key,
    Origin,
    Problem,
    SettingsError,
    dotted,
    read_secret,
    suggestion,
    why_unreadable,
)

FILE_NAMES = ("config.yml", "config.yaml")
_QUOTABLE = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, the file that was read (if any), and each value's origin by key."""

    settings: Settings
    file: Path | None
    origins: dict[Key, Origin]

    def origin(self, key: Key) -> Origin:
        """Where the value of a key came from."""
        return self.origins.get(key, DEFAULT)


def load(
    config: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings by command line, environment, secret files and file, in this order.

    `overrides` maps dotted keys to values (None: not given). SettingsError says everything
    that is wrong at once.
    """
    environ = os.environ if environ is None else environ
    return _Loader(environ).load(config, overrides or {})


def find_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: `config`, $RHAPSODE_CONFIG, the user's, the site's, or none."""
    if config:
        return config.expanduser()
    if environ.get(CONFIG):
        return Path(environ[CONFIG]).expanduser()
    return next((path for path in search_path() if path.is_file()), None)


def search_path() -> list[Path]:
    """Where a settings file is looked for when nobody names one, best first."""
    folders = [
        platformdirs.user_config_path(APP),
        *map(Path, platformdirs.site_config_dir(APP, multipath=True).split(os.pathsep)),
    ]
    return [folder / name for folder in folders for name in FILE_NAMES]


class _Loader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []
        self.places: dict[Key, Origin] = {}
        self.origins: dict[Key, Origin] = {}
        self.tree: dict[str, Any] = {}

    def load(self, config: Path | None, overrides: Mapping[str, Any]) -> Loaded:
        file = find_file(config, self.environ)
        for source in self._sources(file, overrides):
            self._take(source)
        settings = self._validated()
        if self.problems or settings is None:
            raise SettingsError(sorted(self.problems, key=_order))
        return Loaded(settings, file, self.origins)

    def _sources(
        self, file: Path | None, overrides: Mapping[str, Any]
    ) -> Iterator[list[Given]]:
        """The sources, the weakest first."""
        if file:
            reader = DocumentReader(file, self.environ)
            given = reader.read()
            self.problems += reader.problems
            self.places |= reader.places
            yield given
        secrets = self.environ.get(SECRETS_DIR)
        if secrets:
            yield list(from_secrets(Path(secrets).expanduser(), self.problems))
        yield list(from_environment(self.environ, self.problems))
        yield [
            Given(tuple(key.split(".")), value, Origin("command line"))
            for key, value in overrides.items()
            if value is not None
        ]

    def _take(self, source: list[Given]) -> None:
        taken: dict[Key, Origin] = {}
        for given in map(self._from_named_file, source):
            if given is None:
                continue
            if given.key in taken:
                self._problem(given, f"is already given at {taken[given.key].text}.")
                continue
            taken[given.key] = given.origin
            self._put(given)

    def _from_named_file(self, given: Given) -> Given | None:
        """For `password_file`, the `password` that stands in that file."""
        key = without_file(given.key)
        if given.key in LEAVES or key not in LEAVES:
            return given
        path = (given.origin.folder or Path()) / Path(str(given.value)).expanduser()
        try:
            origin = Origin(f"{given.origin.text} (file {path})", given.origin.folder)
            return Given(key, read_secret(path), origin)
        except (OSError, UnicodeError) as error:
            self._problem(given, f"the file {path} cannot be read: {why_unreadable(error)}.")
            return None

    def _put(self, given: Given) -> None:
        if given.key in SECTIONS:
            if given.value is not None:  # a section whose keys are all commented out is fine
                known = ", ".join(sorted(key[-1] for key in LEAVES if key[:-1] == given.key))
                self._problem(given, "should be a section of keys.", f"known here: {known}.")
            return
        branch = self.tree
        for name in given.key[:-1]:
            inner = branch.setdefault(name, {})
            branch[name] = inner if isinstance(inner, dict) else {}
            branch = branch[name]
        branch[given.key[-1]] = _located(given)
        if given.origin.folder is None:  # what the file said about items is overridden
            self.places = {k: at for k, at in self.places.items() if k[:-1] != given.key}
        self.origins[given.key] = given.origin

    def _problem(self, given: Given, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(given.origin.text, dotted(given.key), message, hint))

    def _validated(self) -> Settings | None:
        try:
            return Settings.model_validate(self.tree)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True)
            for key, group in groupby(details, key=_key_of):
                self.problems.append(self._explained(key, list(group)))
            return None

    def _explained(self, key: Key, details: list[ErrorDetails]) -> Problem:
        where = self._where(key)
        if details[0]["type"] == "extra_forbidden":
            return Problem(where, dotted(key), "is an unknown key.", suggestion(key))
        reasons = " or ".join(dict.fromkeys(map(_reason, details)))
        return Problem(where, dotted(key), f"{reasons}{_quoted(key, details[0])}.")

    def _where(self, key: Key) -> str:
        """Where a key stands; for rules about a section, where its values stand."""
        exact = self.places.get(key) if key not in LEAVES else None
        exact = exact or self.origins.get(key) or self.origins.get(key[:-1])
        if exact:
            return exact.text
        inside = [origin.text for known, origin in self.origins.items() if known[:-1] == key]
        return ", ".join(inside) or "settings"


def _key_of(detail: ErrorDetails) -> Key:
    """Where an error stands in the tree, without the branches of unions that were tried."""
    location = tuple(str(part) for part in detail["loc"])
    for length in range(len(location), 0, -1):
        if location[:length] in LEAVES:
            item = location[length : length + 1]
            return location[: length + 1] if item and item[0].isdigit() else location[:length]
    return location


def _reason(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return text.rstrip(".")


def _quoted(key: Key, detail: ErrorDetails) -> str:
    value = detail["input"]
    field = LEAVES.get(key) or LEAVES.get(key[:-1])
    if field is None or "Secret" in str(field.annotation) or not isinstance(value, _QUOTABLE):
        return ""
    return f"; it is {str(value)[:60]!r}"


def _located(given: Given) -> Any:
    """A file's relative paths count from the folder of the file."""
    value, folder = given.value, given.origin.folder
    if not (folder and value and isinstance(value, str) and _is_path(given.key, value)):
        return value
    return str(folder / Path(value).expanduser())


def _is_path(key: Key, value: str) -> bool:
    field = LEAVES.get(key)
    folder_or_url = key == ("storage", "url") and "://" not in value
    return folder_or_url or (field is not None and Path in _types(field.annotation))


def _types(annotation: Any) -> tuple[Any, ...]:
    inner = getattr(annotation, "__args__", ())
    return (annotation, *(kind for part in inner for kind in _types(part)))


def _order(problem: Problem) -> tuple[str, int]:
    path, _, line = problem.where.partition(" (")[0].rpartition(":")
    return (path, int(line)) if line.isdigit() else (problem.where, 0)
