"""Settings from a YAML file, each with its line; `!ENV` and `!FILE` are resolved here."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rhapsode.settings.values import (
    Given,
    Key,
    Origin,
    Problem,
    dotted,
    read_secret,
    why_unreadable,
)

_VARIABLE = re.compile(r"\$\{(?P<name>[^}{:]+)(?::(?P<default>[^}]*))?\}")
_TYPE_HINT = re.compile(r"^tag:yaml\.org,2002:\w+\s+")  # pyaml-env's; the tree knows the types
_DEEPEST = 16


class DocumentReader:
    """Reads one file; what is wrong with it collects in `problems`."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.environ = environ
        self.problems: list[Problem] = []
        self.places: dict[Key, Origin] = {}

    def read(self) -> list[Given]:
        """Every value of the file; nothing where it cannot be read at all."""
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as error:
            self._problem(None, (), f"cannot be read: {why_unreadable(error)}.")
            return []
        loader = yaml.SafeLoader(text)
        try:
            return self._document(loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else None
            self._problem(line, (), f"is not YAML: {error.problem}.")
        except yaml.YAMLError as error:
            self._problem(None, (), f"is not YAML: {str(error).splitlines()[0]}.")
        finally:
            loader.dispose()
        return []

    def _document(self, loader: yaml.SafeLoader) -> list[Given]:
        root = loader.get_single_node()
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
            return []
        if not isinstance(root, yaml.MappingNode):
            self._problem(_line(root), (), "should be keys and values, as in `server:`.")
            return []
        return list(self._mapping(loader, root, ()))

    def _mapping(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, above: Key
    ) -> Iterator[Given]:
        if len(above) > _DEEPEST:
            self._problem(_line(node), above, "is nested too deeply.")
            return
        own = {id(value) for _, value in node.value}
        loader.flatten_mapping(node)
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = (*above, str(key_node.value))
            merged = id(value_node) not in own
            if key[-1] in seen and not merged and seen[key[-1]] != -1:
                self._problem(_line(key_node), key, f"is already on line {seen[key[-1]]}.")
                continue
            seen[key[-1]] = -1 if merged else _line(key_node)
            self.places[key] = self._origin(_line(key_node))
            yield from self._value(loader, value_node, key)

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, key: Key) -> Iterator[Given]:
        if isinstance(node, yaml.MappingNode):
            yield from self._mapping(loader, node, key)
            return
        known = len(self.problems)
        value, note = self._plain(loader, node, key)
        if len(self.problems) == known:
            yield Given(key, value, self._origin(_line(node), note))

    def _plain(self, loader: yaml.SafeLoader, node: yaml.Node, key: Key) -> tuple[Any, str]:
        if isinstance(node, yaml.SequenceNode) and len(key) <= _DEEPEST:
            return [self._item(loader, item, key, i) for i, item in enumerate(node.value)], ""
        if node.tag == "!ENV":
            return self._interpolated(node, key), f" ({node.value.strip()})"
        if node.tag == "!FILE":
            return self._from_file(node, key), f" (file {node.value.strip()})"
        if node.tag.startswith("!"):
            self._problem(_line(node), key, f"{node.tag} is unknown; !ENV and !FILE are known.")
            return None, ""
        return loader.construct_object(node, deep=True), ""

    def _item(self, loader: yaml.SafeLoader, node: yaml.Node, key: Key, index: int) -> Any:
        place = (*key, str(index))
        self.places[place] = self._origin(_line(node))
        if isinstance(node, yaml.MappingNode):
            return loader.construct_object(node, deep=True)
        return self._plain(loader, node, place)[0]

    def _interpolated(self, node: yaml.Node, key: Key) -> str:
        def value(match: re.Match[str]) -> str:
            name, default = match["name"].strip(), match["default"]
            if name not in self.environ and default is None:
                self._problem(
                    _line(node),
                    key,
                    f"the environment variable {name} is not defined.",
                    f"define it, or give a default: ${{{name}:…}}",
                )
            return self.environ.get(name, default or "")

        return _VARIABLE.sub(value, _TYPE_HINT.sub("", str(node.value).strip()))

    def _from_file(self, node: yaml.Node, key: Key) -> str | None:
        path = self.path.parent / Path(str(node.value).strip()).expanduser()
        try:
            return read_secret(path)
        except (OSError, UnicodeError) as error:
            reason = why_unreadable(error)
            self._problem(_line(node), key, f"the file {path} cannot be read: {reason}.")
            return None

    def _origin(self, line: int, note: str = "") -> Origin:
        return Origin(f"{self.path}:{line}{note}", self.path.parent)

    def _problem(
        self, line: int | None, key: Key, message: str, hint: str | None = None
    ) -> None:
        where = f"{self.path}:{line}" if line else str(self.path)
        self.problems.append(Problem(where, dotted(key), message, hint))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
