"""The reference pages are what the code says today."""

import pytest
from scripts.generate_docs import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert PAGES[name]() == written, "run: python scripts/generate_docs.py"
