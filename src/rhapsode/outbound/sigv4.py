"""Until when a presigned URL works, by what the URL itself says."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

_STAMP = "%Y%m%dT%H%M%SZ"


def expiry_of(url: str) -> datetime | None:
    """When the URL's signature expires; None where it has none, or does not say.

    It knows the signatures of S3 (version 4, and the earlier one, which CloudFront uses
    too), of Google's cloud storage, and of Azure's.
    """
    try:
        query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        given = {name.lower(): value for name, value in query}
        return _signed(given, "x-amz") or _signed(given, "x-goog") or _plain(given)
    except (ValueError, OverflowError):
        return None


def _signed(given: Mapping[str, str], vendor: str) -> datetime | None:
    """`…-Date` and the seconds in `…-Expires` from there on."""
    stamp, seconds = given.get(f"{vendor}-date"), given.get(f"{vendor}-expires")
    if not stamp or not seconds or f"{vendor}-signature" not in given:
        return None
    start = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    return start + timedelta(seconds=int(seconds))


def _plain(given: Mapping[str, str]) -> datetime | None:
    if "signature" in given and given.get("expires"):
        return datetime.fromtimestamp(int(given["expires"]), UTC)
    if "sig" in given and given.get("se"):
        moment = datetime.fromisoformat(given["se"])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
