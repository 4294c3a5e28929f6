"""Figures: what was measured, what it should be, and how both are shown."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One result; `at_least` and `at_most` are its targets, without both it only informs."""

    part: str
    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_least is not None and self.at_most is not None:
            return f"{self.at_least:g} … {self.at_most:g}"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def listed(values: Iterable[float], form: str = ".0f") -> str:
    """The single measurements, for who wants to see how they scatter."""
    return " ".join(format(value, form) for value in values)


def machine() -> str:
    """The machine in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({_cpu()}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def note(text: str) -> None:
    """Tell on standard error what goes on."""
    Console(stderr=True, highlight=False).print(escape(text), style="dim")


def show(figures: Sequence[Figure]) -> None:
    """The figures as a table on standard output."""
    table = Table(title=f"Rhapsode benchmarks · {machine()}", title_justify="left")
    for name in ("part", "figure"):
        table.add_column(name)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("detail", style="dim")
    for figure in figures:
        style = {True: "green", False: "red", None: ""}[figure.is_met]
        value = f"{_rounded(figure.value)} {figure.unit}".rstrip()
        table.add_row(
            figure.part,
            figure.name,
            f"[{style}]{value}[/]" if style else value,
            figure.target,
            escape(figure.detail),
        )
    console = Console()
    # A pipe has no width of its own: lines must not be cut there.
    Console(width=None if console.is_terminal else 160).print(table)


def _rounded(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def show_json(figures: Sequence[Figure]) -> None:
    """The figures as one JSON document on standard output."""
    items = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    print(json.dumps({"machine": machine(), "figures": items}, indent=2))
