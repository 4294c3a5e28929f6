"""Data goes to standard output; progress and errors go to standard error."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from uuid import UUID

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 240  # columns where nobody watches, so that a pipe gets whole values


def console(*, stderr: bool = False) -> "Console":
    """A Rich console for one of the two streams as they are now."""
    from rich.console import Console

    stream: TextIO = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def emit_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n")


def emit_json_line(value: Any) -> None:
    """One line of a stream of JSON documents, written at once."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def emit_text(text: str) -> None:
    """Text as it is, with a line end at its end."""
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people; the first column is never shortened."""
    console().print(table(columns, rows))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """A Rich table without lines around its cells."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        made.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made


def note(text: str) -> None:
    """A remark on standard error."""
    console(stderr=True).print(text, soft_wrap=True)


def error_line(message: str, hint: str | None = None) -> None:
    """`error: … hint: …`, on one line of standard error."""
    from rich.text import Text

    line = Text("error: ", style="bold red").append(_one_line(message), style="default")
    if hint:
        line.append(" hint: ", style="bold cyan").append(_one_line(hint), style="default")
    console(stderr=True).print(line, soft_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def local(moment: datetime | None) -> str:
    """A time as people read it, in their own zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def clock(seconds: float | None) -> str:
    """A duration as `1:02:03`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, UUID | Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
