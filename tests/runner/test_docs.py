"""The page about runners names every option of the command."""

import inspect
from pathlib import Path

from rhapsode.cli.runner import runner

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "runners.md"


def test_every_option_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    options = ["--" + name.replace("_", "-") for name in inspect.signature(runner).parameters]
    assert [option for option in options if f"`{option}`" not in text] == []
