"""Servers that many tests share. What a single test needs, it makes by a factory."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from rhapsode.storage.objects import StoreConfig
from tests.support.postgres import Postgres, postgres
from tests.support.s3 import S3, s3
from tests.support.server import App, running_app, settings_for

# A shell starts what it runs in the background deaf to Ctrl-C, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    with s3() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture(params=["folder", "s3"])
def store_config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    """An empty object store of each kind."""
    if request.param == "folder":
        return StoreConfig(url=str(tmp_path / "objects"))
    server: S3 = request.getfixturevalue("s3_server")
    return server.create()


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    """The application in this process, on each database."""
    async with running_app(settings_for(tmp_path, database_url=database_url)) as running:
        yield running
