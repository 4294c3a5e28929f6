"""Memory while a recording by URL streams through: the runner's, and the server's beside it."""

import asyncio
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

from bench.memory import PART, Watch, peak_rss, runner_processes
from bench.report import Figure, note
from bench.world import World

_MIB = 2**20
_BLOCK = bytes(_MIB)
_SMALL = 8 * _MIB
SETTINGS = {"outbound": {"allow_networks": ["127.0.0.0/8"]}}


class _Silence(BaseHTTPRequestHandler):
    """`/BYTES.wav`: so many bytes of silence, as few seconds of it as a WAV file can be."""

    def do_GET(self) -> None:
        size = int(self.path.strip("/").partition(".")[0])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        header = _wav_header(size - 44)
        self.wfile.write(header)
        left = size - len(header)
        while left > 0:
            left -= self.wfile.write(_BLOCK[:left])

    def log_message(self, *_: object) -> None:
        return


def _wav_header(data_bytes: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, 8, 192_000, 192_000 * 32, 32, 32)
    start = b"RIFF" + struct.pack("<I", data_bytes + 36) + b"WAVEfmt "
    return start + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", data_bytes)


@contextmanager
def _serving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silence)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _finished(world: World, url: str, model: str) -> dict[str, Any]:
    body = {"input": {"url": url}, "spec": {"model": model, "language": "en"}}
    async with world.wire() as wire:
        answer = await wire.request("POST", "/api/jobs", body)
        assert answer.status == 201, answer.body
        while True:
            found = await wire.request("GET", f"/api/jobs/{answer.json()['id']}")
            job: dict[str, Any] = found.json()
            if job["state"] not in {"queued", "running"}:
                assert job["state"] == "finished", job
                return job
            await asyncio.sleep(0.2)


def measure(world: World, size: int, model: str) -> list[Figure]:
    """Peaks with a recording of `size` bytes, beside those with one of 8 MiB."""
    assert world.server.process is not None
    server = psutil.Process(world.server.process.pid)
    with _serving() as url:
        asyncio.run(_finished(world, f"{url}/{_SMALL}.wav", model))
        small = _peaks(server)
        watch = Watch(server.pid, alone=True)
        idle, started = watch.now(), time.monotonic()
        with watch.watching():
            asyncio.run(_finished(world, f"{url}/{size}.wav", model))
        seconds = time.monotonic() - started
        large = _peaks(server)
    note(f"memory: {size / 1e9:g} GB by URL in {seconds:.0f} s")
    return _figures(size, small, large, (idle, watch.peak), seconds)


def _peaks(server: psutil.Process) -> tuple[int, int]:
    supervisor, child = runner_processes(server)
    return peak_rss(supervisor.pid), peak_rss(child.pid)


def _figures(
    size: int,
    small: tuple[int, int],
    large: tuple[int, int],
    server: tuple[int, int],
    seconds: float,
) -> list[Figure]:
    gigabytes = f"{size / 1e9:g} GB by URL"
    figures = [
        Figure(
            part=PART,
            name=f"runner's {who}: peak RSS, {gigabytes} ÷ 8 MiB by URL",
            value=large[part] / small[part],
            at_most=1.1,
            detail=f"{large[part] / _MIB:.0f} MiB, {small[part] / _MIB:.0f} MiB",
        )
        for part, who in enumerate(("supervisor", "child"))
    ]
    idle, peak = server
    beside = Figure(
        part=PART,
        name=f"server beside it, {gigabytes}: peak RSS − 1.1 × idle",
        value=(peak - 1.1 * idle) / _MIB,
        unit="MiB",
        at_most=16,
        detail=f"idle {idle / _MIB:.0f} MiB, peak {peak / _MIB:.0f} MiB; fetched and "
        f"transcribed in {seconds:.0f} s",
    )
    return [*figures, beside]
