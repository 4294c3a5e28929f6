"""Calls of libraries that cannot be interrupted, made so that a cancel need not wait.

Each call runs in a thread of its own and hands its segments over through a queue. A cancel
ends the waiting at once and asks the thread to stop, which it does when its library lets it;
a lock keeps the next call from overlapping it.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rhapsode.domain.transcripts import Segment
from rhapsode.engines.base import Canceled, Canceling
from rhapsode.engines.failures import translated

_POLL_SECONDS = 0.1

Emit = Callable[[Segment], None]
Work = Callable[[Emit, threading.Event], None]
"""The library's work: hands each segment out, and ends soon once the event is set."""


class Calls:
    """The calls of one loaded model, one at a time."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._busy = threading.Lock()

    def segments(self, work: Work, canceled: Canceling) -> Iterator[Segment]:
        """What `work` hands out; Canceled soon after `canceled` says so.

        What the library raises comes out as Unavailable (`engine_failed`).
        """
        self._acquire(canceled)
        call = _Call(self._engine, self._busy)
        threading.Thread(target=call.run, args=(work,), name=self._engine, daemon=True).start()
        try:
            yield from call.segments(canceled)
        finally:
            call.stop.set()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Waits for a call that may still be running, and keeps others out."""
        with self._busy:
            yield

    def _acquire(self, canceled: Canceling) -> None:
        while not self._busy.acquire(timeout=_POLL_SECONDS):
            if canceled():
                raise Canceled


class _Call:
    """One run of the library in its thread, and the queue that its segments come through."""

    def __init__(self, engine: str, busy: threading.Lock) -> None:
        self.stop = threading.Event()
        self._engine = engine
        self._busy = busy
        self._out: queue.SimpleQueue[Segment | Exception | None] = queue.SimpleQueue()

    def run(self, work: Work) -> None:
        """The thread's body; it owns the lock until it ends, however late."""
        try:
            work(self._out.put, self.stop)
            self._out.put(None)
        except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            self._out.put(error)
        finally:
            self._busy.release()

    def segments(self, canceled: Canceling) -> Iterator[Segment]:
        """What comes out, until the end, an error or a cancel."""
        while True:
            if canceled():
                raise Canceled
            try:
                item = self._out.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise translated(self._engine, item)
            yield item
