"""`--set NAME=VALUE`: what may be asked of an engine beyond the options that all know."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from rhapsode.domain.jobs import MAX_HOTWORD_CHARACTERS, MAX_HOTWORDS

_TRUTHS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ValueError("is yes or no")
    return _TRUTHS[text.lower()]


def _list(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]


def _words(text: str) -> list[str]:
    words = _list(text)
    if len(words) > MAX_HOTWORDS or any(len(it) > MAX_HOTWORD_CHARACTERS for it in words):
        raise ValueError(
            f"has at most {MAX_HOTWORDS} words, of {MAX_HOTWORD_CHARACTERS} characters each"
        )
    return words


def _temperature(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError("is from 0 to 1")
    return value


_READERS: Mapping[str, Callable[[str], Any]] = {
    "languages": _list,
    "mixed_languages": _truth,
    "translate_to": str,
    "hotwords": _words,
    "temperature": _temperature,
    "numerals": _truth,
    "punctuation": _truth,
}

WishOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Further wishes: languages=de,fr (to choose from), mixed_languages=yes, "
        "translate_to=en, hotwords=Ithaka,Skylla, temperature=0, numerals=no, punctuation=no.",
        show_default=False,
    ),
]


def wishes_of(pairs: list[str] | None) -> dict[str, Any]:
    """The wishes by their names in a job's spec, as JSON values; a usage error for others."""
    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or name not in _READERS:
            raise typer.BadParameter(
                f"is NAME=VALUE with one of: {', '.join(_READERS)}", param_hint="--set"
            )
        try:
            found[name] = _READERS[name](text)
        except ValueError as error:
            raise typer.BadParameter(f"{name} {error}", param_hint="--set") from error
    return found
