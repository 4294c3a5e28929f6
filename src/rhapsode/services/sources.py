"""URLs of recordings and of results: which are taken at submission, and how s3:// is read."""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from rhapsode.domain.deliveries import ARTIFACTS
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobSpec, Source
from rhapsode.domain.urls import checked_web_url, shown
from rhapsode.outbound.problems import refused
from rhapsode.outbound.sigv4 import expiry_of
from rhapsode.services import estimates
from rhapsode.services.context import Context, now
from rhapsode.storage.inputs import LONGEST_LINK, SCHEME, InputBuckets, parts_of, switched_off

_INPUT = "The input"


async def ensure_usable(
    context: Context, spec: JobSpec, source: Source | None, outputs: Mapping[str, str]
) -> None:
    """Invalid where a URL can be seen to be of no use before anything is tried.

    Denied for an address that is not spoken to; names are looked up only as they are used.
    """
    if source is not None:
        _ensure_readable(context, source.url)
    _ensure_outputs(context, outputs)
    named = [] if source is None else [(_INPUT, source.url)]
    expiring = _expiring([*named, *_named(outputs)])
    if expiring:
        _ensure_lasting(expiring, now(), await _lead(context, spec))


def ensure_outputs(context: Context, outputs: Mapping[str, str]) -> None:
    """The same for the outputs of a job that has its transcript, so that they are used now."""
    _ensure_outputs(context, outputs)
    _ensure_lasting(_expiring(_named(outputs)), now(), timedelta(0))


def fetched_from(context: Context, source: Source) -> str:
    """The http(s) URL by which this source can be fetched now; it may carry secrets."""
    if not is_s3(source.url):
        return source.url
    # A connection that breaks is resumed by the same link, for as long as a fetch may take.
    holds = timedelta(seconds=context.rules.fetch_seconds) + timedelta(minutes=10)
    return _buckets(context).sign(source.url, min(holds, LONGEST_LINK))


def is_s3(url: str) -> bool:
    """Whether a URL names an object of the operator's S3 server."""
    return url.startswith(SCHEME)


def _buckets(context: Context) -> InputBuckets:
    if context.input_buckets is None:
        raise switched_off()
    return context.input_buckets


def _ensure_readable(context: Context, url: str) -> None:
    if is_s3(url):
        bucket, _ = parts_of(url)
        _buckets(context).ensure_readable(bucket)
    else:
        ensure_spoken_to(context, checked_web_url(url, _INPUT))


def _ensure_outputs(context: Context, outputs: Mapping[str, str]) -> None:
    for name in outputs:
        if name not in ARTIFACTS:
            raise Invalid(
                "unknown_artifact",
                f"There is no output called '{name[:40]}'.",
                hint=f"There are: {', '.join(ARTIFACTS)}.",
            )
    for where, url in _named(outputs):
        ensure_spoken_to(context, checked_web_url(url, where))
    _ensure_apart(outputs)


def _named(outputs: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"The output '{name}'", url) for name, url in outputs.items()]


def _ensure_apart(outputs: Mapping[str, str]) -> None:
    """The later of two would overwrite the earlier."""
    seen: dict[str, str] = {}
    for name, url in outputs.items():
        if url in seen:
            raise Invalid(
                "outputs_collide",
                f"The outputs '{seen[url]}' and '{name}' go to the same place: {shown(url)}.",
                hint="Give each a URL of its own.",
            )
        seen[url] = name


def ensure_spoken_to(context: Context, url: str) -> None:
    """Refuses an address that stands in the URL itself; what names lead to is seen later."""
    if (words := context.policy.refusal_of_host(_host(url))) is not None:
        raise refused(shown(url), words)


def _host(url: str) -> str:
    """As clients read it that go by IDNA: full-width digits and stops are plain ones."""
    name = unicodedata.normalize("NFKC", urlsplit(url).hostname or "")
    return name.replace("\N{IDEOGRAPHIC FULL STOP}", ".")


Expiring = list[tuple[str, str, datetime]]
"""Which URL it is, the URL itself, and when its signature expires."""


def _expiring(named: Iterable[tuple[str, str]]) -> Expiring:
    ends = [(where, url, expiry_of(url)) for where, url in named]
    return [(where, url, end) for where, url, end in ends if end is not None]


async def _lead(context: Context, spec: JobSpec) -> timedelta:
    """How long a URL must hold to be of use at all."""
    wait = await estimates.wait_seconds(context, spec)
    return timedelta(seconds=max(context.rules.least_url_seconds, wait))


def _ensure_lasting(expiring: Expiring, moment: datetime, lead: timedelta) -> None:
    for where, url, end in expiring:
        if end <= moment:
            raise Invalid(
                "url_expired",
                f"{where}, {shown(url)}, expired at {_clock(end)}.",
                hint="Presign it again, for longer.",
            )
        if end < moment + lead:
            raise Invalid(
                "url_expires_soon",
                f"{where}, {shown(url)}, expires at {_clock(end)}; the job can hardly start "
                f"before {_clock(moment + lead)}.",
                hint="Presign it for longer; S3 allows up to seven days.",
            )


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
