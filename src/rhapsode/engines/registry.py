"""Finds engines by entry points, so that a separately installed package can add one.

Somebody else's engine is somebody else's code: its import can raise, hang, or end the whole
process. `survey` therefore looks at it in a process of its own, and so does `discover` where
it is told to be careful, as it is after such a death.
"""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from rhapsode.domain.errors import NotFound, Unavailable
from rhapsode.engines.base import Availability, Engine

GROUP = "rhapsode.engines"
PROBE_SECONDS = 60.0
"""How long another package's engine may take to be imported and probed."""

_OURS = "rhapsode."
_MARK = "rhapsode-probe:"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """An engine that is installed, whether or not it can work, and the package it is of."""

    name: str
    package: str
    available: bool
    detail: str
    install: str | None = None


def discover(*, careful: bool = False) -> dict[str, Engine]:
    """Every engine whose entry point loads, by name; a broken one is logged and left out.

    A careful look leaves out those, too, that end or hold up the process that looks.
    """
    points = [point for point in _points() if not careful or _survives(point)]
    found = {point.name: _loaded(point) for point in points}
    return {name: engine for name, engine in sorted(found.items()) if engine is not None}


def get(name: str) -> Engine:
    """The engine of that name; NotFound (`unknown_engine`) where none is installed.

    No other engine is imported for it.
    """
    points = {point.name: point for point in _points()}
    engine = _loaded(points[name]) if name in points else None
    if engine is None:
        raise unknown_engine(name, points)
    return engine


def ready(name: str) -> Engine:
    """The same, where it can work here; else Unavailable (`engine_unavailable`)."""
    engine = get(name)
    found = probed(engine)
    if not found.available:
        hint = f"`{found.install}` installs it." if found.install else None
        raise Unavailable(
            "engine_unavailable",
            f"The engine '{name}' cannot be used here: {found.detail}.",
            hint=hint,
        )
    return engine


def unknown_engine(name: str, known: Iterable[str]) -> NotFound:
    """There is no such engine here."""
    names = ", ".join(sorted(known)) or "none"
    return NotFound(
        "unknown_engine",
        f"There is no engine '{name}'. Installed: {names}.",
        hint="`rhapsode engines` says what each of them lacks.",
    )


def survey() -> list[Finding]:
    """What became of every engine that is installed, by name; harmless whatever they do."""
    return [
        _finding(point, _examined(point)) for point in sorted(_points(), key=lambda p: p.name)
    ]


def probed(engine: Engine) -> Availability:
    """What an engine says of itself; unavailable where its probe fails."""
    try:
        return engine.probe()
    except Exception as error:  # noqa: BLE001 (a plug-in's code: anything can come out)
        return Availability(available=False, detail=f"its probe failed: {_words(error)}")


def _points() -> list[EntryPoint]:
    return list(entry_points(group=GROUP))


def _finding(point: EntryPoint, found: Availability) -> Finding:
    package = point.dist.name if point.dist else point.value
    return Finding(point.name, package, found.available, found.detail, found.install)


def _examined(point: EntryPoint) -> Availability:
    return _looked_at(point) if point.value.startswith(_OURS) else _examined_apart(point)


def _survives(point: EntryPoint) -> bool:
    if point.value.startswith(_OURS):
        return True
    found = _examined_apart(point)
    if not found.available:
        log.warning("engine %s of %s is left out: %s", point.name, point.value, found.detail)
    return found.available


def _looked_at(point: EntryPoint) -> Availability:
    try:
        return probed(_checked(point.load(), point.name))
    except Exception as error:  # noqa: BLE001 (somebody else's code: anything can come out)
        return Availability(False, f"it cannot be imported: {_words(error)}", _remedy(error))


def _examined_apart(point: EntryPoint) -> Availability:
    """By another process, which may come to harm."""
    command = [sys.executable, "-m", __name__, point.name, point.value]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Availability(False, f"it gives no answer within {PROBE_SECONDS:g} s")
    except OSError as error:
        return Availability(False, f"it cannot be looked at: {_words(error)}")
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            return Availability(**json.loads(line.removeprefix(_MARK)))
    return Availability(False, f"its import ends the process: {_ending(done.returncode)}")


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _remedy(error: Exception) -> str | None:
    """The command that may bring a module that is missing."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return f"pip install {missing.partition('.')[0]}" if missing else None


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@cache
def _loaded(point: EntryPoint) -> Engine | None:
    try:
        return _checked(point.load(), point.name)
    except Exception as error:  # noqa: BLE001 (somebody else's code: anything can come out)
        log.warning("engine %s of %s cannot be used: %s", point.name, point.value, error)
        return None


def _checked(engine: Engine, name: str) -> Engine:
    if engine.name != name or not callable(engine.load) or not callable(engine.probe):
        raise TypeError(f"it is no engine named '{name}'")
    return engine


def _main() -> None:
    """Prints what `_looked_at` says of the entry point that the arguments name."""
    name, value = sys.argv[1:]
    found = _looked_at(EntryPoint(name, value, GROUP))
    print(f"\n{_MARK}{json.dumps(asdict(found))}", flush=True)


if __name__ == "__main__":
    _main()
