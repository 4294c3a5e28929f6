"""`rhapsode settings`: every value with its origin, no secret, no guess."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rhapsode.cli.app import app
from rhapsode.settings import LEAVES

SECRET = "correct horse battery"


def test_check_prints_every_value_and_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("server:\n  port: 81\ndatabase:\n  url: postgresql://me:pw@db/x\n")
    result = CliRunner().invoke(
        app,
        ["settings", "check", "--config", str(file), "--json"],
        env={"RHAPSODE_ADMIN__PASSWORD": SECRET},
    )
    rows = {row["key"]: (row["value"], row["from"]) for row in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert list(rows) == [".".join(key) for key in LEAVES]
    assert rows["server.port"] == (81, f"{file}:2")
    assert rows["server.host"] == ("127.0.0.1", "default")
    assert rows["admin.password"] == ("**********", "RHAPSODE_ADMIN__PASSWORD")
    assert rows["database.url"] == ("postgresql://me:********@db/x", f"{file}:4")
    assert SECRET not in result.output


def test_check_prints_a_table_for_people() -> None:
    result = CliRunner().invoke(app, ["settings", "check"])
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["server.port", "8080", "default"] in lines
    assert ["models.hub", "true", "default"] in lines
    assert result.stderr == "The settings are fine.\n"


@pytest.mark.parametrize("command", [["settings", "check"], ["serve"], ["user", "list"]])
def test_a_mistake_ends_every_command_that_needs_settings(
    home: Path, command: list[str]
) -> None:
    file = home / ".config" / "rhapsode" / "config.yml"
    file.parent.mkdir(parents=True)
    file.write_text("server:\n  prot: 1\nadmin:\n  password_file: nowhere\n")
    secret = file.parent / "nowhere"
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == [
        f"error: {file}:2: server.prot: is an unknown key. hint: did you mean server.port?",
        (
            f"error: {file}:4: admin.password_file: the file {secret} cannot be read: "
            "No such file or directory."
        ),
    ]


def test_schema_is_a_json_schema_without_this_machine(home: Path) -> None:
    result = CliRunner().invoke(app, ["settings", "schema"])
    document = json.loads(result.stdout)
    assert document["additionalProperties"] is False
    assert list(document["properties"]) == list(dict.fromkeys(key[0] for key in LEAVES))
    assert str(home) not in result.stdout
