"""Logs and metrics: structured lines with a request id and without secrets, Prometheus series.

This imports nothing else of ours, so every layer above the domain may use it.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

Format = Literal["auto", "console", "json"]
HIDDEN = "********"
METRICS_CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECRET_KEY = re.compile(
    r"(?i)(^|[_-])(password|passwd|secret|token|cookie|authorization|api[_-]?key|access[_-]?key)$"
)
_SECRETS = (
    (re.compile(r"\b(rh[krl]_)[\w-]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*):[^/\s@]+@"), rf"\1:{HIDDEN}@"),
    (
        re.compile(
            r"(?i)([?&](?:x-amz-(?:signature|credential|security-token)|x-goog-signature|"
            r"awsaccesskeyid|signature|sig|token|access_token|api_?key|key)=)[^&\s\"'<>]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"(?i)((?:password|passwd|secret|api[_-]?key|secret[_-]?access[_-]?key)[\"']?\s*[=:]"
            r"\s*)(?:\"[^\"]*\"|'[^']*'|[^\s\"',;&}]+)"
        ),
        rf"\1{HIDDEN}",
    ),
)


_MAY_HOLD_SECRET = re.compile(r"rh[krl]_|[:=\s]")
"""Every pattern above needs one of these; most of what is logged is a bare word or a path."""


def redacted(text: str) -> str:
    """The text with everything that looks like a secret masked."""
    if not _MAY_HOLD_SECRET.search(text):
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: _clean_field(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))


def _clean_field(key: str, value: Any) -> Any:
    return HIDDEN if value and _SECRET_KEY.search(key) else _clean(value)


def redact(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor that lets no secret through, whatever it is part of."""
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own, dropped before the line is written
            event[key] = _clean_field(key, value)
    return event


def request_context(request_id: str, **more: str) -> AbstractContextManager[None]:
    """Within it, every line logged by this task carries the request id."""
    return structlog.contextvars.bound_contextvars(request_id=request_id, **more)


def configure_logging(
    level: str = "info",
    format: Format = "auto",  # noqa: A002
    stream: TextIO | None = None,
) -> None:
    """Routes structlog's and the standard library's messages to one stream (standard error).

    For uvicorn: `Config(log_config=None)`, so that it leaves this as it is.
    """
    stream = stream or sys.stderr
    shared = _shared_processors()
    as_json = format == "json" or (format == "auto" and not stream.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[*_ending(stream, as_json=as_json)],
        )
    )
    _route_everything_to(handler, level)


def _without_colours(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Uvicorn sends each message twice, the second time with colours."""
    event.pop("color_message", None)
    return event


def _shared_processors() -> list[structlog.types.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _ending(stream: TextIO, *, as_json: bool) -> Iterable[structlog.types.Processor]:
    # The traceback becomes text before `redact`, because an exception may quote a secret.
    yield structlog.stdlib.ProcessorFormatter.remove_processors_meta
    yield _without_colours
    yield structlog.processors.StackInfoRenderer()
    yield structlog.processors.format_exc_info
    yield redact
    if as_json:
        yield structlog.processors.JSONRenderer(ensure_ascii=False)
        return
    yield structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


_NOISY = {
    "sqlalchemy.engine": logging.WARNING,
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,  # six lines at every start, to say that nothing changed
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,  # the API logs its requests itself, with their id
    "python_multipart": logging.WARNING,
    "asyncio": logging.WARNING,
}
_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "sqlalchemy", "alembic")


def _route_everything_to(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.disabled = False
        logger.setLevel(logging.NOTSET)  # a server started before may have set its own
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(True)


_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MINUTES = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21600, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """One application's Prometheus series; times are in seconds."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    job_changes: Counter
    queue_wait_seconds: Histogram
    run_seconds: Histogram
    audio_seconds: Counter
    heartbeats: Counter
    leases_lapsed: Counter
    claims: Counter
    upload_bytes: Counter
    deleted: Counter
    jobs_unfinished: Gauge
    runners_online: Gauge
    deliveries: Counter
    delivery_seconds: Histogram
    deliveries_unsettled: Gauge

    def render(self) -> bytes:
        """Everything in Prometheus' text format (METRICS_CONTENT_TYPE)."""
        return generate_latest(self.registry)


def create_metrics() -> Metrics:
    """New series in a registry of their own, so that applications in one process can differ."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    def counter(name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"rhapsode_{name}", meaning, labels, registry=registry)

    def histogram(
        name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"rhapsode_{name}", meaning, labels, registry=registry, buckets=buckets
        )

    return Metrics(
        registry=registry,
        requests=counter(
            "http_requests", "HTTP requests answered.", "method", "route", "status"
        ),
        request_seconds=histogram(
            "http_request_seconds", "Time to answer a request.", _LATENCY, "method", "route"
        ),
        job_changes=counter("job_changes", "Changes of jobs' states.", "change", "state"),
        queue_wait_seconds=histogram(
            "queue_wait_seconds", "From a job's arrival to its claim.", _MINUTES
        ),
        run_seconds=histogram(
            "run_seconds", "From a claim to its result.", _MINUTES, "engine", "model"
        ),
        audio_seconds=counter("audio_seconds", "Seconds transcribed.", "engine", "model"),
        heartbeats=counter("heartbeats", "Heartbeats of runners.", "verdict"),
        leases_lapsed=counter("leases_lapsed", "Leases that ended without a result."),
        claims=counter("claims", "Claims of runners: a job, or empty.", "outcome"),
        upload_bytes=counter("upload_bytes", "Bytes of recordings received."),
        deleted=counter("deleted", "Things deleted, and why.", "kind", "reason"),
        jobs_unfinished=Gauge(
            "rhapsode_jobs_unfinished",
            "Jobs that have not ended, in the whole installation.",
            ("state",),
            registry=registry,
        ),
        runners_online=Gauge(
            "rhapsode_runners_online",
            "Runners heard of lately, in the whole installation.",
            registry=registry,
        ),
        deliveries=counter(
            "deliveries",
            "Attempts to deliver: delivered, again or given up.",
            "kind",
            "outcome",
        ),
        delivery_seconds=histogram(
            "delivery_seconds", "Time that a receiver took to answer.", _LATENCY, "kind"
        ),
        deliveries_unsettled=Gauge(
            "rhapsode_deliveries_unsettled",
            "Deliveries that wait or were given up, in the whole installation.",
            ("state",),
            registry=registry,
        ),
    )
