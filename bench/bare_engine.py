"""The bare faster-whisper call, in a process of its own (`python -m bench.bare_engine`)."""

import asyncio
import time
from typing import Any

from bench.worker import Orders


def _transcribe(model: Any, command: dict[str, Any]) -> float:
    """The seconds that the whole call takes: its result comes piece by piece."""
    started = time.monotonic()
    segments, _ = model.transcribe(
        command["path"],
        language=command["language"],
        beam_size=5,
        vad_filter=True,
        word_timestamps=True,
        condition_on_previous_text=command["conditioned"],
    )
    assert list(segments)
    return time.monotonic() - started


async def main() -> None:
    from faster_whisper import WhisperModel

    orders = Orders()
    await orders.open()
    setup = await orders.next()
    assert setup is not None
    model = WhisperModel(
        setup["model"], device="cpu", compute_type="int8", cpu_threads=setup["threads"]
    )
    orders.answer(ready=True)
    while command := await orders.next():
        orders.answer(seconds=_transcribe(model, command))


if __name__ == "__main__":
    asyncio.run(main())
