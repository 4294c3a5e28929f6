"""A whole installation as real processes: a server and runners that can be killed at will."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil

from rhapsode.settings import Settings
from tests.support.ports import free_port, until
from tests.support.server import Server, settings_for
from tests.support.speech import model_path, models_folder

MARK = "TESTS_FLEET"
"""A variable that every process of a fleet inherits, so that the left-over ones are found."""

OFFLINE: dict[str, Any] = {"hub": False, "registry": False}
QUICK_QUEUE: dict[str, Any] = {
    "lease_seconds": 3,
    "heartbeat_seconds": 0.5,
    "sweep_seconds": 0.5,
    "abandoned_upload_seconds": 4,
}


def fleet_settings(folder: Path, **sections: Any) -> Settings:
    """Settings of a server with an embedded runner on one thread, that reacts quickly."""
    model_path("tiny.en")
    own: dict[str, Any] = {
        "queue": {**QUICK_QUEUE, **sections.pop("queue", {})},
        "runner": {"enabled": True, "threads": 1, **sections.pop("runner", {})},
        "models": {"folder": models_folder(), **OFFLINE},
    }
    return settings_for(folder, **own, **sections)


@dataclass
class Runner:
    """`rhapsode runner` as a process, with a home of its own as on another machine."""

    name: str
    url: str
    token: str
    folder: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def scratch(self) -> Path:
        return self.folder / f"{self.name}-home" / "scratch"

    def start(self) -> Self:
        home = self.folder / f"{self.name}-home"
        home.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rhapsode", "runner", *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "RHAPSODE_RUNNER_TOKEN": self.token,
                    MARK: os.environ.get(MARK, ""),
                },
            )
        return self

    def _arguments(self) -> list[str]:
        return [
            *("--server", self.url, "--name", self.name, "--threads", "1"),
            *("--models-dir", str(models_folder()), "--no-hub", "--no-registry"),
            *("--scratch-dir", str(self.scratch), *self.options),
        ]

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(120)


def engines_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes below this one that hold models."""
    return [one for one in tree_of(process)[1:] if "rhapsode.runner.child" in command_of(one)]


def command_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def tree_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_all(processes: list[psutil.Process]) -> None:
    """SIGKILL to each of them, one after the other: no process group has them all."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


@dataclass
class Fleet:
    """One server's settings, and every process that was started for it."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    servers: list[Server] = field(default_factory=list)
    runners: list[Runner] = field(default_factory=list)

    def server(self, settings: Settings, name: str = "server", *, start: bool = True) -> Server:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        server = Server(settings, free_port(), home)
        self.servers.append(server)
        return server.start() if start else server

    def runner(self, name: str, url: str, token: str, *options: str) -> Runner:
        runner = Runner(name, url, token, self.folder, options).start()
        self.runners.append(runner)
        return runner

    def left_over(self) -> list[str]:
        """The commands of this fleet's processes that are alive."""
        return [command_of(one) for one in self.processes()]

    def processes(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if self._is_ours(one)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                return bool(process.environ().get(MARK) == self.mark)
        return False

    def stop(self) -> list[int]:
        """End everything in order; the exit codes."""
        codes = [one.stop() for one in self.runners if one.process is not None]
        return codes + [server.stop() for server in self.servers if server.process]


@contextlib.contextmanager
def fleet_in(folder: Path) -> Iterator[Fleet]:
    """A fleet that leaves nothing running, however its test ends."""
    fleet = Fleet(folder)
    before = os.environ.get(MARK)
    os.environ[MARK] = fleet.mark
    try:
        yield fleet
    finally:
        if before is None:
            del os.environ[MARK]
        else:
            os.environ[MARK] = before
        kill_all(fleet.processes())
        for process in [
            *(s.process for s in fleet.servers),
            *(r.process for r in fleet.runners),
        ]:
            if process is not None:
                process.wait(10)


def gone(fleet: Fleet, seconds: float = 10) -> None:
    """Wait until no process of the fleet lives."""
    until(lambda: not fleet.processes(), seconds, f"all end: {fleet.left_over()}")


def scratch_files(*folders: Path) -> list[str]:
    """What is left below these folders.

    A runner that is killed while it makes its folder leaves an empty one, called `new-…`,
    which another removes when that is old enough to be nobody's.
    """
    found = [path for folder in folders for path in folder.rglob("*")]
    return [str(path) for path in found if "/new-" not in str(path)]
