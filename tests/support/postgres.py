"""A real PostgreSQL, started for the tests in a folder of their own."""

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.needs import absent
from tests.support.ports import free_port, listens, until

_numbers = count()


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@cache
def _other_user() -> str | None:
    """PostgreSQL refuses to run as root; then it runs as this user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


@dataclass(frozen=True)
class Postgres:
    """A server; each database of it starts empty."""

    port: int
    binaries: Path

    def create(self) -> str:
        """The URL of a new database."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}", "postgres")
        return f"postgresql://rhapsode@127.0.0.1:{self.port}/{name}"

    def drop(self, url: str) -> None:
        name = url.rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "postgres")

    def answers(self) -> bool:
        """Whether it takes queries: it listens before it does."""
        if not listens(self.port):
            return False
        try:
            self.execute("SELECT 1", "postgres")
        except subprocess.CalledProcessError:
            return False
        return True

    def execute(self, sql: str, database: str) -> None:
        subprocess.run(
            [
                str(self.binaries / "psql"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "rhapsode"),
                *("-d", database, "-q", "-v", "ON_ERROR_STOP=1", "-c", sql),
            ],
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server for as long as the block runs; skips where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        absent("postgres", "PostgreSQL is not installed (Debian: postgresql)")
    assert binaries is not None
    with TemporaryDirectory(prefix="rhapsode-pg-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        user = _other_user()
        if user:
            Path(folder).chmod(0o755)
            shutil.chown(data, user)
        _run(binaries / "initdb", "-D", data, "-U", "rhapsode", "-A", "trust", "-N", user=user)
        port = free_port()
        process = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), "-p", str(port), *_OPTIONS],
            user=user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        try:
            server = Postgres(port, binaries)
            until(server.answers, 60, "PostgreSQL answers")
            yield server
        finally:
            process.terminate()
            process.wait(30)


_OPTIONS = ("-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")


def _run(*command: object, user: str | None) -> None:
    subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, user=user, cwd="/"
    )
