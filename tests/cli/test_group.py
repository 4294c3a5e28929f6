"""Every failure is one line and an exit code that means something."""

import pytest
import typer
from typer.testing import CliRunner

from rhapsode.cli.exits import ExitCode, code_of, combined
from rhapsode.cli.group import Group
from rhapsode.domain.errors import (
    Conflict,
    Denied,
    DomainError,
    Invalid,
    Limited,
    NotFound,
    Unavailable,
)
from rhapsode.settings import Problem, SettingsError


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=Group, pretty_exceptions_enable=False)
    inner = typer.Typer(cls=Group)
    app.add_typer(inner, name="inner")

    @app.callback()
    def root(*, debug: bool = False) -> None:
        pass

    @app.command()
    @inner.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize("path", [["fail"], ["inner", "fail"]])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (NotFound, 3),
        (Conflict, 6),
        (Invalid, 1),
        (Denied, 4),
        (Limited, 1),
        (Unavailable, 5),
    ],
)
def test_domain_errors_have_their_codes(
    kind: type[DomainError], code: int, path: list[str]
) -> None:
    app = app_that_raises(kind("code", "It is [bold]so[/bold].", hint="Do\nthis."))
    result = CliRunner().invoke(app, path)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == "error: It is [bold]so[/bold]. hint: Do this.\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, ""),
        (FileNotFoundError(2, "No such file", "x.mp3"), 1, "error: x.mp3: No such file.\n"),
        (
            SettingsError([Problem("c.yml:1", "server.prt", "is unknown.", "port?")]),
            78,
            "error: c.yml:1: server.prt: is unknown. hint: port?\n",
        ),
        (
            ZeroDivisionError("oh"),
            1,
            (
                "error: A fault in Rhapsode: ZeroDivisionError: oh hint: "
                "`rhapsode --debug …` shows where; please report it.\n"
            ),
        ),
        (typer.Exit(7), 7, ""),
    ],
)
def test_other_failures(error: BaseException, code: int, line: str) -> None:
    result = CliRunner().invoke(app_that_raises(error), ["fail"])
    assert (result.exit_code, result.stderr) == (code, line)


def test_debug_keeps_the_failure_as_it_is() -> None:
    result = CliRunner().invoke(app_that_raises(NotFound("x", "y")), ["--debug", "fail"])
    assert isinstance(result.exception, NotFound)


def test_usage_errors_are_2() -> None:
    result = CliRunner().invoke(app_that_raises(NotFound("x", "y")), ["fall"])
    assert result.exit_code == ExitCode.USAGE
    assert "Did you mean 'fail'?" in result.stderr


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 3], 3), ([3, 5], 1), ([1, 0], 1)],
)
def test_several_pieces_of_work_share_one_code(codes: list[int], code: int) -> None:
    assert combined(map(ExitCode, codes)) == code


def test_every_kind_of_error_has_a_code() -> None:
    assert all(code_of(kind("x", "y")) for kind in DomainError.__subclasses__())
