"""Memory: the runner's peak by the recording's length, the server's during a huge upload."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench import sound
from bench.engine import finished
from bench.report import Figure, note
from bench.world import World

PART = "memory"
_MIB = 2**20
_BLOCK = 1024 * 1024


def peak_rss(pid: int) -> int:
    """The most memory that a living process ever held, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(pid)


def runner_processes(server: psutil.Process) -> list[psutil.Process]:
    """The embedded runner's supervisor, and its child with the model."""
    supervisor = next(p for p in server.children() if "runner" in p.cmdline())
    return [supervisor, *supervisor.children()]


async def runner(world: World, recording: Path, model: str) -> tuple[int, int]:
    """The peaks of the runner's supervisor and child over one job of a fresh runner."""
    async with world.wire() as wire:
        media = await upload_file(world, recording)
        started = time.monotonic()
        await finished(wire, media, model)
    assert world.server.process is not None
    supervisor, child = runner_processes(psutil.Process(world.server.process.pid))
    peaks = peak_rss(supervisor.pid), peak_rss(child.pid)
    seconds = time.monotonic() - started
    note(f"memory: {recording.name} in {seconds:.0f} s, child {peaks[1] / _MIB:.0f} MiB")
    return peaks


async def upload_file(world: World, recording: Path) -> str:
    """Upload a file of any size, and its id."""
    headers = {"authorization": f"Bearer {world.key}"}

    def send() -> str:
        with recording.open("rb") as file:
            url = f"{world.server.url}/api/media?name={recording.name}"
            answer = httpx.post(url, content=file, headers=headers, timeout=600)
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    return await asyncio.to_thread(send)


def runner_figures(short: tuple[int, int], long: tuple[int, int], name: str) -> list[Figure]:
    """How the peak grows with the recording."""

    def detail(part: int) -> str:
        return f"{long[part] / _MIB:.0f} MiB, {short[part] / _MIB:.0f} MiB"

    return [
        Figure(
            part=PART,
            name=f"runner's child: peak RSS on {name}",
            value=long[1] / short[1],
            at_most=1.1,
            detail=detail(1),
        ),
        Figure(
            part=PART,
            name=f"runner's supervisor: peak RSS on {name}",
            value=long[0] / short[0],
            at_most=1.1,
            detail=detail(0),
        ),
    ]


class Watch:
    """Notes the most memory that a process and its children hold together, or it `alone`."""

    def __init__(self, pid: int, *, alone: bool = False) -> None:
        self._process = psutil.Process(pid)
        self._alone = alone
        self._stop = threading.Event()
        self.peak = 0

    def now(self) -> int:
        """Bytes resident now; pages that processes share count in each."""
        children = [] if self._alone else self._process.children(recursive=True)
        everyone = [self._process, *children]
        return sum(process.memory_info().rss for process in everyone)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look a hundred times a second for as long as the block runs."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self.now())


def server(world: World, size: int) -> Figure:
    """The server's memory while it receives so many bytes that never lie on our disk."""
    return _receiving(world, size, _send, "receiving")


def resumable(world: World, size: int) -> Figure:
    """The same for a resumable upload, up to the end of putting its parts together."""
    return _receiving(world, size, _send_by_tus, "receiving by tus, and assembling,")


def _receiving(
    world: World, size: int, send: Callable[[World, int], None], what: str
) -> Figure:
    assert world.server.process is not None
    watch = Watch(world.server.process.pid)
    send(world, 8 * _MIB)  # the first upload imports and starts what every later one uses
    time.sleep(1)
    idle = watch.now()
    started = time.monotonic()
    with watch.watching():
        send(world, size)
    seconds = time.monotonic() - started
    return Figure(
        part=PART,
        name=f"server {what} {size / 1e9:g} GB: peak RSS − 1.1 × idle",
        value=(watch.peak - 1.1 * idle) / _MIB,
        unit="MiB",
        at_most=64,
        detail=f"idle {idle / _MIB:.0f} MiB, peak {watch.peak / _MIB:.0f} MiB, with its "
        f"worker process; {size / seconds / 1e6:.0f} MB/s",
    )


def _send_by_tus(world: World, size: int) -> None:
    headers = {"authorization": f"Bearer {world.key}", "tus-resumable": "1.0.0"}
    with httpx.Client(base_url=world.server.url, headers=headers, timeout=600) as client:
        begun = client.post("/api/uploads", headers={"upload-length": str(size)})
        assert begun.status_code == 201, begun.text
        path = begun.headers["location"]
        sent = client.patch(
            path,
            content=_recording(size),
            headers={
                "upload-offset": "0",
                "content-type": "application/offset+octet-stream",
                "content-length": str(size),
            },
        )
        assert sent.status_code == 204, sent.text
        while (state := client.get(path).json()["state"]) == "assembling":
            time.sleep(0.2)
        assert state == "finished", state


def _send(world: World, size: int) -> None:
    headers = {"authorization": f"Bearer {world.key}", "content-length": str(size)}
    url = f"{world.server.url}/api/media?name=huge.wav"
    answer = httpx.post(url, content=_recording(size), headers=headers, timeout=600)
    assert answer.status_code == 201, answer.text


def _recording(size: int) -> Iterator[bytes]:
    header = sound.wav_header(size - 44)
    yield header
    left, block = size - len(header), bytes(range(256)) * (_BLOCK // 256)
    while left > 0:
        yield block[:left]
        left -= len(block)
