"""What is said of something that is no recording."""

from pathlib import Path

import pytest

from rhapsode.outbound.found import described


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "nothing at all"),
        (
            b"<!DOCTYPE html><html><head><title>\n Sign in </title></head>",
            "a web page titled 'Sign in'",
        ),
        (b"\xef\xbb\xbf\n<html><body>no title", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>X</Code></Error>", "an XML document: '"),
        (b'{"error":\n  "no such file"}', 'a JSON document: \'{"error": "no such file"}\''),
        ("Zugriff verweigert: größer".encode(), "text: 'Zugriff verweigert: größer'"),
        (b"a" * 500, "text: '" + "a" * 119 + "…'"),
        (b"RIFF\0\0\0\0WAVE", None),
        (bytes(range(256)) * 20, None),
    ],
)
def test_what_was_found(tmp_path: Path, content: bytes, said: str | None) -> None:
    path = tmp_path / "media"
    path.write_bytes(content)

    found = described(path, None)

    assert found == said or (said is not None and str(found).startswith(said))


def test_what_the_url_keeps_secret_stays_secret(tmp_path: Path) -> None:
    path = tmp_path / "media"
    path.write_bytes(b"<html><title>Not signed: s3cr%2Fet and s3cr/et of hunter2</title>")
    url = "https://me:hunter2@example.org/a.wav?sig=s3cr%2Fet&v=1"

    assert described(path, "text/html", url) == ("a web page titled 'Not signed: … and … of …'")
