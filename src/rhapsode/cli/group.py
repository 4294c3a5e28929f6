"""Where every failure becomes one line and an exit code."""

import asyncio
from typing import Any

import typer
from typer.core import TyperGroup

from rhapsode.cli.exits import ExitCode, code_of
from rhapsode.cli.output import error_line
from rhapsode.domain.errors import DomainError


class Group(TyperGroup):
    """Commands whose failures are told in a sentence; `--debug` keeps the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure that it can explain ends it with its exit code."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            if ctx.parent is not None or ctx.params.get("debug"):
                raise
            code = _told(error)
            if code is None:
                raise
            raise typer.Exit(code) from None


def _told(error: BaseException) -> ExitCode | None:
    """Tell what went wrong; None where somebody else does (usage errors, exits, pipes)."""
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        return ExitCode.INTERRUPTED
    if isinstance(error, DomainError):
        error_line(error.message, error.hint)
        return code_of(error)
    if type(error).__name__ == "SettingsError":  # not imported: it takes long
        for problem in error.problems:  # type: ignore[attr-defined]
            named = f"{problem.key}: " if problem.key else ""
            error_line(f"{problem.where}: {named}{problem.message}", problem.hint)
        return ExitCode.SETTINGS
    return _told_by_python(error)


def _told_by_python(error: BaseException) -> ExitCode | None:
    if isinstance(error, BrokenPipeError) or type(error).__module__.startswith("typer"):
        return None
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        error_line(f"{name}{error.strerror}.")
        return ExitCode.FAILED
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("rhapsode"):
        error_line(
            f"This command needs the package '{error.name}', which is not installed here.",
            "`pip install rhapsode` installs all that is needed, not only what a runner needs.",
        )
        return ExitCode.FAILED
    error_line(
        f"A fault in Rhapsode: {type(error).__name__}: {error}",
        "`rhapsode --debug …` shows where; please report it.",
    )
    return ExitCode.FAILED
