"""OpenAI's API: what a request costs beside the engine's own time."""

import json
import time
from pathlib import Path

from openai import OpenAI

from bench.report import Figure, note, percentile
from bench.world import World
from tests.support.ports import until

PART = "openai"
LIMIT_MS = 150.0


def overhead(world: World, recording: Path, requests: int) -> list[Figure]:
    """From the request to its answer, less the seconds that the runner's child worked.

    These stand in the server's log, line by line in the order of the requests.
    """
    client = OpenAI(base_url=f"{world.server.url}/v1", api_key=world.key, max_retries=5)
    sound = recording.read_bytes()

    def ask() -> float:
        began = time.monotonic()
        client.audio.transcriptions.create(file=(recording.name, sound), model="tiny.en")
        return time.monotonic() - began

    ask()  # loads the model
    taken = [ask() for _ in range(requests)]
    until(lambda: len(_worked(world.server.log)) > requests, 10, "every job is in the log")
    costs = [
        whole - work for whole, work in zip(taken, _worked(world.server.log)[1:], strict=True)
    ]
    note(f"openai: p50 {percentile(costs, 0.5) * 1000:.0f} ms beside the engine")
    return [
        Figure(
            part=PART,
            name=f"answer beside the engine's time: p{share * 100:.0f}",
            value=percentile(costs, share) * 1000,
            unit="ms",
            at_most=LIMIT_MS,
            detail=f"{requests} requests; slowest {max(costs) * 1000:.0f} ms",
        )
        for share in (0.5, 0.9)
    ]


def _worked(log: Path) -> list[float]:
    """The seconds of work of each finished job, in order."""
    lines = log.read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry["seconds"] for entry in entries if entry.get("event") == "job finished"]
