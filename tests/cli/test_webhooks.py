"""`rhapsode webhooks` against a real server and a real receiver."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner, Result

from rhapsode.cli.app import app
from tests.support.delivering import delivering_settings
from tests.support.server import Server, running_server


@dataclass
class Receiver:
    """What came in, and what is answered to all of it."""

    url: str = ""
    status: int = 204
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append((dict(self.headers), body))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(delivering_settings(folder, None), folder) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.secret("--api-key", "tests")


@pytest.fixture
def run(server: Server, key: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> Any:
    monkeypatch.setenv("RHAPSODE_SERVER", server.url)
    monkeypatch.setenv("RHAPSODE_API_KEY", key)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["webhooks", *arguments])

    yield invoke
    for item in json.loads(invoke("list", "--json").stdout):
        invoke("remove", item["id"])


def test_an_endpoint_is_added_tested_and_removed(run: Any, receiver: Receiver) -> None:
    added = run("add", receiver.url, "--event", "job.failed", "--description", "pager")
    (listed,) = json.loads(run("list", "--json").stdout)
    tested = run("test", listed["id"][-8:])
    removed = run("remove", listed["id"][-8:])

    ((headers, body),) = receiver.got
    assert added.exit_code == 0, added.output
    assert "without TLS" in added.stderr
    assert (listed["events"], listed["description"]) == (["job.failed"], "pager")
    assert Webhook(added.stdout.strip()).verify(body, headers)["type"] == "webhook.test"
    assert tested.exit_code == 0
    assert tested.stdout.startswith("It arrived: 204 after ")
    assert removed.exit_code == 0
    assert json.loads(run("list", "--json").stdout) == []


def test_a_test_that_does_not_arrive_fails(run: Any, receiver: Receiver) -> None:
    receiver.status = 500
    made = json.loads(run("add", receiver.url, "--json").stdout)

    tested = run("test", made["id"])

    assert tested.exit_code == 1
    assert tested.stdout.startswith("It did not arrive. The receiver answered 500.")


def test_an_endpoint_that_is_gone_is_seen_and_switched_on_again(
    run: Any, receiver: Receiver
) -> None:
    receiver.status = 410
    made = json.loads(run("add", receiver.url, "--json").stdout)
    run("test", made["id"])
    off = run("list")
    refused = run("test", made["id"])

    enabled = run("enable", made["id"])

    (listed,) = json.loads(run("list", "--json").stdout)
    assert "off: The receiver answered 410 Gone" in off.stdout
    assert refused.exit_code == 6
    assert enabled.exit_code == 0
    assert listed["enabled"]


def test_rotating_prints_a_new_key(run: Any, receiver: Receiver) -> None:
    made = json.loads(run("add", receiver.url, "--json").stdout)

    rotated = run("rotate", made["id"])

    assert rotated.exit_code == 0
    assert rotated.stdout.startswith("whsec_")
    assert rotated.stdout.strip() != made["secret"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["add", "ftp://example.org"], 1),
        (["add", "http://10.0.0.1/"], 1),
        (["add", "https://example.org", "--event", "job.eaten"], 1),
        (["remove", "0123456789"], 3),
        (["test", "ab"], 1),
    ],
)
def test_what_cannot_be_is_told(run: Any, arguments: list[str], code: int) -> None:
    result = run(*arguments)

    assert result.exit_code == code, result.output
