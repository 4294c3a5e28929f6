"""`rhapsode jobs deliveries` and `redeliver`, with a real server and a real receiver."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rhapsode.cli.app import app
from rhapsode.cli.exits import ExitCode
from tests.acceptance.posting import SPEC, Posting
from tests.acceptance.program import Document, program
from tests.support.delivering import delivering_settings
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.recordings import tone
from tests.support.server import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(delivering_settings(folder, None), folder) as running:
        yield running


@pytest.fixture(scope="module")
def secrets(server: Server) -> tuple[str, str]:
    return server.secret("--api-key", "tests"), server.secret("--runner", "tests")


@pytest.fixture(autouse=True)
def at_home(
    server: Server, secrets: tuple[str, str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("RHAPSODE_SERVER", server.url)
    monkeypatch.setenv("RHAPSODE_API_KEY", secrets[0])


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["jobs", *arguments])


async def listed(job: Document) -> list[tuple[str, str]]:
    found = json.loads((await run("deliveries", job["id"], "--json")).stdout)
    return [(item["subject"], item["state"]) for item in found]


@asynccontextmanager
async def delivered(
    server: Server, secrets: tuple[str, str], folder: Path, *names: str, **always: Reply
) -> AsyncIterator[tuple[Document, Receiver, Any]]:
    """A job that has ended, its receiver, and how to wait for its end once more."""
    key, token = secrets
    async with (
        receiving() as receiver,
        program(key, server.url) as driver,
        program(token, server.url) as runner,
    ):
        receiver.always = {f"/{name}": reply for name, reply in always.items()}
        posting = Posting(runner)
        await posting.register()
        media = await driver.upload(tone(folder / "tone.wav"))
        outputs = {name: f"{receiver.url}/{name}?secret=hush" for name in names}
        body = {"input": {"media_id": media["id"]}, "spec": SPEC, "outputs": outputs}
        job = await driver.json("POST", "/api/jobs", json=body)
        working = asyncio.create_task(posting.work())
        try:
            ended = await driver.ended(job["id"])
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        yield ended, receiver, lambda: driver.ended(job["id"])


async def test_what_was_sent_is_a_table_for_people(
    server: Server, secrets: tuple[str, str], tmp_path: Path
) -> None:
    refused = Reply(400, body=b"no")
    async with delivered(server, secrets, tmp_path, "vtt", "txt", txt=refused) as (job, to, _):
        result = await run("deliveries", job["id"][-8:])

    head, *rows = [line.split() for line in result.stdout.splitlines()]
    assert head[:5] == ["id", "what", "state", "tries", "status"]
    assert [row[1:5] for row in rows] == [
        ["vtt", "delivered", "1", "200"],
        ["txt", "dead", "1", "400"],
    ]
    assert f"{to.url}/txt" in result.stdout
    assert "The receiver answered 400." in result.stdout
    assert "hush" not in result.stdout


async def test_what_did_not_arrive_is_sent_again(
    server: Server, secrets: tuple[str, str], tmp_path: Path
) -> None:
    names, refused = ("vtt", "txt", "meta"), Reply(400)
    async with delivered(server, secrets, tmp_path, *names, txt=refused) as (job, to, end):
        to.always.clear()
        result = await run("redeliver", job["id"])
        again = await end()
        states = await listed(job)

    assert (result.exit_code, job["state"], again["state"]) == (0, "failed", "finished")
    assert states == [(name, "delivered") for name in names]
    assert {path: len(to.at(path)) for path in ("/vtt", "/txt", "/meta")} == {
        "/vtt": 1,
        "/txt": 2,
        "/meta": 2,
    }


async def test_one_that_arrived_is_sent_again_by_name(
    server: Server, secrets: tuple[str, str], tmp_path: Path
) -> None:
    async with delivered(server, secrets, tmp_path, "vtt", "txt") as (job, to, end):
        nothing = await run("redeliver", job["id"])
        unknown = await run("redeliver", job["id"], "--only", "srt")
        result = await run("redeliver", job["id"], "--only", "vtt")
        await end()
        assert (len(to.at("/vtt")), len(to.at("/txt"))) == (2, 1)

    assert result.exit_code == 0
    assert nothing.exit_code == ExitCode.CONFLICT
    assert unknown.exit_code == ExitCode.NOT_FOUND
    assert "has arrived" in nothing.stderr
    assert "no delivery called 'srt'" in unknown.stderr


async def test_fresh_urls_take_the_place_of_expired_ones(
    server: Server, secrets: tuple[str, str], tmp_path: Path
) -> None:
    async with delivered(server, secrets, tmp_path, "txt", txt=Reply(403)) as (job, to, end):
        result = await run("redeliver", job["id"], "--to", f"txt={to.url}/fresh?secret=hush")
        again = await end()
        assert len(to.at("/fresh")) == 1

    assert (job["state"], again["state"], again["attempt"]) == ("expired", "finished", 1)
    assert result.exit_code == 0
    assert "hush" not in result.output


async def test_a_job_without_outputs_says_so(
    server: Server, secrets: tuple[str, str], tmp_path: Path
) -> None:
    async with delivered(server, secrets, tmp_path) as (job, _, _):
        result = await run("deliveries", job["id"])
    assert result.stdout == "This job has nothing to deliver.\n"
