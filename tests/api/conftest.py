"""Two applications for all tests of the API: small and large, as people run them."""

import io
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from rhapsode.telemetry import configure_logging
from tests.api.people import Person, Runner, make_person, make_runner
from tests.support.server import App, running_app, settings_for


@pytest_asyncio.fixture(
    params=["sqlite and folder", "postgresql and s3"], scope="session", loop_scope="session"
)
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[App]:
    folder = tmp_path_factory.mktemp("shared")
    url, store = None, None
    if request.param != "sqlite and folder":
        url = request.getfixturevalue("postgres_server").create()
        store = request.getfixturevalue("s3_server").create()
    settings = settings_for(
        folder, database_url=url, store=store, server={"max_upload_bytes": 1_000_000}
    )
    async with running_app(settings) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def ann(shared: App) -> Person:
    return await make_person(shared)


@pytest_asyncio.fixture(loop_scope="session")
async def ben(shared: App) -> Person:
    return await make_person(shared)


@pytest_asyncio.fixture(loop_scope="session")
async def runner(shared: App) -> Runner:
    return await make_runner(shared)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, down to the details."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("debug", "json", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
