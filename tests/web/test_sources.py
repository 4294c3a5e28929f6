"""What the built page must keep to. Its logic has tests of its own: `npm test` in web/."""

import gzip
from pathlib import Path

import pytest

from rhapsode.api.page import STATIC
from tests.support.needs import absent

LOCK = Path(__file__).parents[2] / "web" / "package-lock.json"
MOST_SCRIPT_BYTES = 250_000


@pytest.fixture(scope="module")
def html() -> str:
    page = STATIC / "index.html"
    if not page.exists():
        absent("browser", "the page is not built (python scripts/build_web.py)")
    return page.read_text()


def test_the_lock_file_names_no_address() -> None:
    assert "://" not in LOCK.read_text()


@pytest.mark.usefixtures("html")
def test_the_script_is_small() -> None:
    scripts = list((STATIC / "assets").glob("*.js"))
    assert scripts
    packed = sum(len(gzip.compress(script.read_bytes())) for script in scripts)
    assert packed < MOST_SCRIPT_BYTES


def test_the_page_has_nothing_inline(html: str) -> None:
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == html.count('<script type="module" crossorigin src=')
