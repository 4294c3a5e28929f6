"""Accounts and tokens in a real database, before any server has ever run."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rhapsode.cli.app import app

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("RHAPSODE_DATA", str(folder))
    return folder


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def documents(*arguments: str, stdin: str | None = None) -> Any:
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_migrate_makes_the_database(data: Path) -> None:
    result = run("migrate")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (data / "rhapsode.db").is_file()


def test_an_account_is_made_with_a_password_that_is_shown_once() -> None:
    made = documents("user", "create", "Ada@Example.org", "--role", "admin")
    assert (made["email"], made["role"]) == ("ada@example.org", "admin")
    assert len(made["password"]) >= 12
    (listed,) = documents("user", "list")
    assert listed == {key: made[key] for key in ("id", "email", "role", "created_at")}


def test_a_given_password_is_not_printed(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    by_file = run("user", "create", "ada@example.org", "--password-file", str(file))
    by_stdin = run("user", "create", "bob@example.org", "--password-file", "-", stdin=PASSWORD)
    assert [by_file.exit_code, by_stdin.exit_code] == [0, 0]
    assert PASSWORD not in by_file.output + by_stdin.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["user", "create", "ada@example.org"], 6, "There is an account for ada@example.org"),
        (["user", "create", "ada"], 1, "'ada' is not an e-mail address."),
        (["user", "create", "bob@example.org", "--role", "king"], 2, ""),
        (["user", "delete", "bob@example.org"], 3, "There is no account for bob@example.org."),
        (["token", "create", "--api-key", "a", "--user", "bob@x"], 3, "There is no account"),
        (["token", "create", "--api-key", "a"], 3, "There is no administrator yet."),
        (["token", "create"], 2, ""),
        (["token", "create", "--api-key", "a", "--runner", "b"], 2, ""),
        (["token", "revoke", ""], 1, "'' is too short for an id."),
        (["token", "revoke", "abc"], 1, "'abc' is too short for an id."),
        (["token", "create", "--runner", ""], 1, "A name has 1 to 100 characters"),
        (
            ["token", "create", "--api-key", "a" * 101, "--user", "ada@example.org"],
            1,
            "A name has 1 to 100 characters; this one has 101.",
        ),
        (["migrate", "--revision", "nonsense"], 1, "There is no revision 'nonsense'"),
        (["token", "revoke", "12345678"], 3, "No API key or runner token is like '12345678'."),
    ],
)
def test_refusals(arguments: list[str], code: int, message: str) -> None:
    documents("user", "create", "ada@example.org")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_a_password_is_asked_for_twice() -> None:
    documents("user", "create", "ada@example.org")
    command = ("user", "password", "ada@example.org")
    assert run(*command, stdin=f"{PASSWORD}\n{PASSWORD}\n").exit_code == 0
    short = run(*command, stdin="short\nshort\n")
    assert short.exit_code == 1
    assert "12 to 1024 characters" in short.stderr


def test_an_account_can_be_deleted() -> None:
    documents("user", "create", "ada@example.org")
    assert run("user", "delete", "ada@example.org").exit_code == 0
    assert documents("user", "list") == []


def test_the_last_administrator_stays() -> None:
    documents("user", "create", "ada@example.org", "--role", "admin")
    documents("user", "create", "bob@example.org")
    refused = run("user", "delete", "ada@example.org")
    assert (refused.exit_code, "the only administrator's" in refused.stderr) == (6, True)
    documents("user", "create", "cleo@example.org", "--role", "admin")
    assert run("user", "delete", "ada@example.org").exit_code == 0


def test_going_down_is_asked_for() -> None:
    documents("user", "create", "ada@example.org")
    down = ("migrate", "--revision", "base")
    asked, denied = run(*down), run(*down, stdin="n\n")
    assert (asked.exit_code, denied.exit_code) == (1, 1)
    assert "drops tables" in denied.stderr
    assert len(documents("user", "list")) == 1
    assert run(*down, stdin="y\n").exit_code == 0
    assert documents("user", "list") == []
    assert run(*down, "--yes").exit_code == 0


def test_tokens_are_printed_once_listed_and_revoked() -> None:
    documents("user", "create", "ada@example.org", "--role", "admin")
    key = run("token", "create", "--api-key", "laptop").stdout
    token = documents("token", "create", "--runner", "gpu-1")
    assert (key[:4], key[-1], token["secret"][:4]) == ("rhk_", "\n", "rhr_")
    listed = documents("token", "list")
    assert [(row["kind"], row["name"], row["user"]) for row in listed] == [
        ("api-key", "laptop", "ada@example.org"),
        ("runner", "gpu-1", None),
    ]
    assert token["secret"] not in json.dumps(listed)
    assert run("token", "revoke", listed[1]["id"][-12:]).exit_code == 0
    assert [row["name"] for row in documents("token", "list")] == ["laptop"]


def test_tables_are_for_people() -> None:
    documents("user", "create", "ada@example.org", "--role", "admin")
    run("token", "create", "--api-key", "laptop")
    (header, row) = (line.split() for line in run("token", "list").stdout.splitlines())
    assert header == ["id", "kind", "name", "user", "created"]
    assert row[1:4] == ["api-key", "laptop", "ada@example.org"]
    assert run("user", "list").stdout.split()[:4] == ["email", "role", "created", "id"]


def test_the_openapi_document_needs_no_settings(data: Path) -> None:
    document = json.loads(run("openapi").stdout)
    assert "/api/jobs" in document["paths"]
    assert not data.exists()
