"""Jobs by the command line: listed, shown, canceled, deleted, by shortened ids."""

import json

import pytest
from typer.testing import CliRunner, Result

from rhapsode.cli.app import app
from tests.cli.pretend import TEXT, Server, connected

ONE = "019aa001-0000-7000-8000-00000000aaaa"
TWO = "019aa001-0000-7000-8000-00000000bbbb"
THREE = "019bb002-0000-7000-8000-00000000cccc"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = connected(Server(), monkeypatch)
    made.add("one.mp3", "finished", ONE)
    made.add("two.mp3", "queued", TWO)
    made.add("three.mp3", "failed", THREE)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def states(server: Server) -> list[str]:
    return [job["state"] for job in server.jobs.values()]


def test_jobs_are_a_table_for_people(server: Server) -> None:
    result = run("jobs")
    rows = [line.split()[:4] for line in result.stdout.splitlines()]
    assert rows == [
        ["id", "name", "state", "model"],
        ["00000000aaaa", "one.mp3", "finished", "base"],
        ["00000000bbbb", "two.mp3", "queued", "base"],
        ["00000000cccc", "three.mp3", "failed", "base"],
    ]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], [ONE, TWO, THREE]),
        (["--state", "queued", "--state", "failed"], [TWO, THREE]),
        (["--limit", "2"], [ONE, TWO]),
    ],
)
def test_jobs_are_json_for_scripts(server: Server, options: list[str], ids: list[str]) -> None:
    assert [job["id"] for job in json.loads(run("jobs", "--json", *options).stdout)] == ids


def test_more_jobs_than_a_page_holds_are_paged_through(server: Server) -> None:
    for number in range(300):
        server.add(f"{number}.mp3")
    assert len(json.loads(run("jobs", "--json", "--limit", "250").stdout)) == 250


@pytest.mark.parametrize(
    "text", [ONE, ONE.upper(), "00000000aaaa", "aaaa", "019aa001-0000-7000-8000-00000000a"]
)
def test_an_id_may_be_its_beginning_or_its_end(server: Server, text: str) -> None:
    assert json.loads(run("show", text, "--json").stdout)["id"] == ONE


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("019aa001", 1, f"'019aa001' fits 2 jobs: {ONE}, {TWO}."),
        ("dddd", 3, "No job of yours has an id like 'dddd'."),
        ("aaa", 1, "'aaa' is too short for an id."),
        ("019aa001-0000-7000-8000-000000000000", 3, "There is no such job."),
    ],
)
def test_an_id_that_is_not_one_job(server: Server, text: str, code: int, message: str) -> None:
    result = run("show", text)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"error: {message}")


def test_show_prints_a_transcript_and_nothing_else(server: Server) -> None:
    assert run("show", "aaaa", "--format", "srt").stdout == TEXT["srt"]


def test_show_is_a_table_for_people(server: Server) -> None:
    lines = [line.split() for line in run("show", "aaaa").stdout.splitlines()]
    assert ["job", ONE] in lines
    assert ["engine", "faster-whisper/base"] in lines


def test_a_job_that_cannot_be_canceled_does_not_stop_the_others(server: Server) -> None:
    result = run("cancel", "aaaa", "bbbb")
    assert states(server) == ["finished", "canceled", "failed"]
    assert (result.exit_code, result.stderr) == (6, "error: aaaa: The job is finished.\n")


def test_failures_of_different_kinds_are_1(server: Server) -> None:
    assert run("cancel", "aaaa", "dddd").exit_code == 1


def test_retry_queues_again(server: Server) -> None:
    result = run("retry", "cccc", "--json")
    assert states(server) == ["finished", "queued", "queued"]
    assert [(item["id"], item["error"]) for item in json.loads(result.stdout)] == [
        ("cccc", None)
    ]


def test_delete_removes(server: Server) -> None:
    assert run("delete", "aaaa", "cccc").exit_code == 0
    assert list(server.jobs) == [TWO]


def test_a_retry_takes_fresh_urls(server: Server) -> None:
    fresh = ("--input", "https://a.org/b?new", "--output", "vtt=https://a.org/c?new")
    result = run("retry", THREE, *fresh)
    assert result.exit_code == 0
    assert server.bodies == [
        {
            "input": {"url": "https://a.org/b?new"},
            "outputs": {"vtt": "https://a.org/c?new"},
        }
    ]


def test_fresh_urls_are_for_one_job(server: Server) -> None:
    result = run("retry", ONE, THREE, "--input", "https://a.org/b")
    assert (result.exit_code, server.bodies) == (2, [])


def test_show_tells_what_was_sent_and_what_was_not(server: Server) -> None:
    sent = {"id": ONE, "kind": "artifact", "url": "https://a.org/c"}
    server.deliveries = [
        {**sent, "subject": "vtt", "state": "delivered"},
        {**sent, "subject": "txt", "state": "dead", "error": "It answered 400."},
    ]
    lines = [" ".join(line.split()) for line in run("show", ONE).stdout.splitlines()]
    assert "deliveries 1 of 2 arrived" in lines
    assert "txt dead: It answered 400." in lines
