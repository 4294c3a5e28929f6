"""One stream of lines: JSON or console, with the request id, never with a secret."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from rhapsode.telemetry import configure_logging, create_metrics, redacted, request_context

log = structlog.get_logger("rhapsode.tests")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers, root.level
    output = io.StringIO()
    configure_logging("info", "json", output)
    yield output
    root.handlers, root.level = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_level_logger_time_and_fields(stream: io.StringIO) -> None:
    log.info("job finished", job="42", seconds=1.5)
    (line,) = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "job finished",
        "job": "42",
        "level": "info",
        "logger": "rhapsode.tests",
        "seconds": 1.5,
    }


def test_the_request_id_is_on_every_line_of_its_request(stream: io.StringIO) -> None:
    with request_context("r-1"):
        log.info("inside")
        logging.getLogger("uvicorn.error").info("inside %s", "too")
    log.info("outside")
    assert [(line["event"], line.get("request_id")) for line in lines(stream)] == [
        ("inside", "r-1"),
        ("inside too", "r-1"),
        ("outside", None),
    ]


@pytest.mark.parametrize("name", ["uvicorn", "sqlalchemy.pool", "alembic.runtime", "any.other"])
def test_the_standard_library_is_routed_too(stream: io.StringIO, name: str) -> None:
    logging.getLogger(name).warning("heard", extra={"table": "jobs"})
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["table"]) == ("heard", name, "jobs")


def test_uvicorn_says_everything_once(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("up", extra={"color_message": "\x1b[1mup"})
    (line,) = lines(stream)
    assert set(line) == {"event", "level", "logger", "timestamp"}


def test_what_is_below_the_level_is_not_logged(stream: io.StringIO) -> None:
    log.debug("quiet")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("uvicorn.access").info("GET /")
    assert lines(stream) == []


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("key rhk_AbC-d_9 used", "key rhk_******** used"),
        ("rhr_0123456789", "rhr_********"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ********"),
        ("postgresql://me:pw@db/name", "postgresql://me:********@db/name"),
        (
            "GET /media/1?X-Amz-Signature=9f3a&part=1",
            "GET /media/1?X-Amz-Signature=********&part=1",
        ),
        ("/x?token=abc", "/x?token=********"),
        ('{"password": "correct horse"}', '{"password": ********}'),
        ("password=hunter22 next", "password=******** next"),
        ("a talk about passwords and tokens", "a talk about passwords and tokens"),
        ("http://host:8080/path", "http://host:8080/path"),
    ],
)
def test_secrets_are_masked_in_text(text: str, safe: str) -> None:
    assert redacted(text) == safe


def test_secrets_are_masked_by_the_name_of_their_field(stream: io.StringIO) -> None:
    log.info("login", password="hunter22", headers={"cookie": "a=b", "accept": "*/*"})
    (line,) = lines(stream)
    assert (line["password"], line["headers"]) == (
        "********",
        {"cookie": "********", "accept": "*/*"},
    )


def test_a_traceback_does_not_quote_a_secret(stream: io.StringIO) -> None:
    try:
        int("rhk_verysecret")
    except ValueError:
        log.exception("failed")
    (line,) = lines(stream)
    assert "int() with base 10: 'rhk_********'" in str(line["exception"])
    assert "verysecret" not in stream.getvalue()


def test_console_lines_are_for_people(stream: io.StringIO) -> None:
    console = io.StringIO()
    configure_logging("info", "console", console)
    log.info("ready", url="http://127.0.0.1:8080", token="abc")
    text = console.getvalue()
    assert "ready" in text
    assert "url=http://127.0.0.1:8080" in text
    assert "abc" not in text


def test_two_applications_count_apart() -> None:
    one, other = create_metrics(), create_metrics()
    one.requests.labels("GET", "/api/jobs", "200").inc()
    one.queue_wait_seconds.observe(0.2)
    series = 'rhapsode_http_requests_total{method="GET",route="/api/jobs",status="200"} 1.0'
    assert series in one.render().decode()
    assert series not in other.render().decode()
