"""URLs that users give: which are acceptable, and how they may be shown."""

from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from rhapsode.domain.errors import Invalid

MAX_URL_CHARACTERS = 8192
_SHORTEST_SECRET = 4


def shown(url: str) -> str:
    """The URL as it may appear in an answer, a log or a page: `scheme://host:port/path`.

    Credentials, query and fragment are left out; presigned URLs carry their secret there.
    `s3://bucket/key` has none of these: whatever a key holds is part of its name.
    """
    if _is_s3(url):
        return url[:500]
    try:
        parts = urlsplit(url)
        host = _host(parts)
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.scheme}://{host}{parts.path}"[:500]


def _is_s3(url: str) -> bool:
    return url[:5].lower() == "s3://"


def _host(parts: SplitResult) -> str:
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port is None else f"{name}:{parts.port}"


def without_secrets(text: str, url: str, mark: str = "********") -> str:
    """A text that others wrote, without the URL's credentials and the values of its query.

    S3 repeats a signature that it refuses, and many a page the address that it was asked for.
    """
    for secret in sorted(set(_secrets(url)), key=len, reverse=True):
        text = text.replace(secret, mark)
    return text


def _secrets(url: str) -> Iterator[str]:
    """As they stand in the URL, as they are meant, and as others may spell them."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    given = [value for _, value in parse_qsl(parts.query)]
    raw = [pair.partition("=")[2] for pair in parts.query.split("&")]
    for value in (*given, *raw, parts.password or "", parts.query, parts.fragment):
        if len(value) >= _SHORTEST_SECRET:
            yield from (value, unquote(value), quote(value, safe=""))


def name_in(url: str) -> str:
    """What the path of a URL ends with, as a name: `talk.mp3`; the host where it has none."""
    if _is_s3(url):
        return url.rstrip("/").rpartition("/")[2]
    parts = urlsplit(url)
    last = parts.path.rstrip("/").rpartition("/")[2]
    return unquote(last, errors="replace") or parts.hostname or ""


def destination(url: str) -> str:
    """The `host:port` that a URL leads to, by which deliveries share a receiver fairly."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname or ''}:{port}"[:255]


def checked_web_url(url: str, where: str) -> str:
    """The URL if it is http(s) with a host; Invalid (`url_invalid`), naming `where`, if not."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or len(url) > MAX_URL_CHARACTERS or any(c.isspace() for c in url):
        raise Invalid(
            "url_invalid",
            f"{where} is no usable URL.",
            hint="It starts with http:// or https://, names a host and has no spaces.",
        )
    return url
