"""Which objects become jobs, and where their outputs go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rhapsode.domain.deliveries import META
from rhapsode.domain.errors import Invalid

DEFAULT_OUTPUTS = ("txt", "vtt", "json")
_PLACES = ("{key}", "{folder}", "{name}", "{stem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One recording in a bucket, and the keys of its outputs by name."""

    key: str
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The outputs that are wanted, and the patterns of those that get keys of their own."""

    names: Sequence[str] = ()
    patterns: Mapping[str, str]

    def outputs(self, key: str) -> dict[str, str]:
        """The keys of a recording's outputs: its own and a suffix, unless told otherwise."""
        names = dict.fromkeys([*self.names, *self.patterns]) or dict.fromkeys(DEFAULT_OUTPUTS)
        return {
            name: _filled(self.patterns[name], key)
            if name in self.patterns
            else f"{key}.{'meta.json' if name == META else name}"
            for name in names
        }


def _filled(pattern: str, key: str) -> str:
    folder, slash, name = key.rpartition("/")
    values = (key, folder + slash, name, name.rpartition(".")[0] or name)
    for place, value in zip(_PLACES, values, strict=True):
        pattern = pattern.replace(place, value)
    return pattern


def plan(keys: Iterable[str], naming: Naming, *, same_bucket: bool) -> list[Item]:
    """The items of these recordings; Invalid where one would overwrite something of another."""
    items = [Item(key=key, outputs=naming.outputs(key)) for key in dict.fromkeys(keys)]
    taken = {item.key: item.key for item in items} if same_bucket else {}
    for item in items:
        for output in item.outputs.values():
            if output in taken:
                raise Invalid(
                    "outputs_collide",
                    f"'{output}' would be written for '{item.key}' and is needed for "
                    f"'{taken[output]}', too.",
                    hint=f"Put one of {', '.join(_PLACES)} into the key of the output.",
                )
            taken[output] = item.key
    return items
