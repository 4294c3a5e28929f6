"""The commands that there are, and that naming them costs nothing."""

import json
import subprocess
import sys

from scripts.generate_docs import commands
from typer.testing import CliRunner

from rhapsode import __version__
from rhapsode.cli.app import app
from rhapsode.settings import OTHERS

COMMANDS = [
    *["serve", "runner", "transcribe", "submit", "jobs", "show", "cancel", "delete", "retry"],
    *[
        "models",
        "token",
        "user",
        "migrate",
        "settings",
        "openapi",
        "version",
        "login",
        "logout",
    ],
]
HEAVY = [
    "pydantic",
    "fastapi",
    "sqlalchemy",
    "numpy",
    "av",
    "faster_whisper",
    "huggingface_hub",
]


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert [name for name in COMMANDS if f" {name} " not in result.stdout] == []


def test_every_command_has_help() -> None:
    results = {name: CliRunner().invoke(app, [name, "--help"]).exit_code for name in COMMANDS}
    assert results == dict.fromkeys(COMMANDS, 0)


def test_version_is_plain_or_json() -> None:
    assert CliRunner().invoke(app, ["version"]).stdout == f"{__version__}\n"
    document = json.loads(CliRunner().invoke(app, ["version", "--json"]).stdout)
    assert document["rhapsode"] == __version__


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, rhapsode.cli.app\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_shells_can_complete() -> None:
    result = CliRunner().invoke(
        app,
        [],
        prog_name="rhapsode",
        env={
            "_RHAPSODE_COMPLETE": "complete_bash",
            "COMP_WORDS": "rhapsode set",
            "COMP_CWORD": "1",
        },
    )
    assert result.stdout.split() == ["settings"]


def test_the_settings_know_the_variables_of_the_command_line() -> None:
    named = {str(p.envvar) for _, command in commands() for p in command.params if p.envvar}
    ours = {name for name in named if name.startswith("RHAPSODE_")}
    assert ours - OTHERS.keys() == set()
