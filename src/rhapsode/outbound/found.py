"""Says what was found at a URL that should have led to a recording."""

import json
from html.parser import HTMLParser
from pathlib import Path

from rhapsode.domain.urls import without_secrets

_HEAD_BYTES = 64 * 1024
_MOST_CHARACTERS = 120
_TEXT = ("text/", "application/json", "application/xml", "application/problem+json")


def described(path: Path, media_type: str | None, url: str | None = None) -> str | None:
    """`a web page titled '…'`, or another text and its beginning; None where it is no text.

    What the URL keeps secret is left out, should the page repeat it.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "nothing at all"
    text = _text(head, media_type)
    if text is None:
        return None
    kind, said = _reading(text)
    shown = _shortened(without_secrets(said, url or "", "…"))
    return f"{kind} '{shown}'" if shown else kind.rsplit(" ", 1)[0]


def _text(head: bytes, media_type: str | None) -> str | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4 and not (media_type or "").startswith(_TEXT):
            return None
        text = head.decode("utf-8", errors="replace")
    odd = sum(1 for c in text[:4096] if not c.isprintable() and c not in "\r\n\t\f\ufeff")
    return None if odd else text.lstrip("\ufeff \r\n\t")


def _reading(text: str) -> tuple[str, str]:
    """What kind of text it is, with the word that leads to its beginning."""
    start = text[:1000].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in start:
        page = _Page()
        page.feed(text)
        return "a web page titled", page.title
    if start.startswith("<"):
        return "an XML document:", text
    if start.startswith(("{", "[")):
        return "a JSON document:", _compact(text)
    return "text:", text


def _compact(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


class _Page(HTMLParser):
    """Finds the title."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self._inside = tag == "title" and not self.title

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.title += data


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"
