"""Signals: what woke up after a commit, told to whoever waits in this or another replica.

A signal is a hint, never the truth: whoever gets one reads the database again, and whoever
must not miss anything also looks now and then. So a lost signal costs time, not correctness.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Topic(StrEnum):
    """What a signal is about."""

    DELIVERY_DUE = "delivery_due"
    JOB_CHANGED = "job_changed"
    JOB_DELETED = "job_deleted"
    JOB_HEARD = "job_heard"
    JOB_QUEUED = "job_queued"
    JOB_STOPPED = "job_stopped"


@dataclass(frozen=True, slots=True)
class Signal:
    """`requirement` is set where a job became free to claim; ids are UUIDs as text.

    `job_id` is empty for a delivery that belongs to no job.
    """

    topic: Topic
    job_id: str
    user_id: str
    requirement: str | None = None


Listener = Callable[[Signal], None]


def encode(signals: Iterable[Signal]) -> str:
    """The text form in which signals travel between replicas."""
    return json.dumps([asdict(signal) for signal in signals], separators=(",", ":"))


def decode(payload: str) -> list[Signal]:
    """The signals of a text form."""
    return [Signal(**{**item, "topic": Topic(item["topic"])}) for item in json.loads(payload)]


class Signals:
    """The listeners of this process, and the way to those of the others, if any."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._relay: Callable[[list[Signal]], None] | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` on the event loop for each signal; returns how to stop it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def relay_through(self, relay: Callable[[list[Signal]], None] | None) -> None:
        """Also hand what is emitted here to `relay`, which carries it to other replicas."""
        self._relay = relay

    def emit(self, signals: list[Signal]) -> None:
        """Tell this process and, through the relay, the others."""
        self.deliver(signals)
        if self._relay and signals:
            self._relay(signals)

    def deliver(self, signals: Iterable[Signal]) -> None:
        """Tell this process only."""
        for signal in signals:
            for listener in tuple(self._listeners):
                listener(signal)
