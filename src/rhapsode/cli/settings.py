"""`rhapsode settings schema` and `rhapsode settings check`."""

from typing import TYPE_CHECKING, Any

import typer

from rhapsode.cli.group import Group
from rhapsode.cli.options import Config, Json
from rhapsode.cli.output import emit_json, emit_table, note

if TYPE_CHECKING:
    from rhapsode.settings import Loaded

app = typer.Typer(cls=Group, help="Look at the settings.", no_args_is_help=True)


@app.command()
def schema() -> None:
    """Print the JSON schema of the settings file."""
    from rhapsode.settings import Settings

    emit_json(Settings.model_json_schema())


@app.command()
def check(*, config: Config = None, json: Json = False) -> None:
    """Check the settings; print every value and where it came from, secrets masked."""
    from rhapsode.settings import load

    rows = _rows(load(config))
    if json:
        emit_json(rows)
        return
    emit_table(
        ("key", "value", "from"),
        [(row["key"], _shown(row["value"]), row["from"]) for row in rows],
    )
    note("The settings are fine.")


def _rows(loaded: "Loaded") -> list[dict[str, Any]]:
    from rhapsode.settings import LEAVES

    tree = loaded.settings.model_dump(mode="json")
    return [
        {"key": ".".join(key), "value": _at(tree, key), "from": loaded.origin(key).text}
        for key in LEAVES
    ]


def _at(tree: Any, key: tuple[str, ...]) -> Any:
    for name in key:
        tree = tree[name]
    return tree


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
