"""`--set NAME=VALUE`."""

from typing import Any

import pytest
import typer

from rhapsode.cli.wishes import wishes_of


@pytest.mark.parametrize(
    ("pair", "wish"),
    [
        ("languages=de, fr", {"languages": ["de", "fr"]}),
        ("mixed_languages=yes", {"mixed_languages": True}),
        ("translate_to=en", {"translate_to": "en"}),
        ("hotwords=Ithaka,Skylla", {"hotwords": ["Ithaka", "Skylla"]}),
        ("temperature=0.4", {"temperature": 0.4}),
        ("numerals=no", {"numerals": False}),
        ("punctuation=off", {"punctuation": False}),
    ],
)
def test_each_wish(pair: str, wish: dict[str, Any]) -> None:
    assert wishes_of([pair]) == wish


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("numerals", "is NAME=VALUE with one of: languages"),
        ("beam=5", "is NAME=VALUE with one of: languages"),
        ("numerals=perhaps", "numerals is yes or no"),
        ("temperature=2", "temperature is from 0 to 1"),
        ("hotwords=" + ",".join(["word"] * 501), "hotwords has at most 500 words"),
    ],
)
def test_what_is_no_wish(pair: str, told: str) -> None:
    with pytest.raises(typer.BadParameter) as refusal:
        wishes_of([pair])

    assert told in refusal.value.message


def test_no_wishes() -> None:
    assert wishes_of(None) == {}
