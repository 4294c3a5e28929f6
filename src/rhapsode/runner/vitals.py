"""Whether a process that owes an answer still moves."""

import os
import time
from pathlib import Path

_BUSY_SHARE = 0.02
"""Of one core; a process below that computes nothing worth waiting for."""


class Vitals:
    """Watches one process: its messages, and the processor time that it uses.

    Where the system does not tell processor time (no /proc), only messages count.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._owes = False
        self._moved_at = time.monotonic()
        self._looked_at = self._moved_at
        self._used = cpu_seconds(pid)

    def expect(self) -> None:
        """From now on it owes an answer."""
        self._owes = True
        self.moved()

    def rest(self) -> None:
        """It owes nothing: standing still is in order."""
        self._owes = False

    def moved(self) -> None:
        """It gave a sign of life."""
        self._moved_at = time.monotonic()

    def is_still(self, seconds: float) -> bool:
        """Whether it owes an answer and has not moved for so long. Ask regularly."""
        now, used = time.monotonic(), cpu_seconds(self.pid)
        if used - self._used >= _BUSY_SHARE * (now - self._looked_at) > 0:
            self.moved()
        self._used, self._looked_at = used, now
        return self._owes and now - self._moved_at > seconds


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, all threads; 0 where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The command's name, in parentheses, may contain anything; count from behind it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
