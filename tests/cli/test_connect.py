"""Which server and which key the client commands use, and that a key is not leaked."""

import stat

import pytest
from typer.testing import CliRunner

from rhapsode.cli.app import app
from rhapsode.cli.connect import Login, login_file, resolve, save_login, saved_login

KEPT = Login("https://speech.example", "rhk_kept")


def test_a_kept_login_is_readable_by_its_owner_only() -> None:
    path = save_login(Login("https://other.example", "rhk_old"))
    path.chmod(0o644)
    save_login(KEPT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert saved_login() == KEPT


@pytest.mark.parametrize(
    ("server", "api_key", "expected"),
    [
        (None, None, KEPT),
        ("https://speech.example/", None, KEPT),
        ("https://elsewhere.example", None, Login("https://elsewhere.example", None)),
        (None, "rhk_given", Login("https://speech.example", "rhk_given")),
        ("http://a", "rhk_given", Login("http://a", "rhk_given")),
    ],
)
def test_a_kept_key_goes_to_its_own_server_only(
    server: str | None, api_key: str | None, expected: Login
) -> None:
    save_login(KEPT)
    assert resolve(server, api_key) == expected


def test_without_anything_the_server_is_this_machine() -> None:
    assert resolve(None, None) == Login("http://127.0.0.1:8080", None)


def test_without_a_key_the_hint_says_how_to_get_one() -> None:
    result = CliRunner().invoke(app, ["jobs"])
    assert result.exit_code == 4
    assert result.stderr.startswith(
        "error: There is no API key for http://127.0.0.1:8080. hint:"
    )


def test_a_server_that_is_not_there_is_5() -> None:
    result = CliRunner().invoke(
        app, ["jobs", "--server", "http://127.0.0.1:9", "--api-key", "x"]
    )
    assert result.exit_code == 5
    assert "http://127.0.0.1:9 cannot be reached" in result.stderr


def test_a_damaged_login_is_named() -> None:
    login_file().parent.mkdir(parents=True)
    login_file().write_text("{")
    result = CliRunner().invoke(app, ["jobs"])
    assert result.exit_code == 1
    assert f"{login_file()} is damaged" in result.stderr


def test_logging_out_forgets_the_key() -> None:
    path = save_login(KEPT)
    assert CliRunner().invoke(app, ["logout"]).exit_code == 0
    assert not path.exists()
    assert CliRunner().invoke(app, ["logout"]).exit_code == 0
