"""Runners that were let in a moment ago: for so long the database is not asked again.

A busy runner reports many times a second. A token that is revoked in another replica is
refused here after at most TRUSTED_SECONDS; in this one, at once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from rhapsode.domain.jobs import RunnerId
from rhapsode.domain.runners import Runner

TRUSTED_SECONDS = 5.0
MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Entry:
    runner: Runner
    secret_hash: str
    expires_at: float


class KnownRunners:
    """The runners that showed a valid secret lately, of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[RunnerId, _Entry] = OrderedDict()
        self.generation = 0

    def find(self, runner_id: RunnerId, secret_hash: str) -> Runner | None:
        """The runner, if this very secret was valid for it a moment ago."""
        entry = self._entries.get(runner_id)
        if entry is None or entry.secret_hash != secret_hash:
            return None
        return entry.runner if self._clock() < entry.expires_at else None

    def confirmed(self, runner: Runner, secret_hash: str, generation: int) -> None:
        """The database has just said that this is the runner's secret.

        `generation` is what it was before the database was asked: what was said before a
        token was revoked counts no more.
        """
        if generation != self.generation:
            return
        entry = _Entry(runner, secret_hash, self._clock() + TRUSTED_SECONDS)
        self._entries[runner.id] = entry
        self._entries.move_to_end(runner.id)
        while len(self._entries) > MOST:
            self._entries.popitem(last=False)

    def changed(self, runner: Runner) -> None:
        """What is known of a runner is not as it was; for how long it is trusted stays."""
        if (entry := self._entries.get(runner.id)) is not None:
            self._entries[runner.id] = replace(entry, runner=runner)

    def forget(self) -> None:
        """Ask again for everyone: a token was revoked."""
        self.generation += 1
        self._entries.clear()
