"""Finds engines by entry points, so that a separately installed package can add one."""

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from rhapsode.domain.errors import NotFound
from rhapsode.engines.base import Engine

GROUP = "rhapsode.engines"
log = logging.getLogger(__name__)


def discover() -> dict[str, Engine]:
    """Every engine whose entry point loads, by name; a broken one is logged and left out."""
    found = {point.name: _loaded(point) for point in entry_points(group=GROUP)}
    return {name: engine for name, engine in sorted(found.items()) if engine is not None}


def get(name: str) -> Engine:
    """The engine of that name; NotFound (`unknown_engine`) where none is installed."""
    engines = discover()
    if name not in engines:
        known = ", ".join(engines) or "none"
        raise NotFound("unknown_engine", f"There is no engine '{name}'. Installed: {known}.")
    return engines[name]


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
