"""Models in memory: the least recently used go first, when room or time runs out."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from rhapsode.engines.base import Transcriber
from rhapsode.runner.memory import allowed_bytes, resident_bytes

Key = tuple[str, str]
"""An engine's name and a model's."""

Changed = Callable[[tuple[str, ...]], None]
"""Told the names of the models in memory, `engine/model`, the last used last."""

log = structlog.get_logger()


@dataclass
class _Held:
    transcriber: Transcriber
    size: int
    used_at: float


class Shelf:
    """The loaded models of one process.

    `budget` is how many bytes they may take together, None for half of what the machine or
    the container has; one that is larger is loaded alone. A model that nobody used for
    `idle_seconds` goes, unless it is among `keep`; 0 lets all of them stay.
    """

    def __init__(
        self,
        budget: int | None,
        idle_seconds: float,
        keep: frozenset[Key],
        changed: Changed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = allowed_bytes() // 2 if budget is None else budget
        self._idle = idle_seconds
        self._keep = keep
        self._changed = changed
        self._clock = clock
        self._held: dict[Key, _Held] = {}

    def find(self, key: Key) -> Transcriber | None:
        """The model, where it is in memory; it counts as used now."""
        held = self._held.pop(key, None)
        if held is None:
            return None
        held.used_at = self._clock()
        moved = bool(self._held)
        self._held[key] = held
        if moved:
            self._tell()
        return held.transcriber

    def load(self, key: Key, weights: int, load: Callable[[], Transcriber]) -> Transcriber:
        """Loads a model whose files have so many bytes, after making room for it.

        Where that fails while others are held, they go, and it is tried once more.
        """
        self._make_room(weights)
        before = resident_bytes()
        try:
            transcriber = load()
        except Exception as error:
            if not self._held:
                raise
            log.warning("loading again, alone", model="/".join(key), error=str(error))
            self.clear()
            before = resident_bytes()
            transcriber = load()
        # The system sees neither what a graphics card holds nor what is mapped but unread.
        size = max(resident_bytes() - before, weights // 2)
        self._held[key] = _Held(transcriber, size, self._clock())
        self._make_room(0, spared=key)
        self._tell()
        return transcriber

    def tidy(self) -> None:
        """Closes models that were idle for too long."""
        if not self._idle:
            return
        since = self._clock() - self._idle
        for key in [key for key in self._idlers() if self._held[key].used_at <= since]:
            self._close(key, "idle")

    def next_due(self) -> float | None:
        """Seconds until a model will have been idle for too long; None where none will."""
        used = [self._held[key].used_at for key in self._idlers()]
        if not self._idle or not used:
            return None
        return max(0.0, min(used) + self._idle - self._clock())

    def clear(self) -> None:
        """Closes all."""
        for key in list(self._held):
            self._close(key, "room")

    def _idlers(self) -> list[Key]:
        return [key for key in self._held if key not in self._keep]

    def _make_room(self, needed: int, spared: Key | None = None) -> None:
        """Closes the least recently used ones until the rest and `needed` fit the budget."""
        for key in [key for key in self._held if key != spared]:
            if sum(held.size for held in self._held.values()) + needed <= self._budget:
                return
            self._close(key, "room")

    def _close(self, key: Key, reason: str) -> None:
        held = self._held.pop(key)
        log.info("model unloaded", model="/".join(key), reason=reason, bytes=held.size)
        try:
            held.transcriber.close()
        except Exception:
            log.exception("model could not be closed", model="/".join(key))
        self._tell()

    def _tell(self) -> None:
        self._changed(tuple("/".join(key) for key in self._held))
