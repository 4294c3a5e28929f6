"""The real server with a real runner, people with accounts, and their browsers."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from rhapsode.api.page import STATIC
from tests.support.needs import absent
from tests.support.server import Server, running_server, settings_for
from tests.support.speech import model_path, models_folder, sample
from tests.web.browser import CHROMIUM, open_page, running_browser
from tests.web.people import Json, Person, new_member, signed_in


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if CHROMIUM is None:
        absent("browser", "there is no Chromium (Debian: apt-get install chromium)")
    if not (STATIC / "index.html").exists():
        absent("browser", "the page is not built (python scripts/build_web.py)")
    model_path("tiny.en")
    folder = tmp_path_factory.mktemp("web")
    settings = settings_for(
        folder,
        runner={"enabled": True, "models": ["tiny.en"]},
        models={"folder": models_folder(), "hub": False},
        outbound={"allow_networks": ["127.0.0.0/8"]},
    )
    with running_server(settings, folder) as running:
        yield running


@pytest.fixture(scope="session")
def admin(server: Server) -> Iterator[Person]:
    with signed_in(server.url) as person:
        yield person


@pytest.fixture
def member(admin: Person) -> Iterator[Person]:
    """Somebody new, who has no jobs yet."""
    with new_member(admin) as person:
        yield person


@pytest.fixture(scope="session")
def reader(admin: Person) -> Iterator[tuple[Person, Json]]:
    """Somebody with one finished job, for tests that change nothing."""
    with new_member(admin) as person:
        yield person, person.transcribed(sample("jfk"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(server: Server) -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def page(server: Server, browser: Browser) -> AsyncIterator[Page]:
    """A browser in which nobody is signed in."""
    async with open_page(browser, server.url) as opened:
        yield opened
