"""An installation that the tests of one module share: a server with its embedded runner."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rhapsode.settings import Settings
from tests.acceptance.fleet import Fleet, fleet_in, fleet_settings
from tests.support.needs import absent
from tests.support.server import Server


@dataclass(frozen=True)
class Installation:
    """A server that runs, and an API key for it."""

    fleet: Fleet
    server: Server
    settings: Settings
    key: str

    def runner_token(self, name: str) -> str:
        return self.server.secret("--runner", name)


def install(fleet: Fleet, settings: Settings) -> Installation:
    server = fleet.server(settings)
    return Installation(fleet, server, settings, server.secret("--api-key", "tests"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    with fleet_in(folder) as fleet:
        yield install(fleet, fleet_settings(folder, runner={"models": ["tiny.en"]}))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of the test's own."""
    with fleet_in(tmp_path) as made:
        yield made


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk with room for so many megabytes, at a folder."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        absent("mount", f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
