"""What goes on beside the pipeline: decoding a block ahead, listening for a language."""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from rhapsode.engines.audio import Decoder
from rhapsode.engines.base import Canceled, Canceling
from rhapsode.engines.blocks import (
    EARLIEST_CUT_SECONDS,
    MAX_BLOCK_SECONDS,
    Block,
    BlockBuilder,
    SpeechCutter,
)

_EARLIEST_SHARE = EARLIEST_CUT_SECONDS / MAX_BLOCK_SECONDS
_POLL_SECONDS = 0.2

Result = TypeVar("Result")


def awaited(work: Callable[[], Result], canceled: Canceling) -> Result:
    """What `work` returns; on a cancel it is left to end by itself, in its own thread."""
    outcome: Future[Result] = Future()

    def body() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            outcome.set_exception(error)

    threading.Thread(target=body, name="listening", daemon=True).start()
    while not canceled():
        try:
            return outcome.result(timeout=_POLL_SECONDS)
        except TimeoutError:
            if outcome.done():
                raise
    raise Canceled


class SpeechAhead:
    """Decodes a recording in a thread and hands out its blocks, at most one ahead."""

    def __init__(self, path: Path, block_seconds: float = MAX_BLOCK_SECONDS) -> None:
        self.decoder = Decoder(path)
        self._block_seconds = block_seconds
        self._ready: queue.Queue[Block | Exception | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._cleared = 0.0
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def blocks(self, canceled: Canceling, reached: Callable[[float], None]) -> Iterator[Block]:
        """The blocks in order; while none is there, tells how much silence was passed."""
        self._thread.start()
        while True:
            if canceled():
                raise Canceled
            try:
                item = self._ready.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                reached(self._cleared)
                continue
            self._ready.task_done()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def stop(self) -> None:
        """Ends the thread and waits for it: it looks up after every few seconds of sound."""
        self._stop.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._ready.get_nowait()
                self._ready.task_done()
            self._thread.join(timeout=_POLL_SECONDS / 10)

    def _run(self) -> None:
        try:
            for block in self._cut():
                self._put(block)
            self._put(None)
        except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
            self._put(error)

    def _cut(self) -> Iterator[Block]:
        cutter = SpeechCutter()
        builder = BlockBuilder(self._block_seconds, _EARLIEST_SHARE * self._block_seconds)
        for samples in self.decoder.blocks():
            if self._stop.is_set():
                return
            for piece in cutter.feed(samples):
                if block := builder.add(piece):
                    yield block
            held = builder.held_since
            self._cleared = cutter.cleared if held is None else held
        for piece in cutter.finish():
            if block := builder.add(piece):
                yield block
        if block := builder.finish():
            yield block

    def _put(self, item: Block | Exception | None) -> None:
        """Hands it over, and waits until it is taken before decoding what comes after it."""
        self._ready.put(item)
        self._ready.join()
