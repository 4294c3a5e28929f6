"""From a recording to a transcript, through the real server and a real runner.

Everything goes the way that a user's own recordings go: models and speech through the
catalogue, the recording through the public API. Usage: demo.py [--data FOLDER] [--port N]
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from rhapsode.catalogue.entries import find_model, find_sample
from rhapsode.catalogue.kinds import Entry
from rhapsode.catalogue.store import ModelStore
from rhapsode.client import Client
from rhapsode.domain.errors import DomainError, Unavailable
from rhapsode.domain.formats import clock
from rhapsode.domain.jobs import DEFAULT_ENGINE, DEFAULT_MODEL, Job, JobState
from rhapsode.domain.transcripts import Transcript
from rhapsode.settings import load

SAMPLE = "jfk"
START_SECONDS = 60.0
JOB_SECONDS = 900.0
RHAPSODE = (sys.executable, "-m", "rhapsode")

console = Console(highlight=False)


def main() -> int:
    """Run the demo; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--port", type=int, default=0, help="0 takes 8080 or else a free one")
    asked = parser.parse_args()
    try:
        return demo(asked.data.absolute(), asked.port or free_port(8080))
    except DomainError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1


def demo(data: Path, port: int) -> int:
    """Fetch, serve, transcribe, show."""
    with bars() as progress:
        recording = prepare(progress)
        server = Server(data, port)
        with server.running(progress):
            key = server.api_key()
            job, transcript = asyncio.run(transcribe(server.url, key, recording, progress))
    show(job, transcript)
    farewell(server)
    return 0


def bars() -> Progress:
    """The progress bars of everything that takes its time."""
    return Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console,
    )


def prepare(progress: Progress) -> Path:
    """The default model and a sample of human speech, both verified; returns the speech."""
    models = load().settings.models
    store = ModelStore(
        models.folder, models.mirror_folder, hub=models.hub, registry=models.registry
    )
    fetch(store, find_model(DEFAULT_ENGINE, DEFAULT_MODEL), "model", progress)
    folder = fetch(store, find_sample(SAMPLE), "sample speech", progress)
    return next(path for path in sorted(folder.iterdir()) if path.suffix == ".wav")


def fetch(store: ModelStore, entry: Entry | None, title: str, progress: Progress) -> Path:
    """One entry of the catalogue, downloaded if it is not there yet."""
    if entry is None:
        raise Unavailable("demo_entry", f"The catalogue lacks the demo's {title}.")
    task = progress.add_task(title, total=None, note=entry.name)

    def report(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total or None)

    folder = store.pull(entry, report)
    progress.update(task, total=1, completed=1, note=f"{entry.name}, verified")
    return folder


def free_port(wanted: int) -> int:
    """The wanted port, or another where that is taken."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as found:
            number: int = found.getsockname()[1]
            return number
    raise Unavailable("no_port", "There is no free port on this machine.")


class Server:
    """`rhapsode serve` as a process of its own, its last lines kept in case it fails."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.said: deque[str] = deque(maxlen=200)
        self.login: list[str] = []

    @contextlib.contextmanager
    def running(self, progress: Progress) -> Iterator[None]:
        """Serve for as long as the block runs."""
        task = progress.add_task("server", total=1, note=self.url)
        process = subprocess.Popen(
            [*RHAPSODE, "serve", "--data", str(self.data), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        listener = threading.Thread(target=self._listen, args=(process.stdout,), daemon=True)
        listener.start()
        try:
            self._await_runner(process)
            progress.update(task, completed=1, note=f"{self.url}, with a runner")
            yield
        finally:
            process.terminate()
            process.wait()
            listener.join()

    def _listen(self, output: IO[str] | None) -> None:
        for line in output or ():
            self.said.append(line)
            found = re.match(r"\s+(e-mail|password)\s+(\S.*)$", line)
            if found:
                self.login.append(f"{found[1]:<9} {found[2]}")

    def _await_runner(self, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ready", timeout=5).json().get("status") == "ready":
                    return
            time.sleep(0.2)
        raise Unavailable(
            "server", "The server did not start.", hint="It said:\n" + "".join(self.said)
        )

    def api_key(self) -> str:
        """A key for the public API, made the way that an operator makes one."""
        command = [*RHAPSODE, "token", "create", "--api-key", "demo", "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable("api_key", f"No API key could be made: {done.stderr.strip()}")
        return done.stdout.strip()


async def transcribe(
    url: str, key: str, recording: Path, progress: Progress
) -> tuple[Job, Transcript]:
    """Upload, submit, follow, fetch: what any client does."""
    async with Client(url, key) as client:
        upload = progress.add_task("upload", total=size_of(recording), note=recording.name)
        media = await client.upload(
            recording, report=lambda done: progress.update(upload, completed=done)
        )
        task = progress.add_task("transcription", total=1.0, note="queued")
        job = await client.submit(media.id, {"model": DEFAULT_MODEL})
        async with asyncio.timeout(JOB_SECONDS):
            async for change in client.follow(job.id):
                job = change
                advance(progress, task, job)
        if job.state is not JobState.FINISHED:
            reason = job.error.message if job.error else job.state.value
            raise Unavailable("job", f"The job did not finish: {reason}")
        return job, Transcript.from_dict(json.loads(await client.transcript(job.id)))


def size_of(file: Path) -> int:
    """Bytes."""
    return file.stat().st_size


def advance(progress: Progress, task: TaskID, job: Job) -> None:
    """Show how far the job is."""
    told = job.progress
    note = job.state.value if told is None else told.stage
    done = 1.0 if job.state is JobState.FINISHED else told.fraction if told else 0.0
    progress.update(task, completed=done, note=note)


def show(job: Job, transcript: Transcript) -> None:
    """The transcript, with its times."""
    length = f"{transcript.duration:.1f} s"
    console.print(f"\n[bold]{job.name}[/], {length}, language {transcript.language}\n")
    for segment in transcript.segments:
        times = f"{clock(segment.start, '.')} → {clock(segment.end, '.')}"
        console.print(f"  [cyan]{times}[/]  {segment.text}", soft_wrap=True)


def farewell(server: Server) -> None:
    """Where to go from here."""
    console.print(f"\nThe page was at {server.url}/ — [bold]make serve[/] keeps it up.")
    if server.login:
        console.print("Sign in there with\n  " + "\n  ".join(server.login), markup=False)
    else:
        console.print("Sign in with the password that the first start printed, or set another:")
        program = os.path.relpath(Path(sys.executable).parent / "rhapsode")
        console.print(f"  {program} user password admin@localhost --data {server.data.name}")


if __name__ == "__main__":
    raise SystemExit(main())
