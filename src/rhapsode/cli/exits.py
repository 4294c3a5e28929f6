"""Exit codes that mean something; they are part of the interface and never change."""

from collections.abc import Iterable
from enum import IntEnum

from rhapsode.domain.errors import DomainError, Kind


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    SETTINGS = 78
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "It worked.",
    ExitCode.FAILED: "The work failed: the recording or the request cannot be used, a limit "
    "was reached, a job failed, or several things went wrong in different ways.",
    ExitCode.USAGE: "The command line is wrong.",
    ExitCode.NOT_FOUND: "Nothing here has that id or name.",
    ExitCode.DENIED: "The key or token is missing, wrong, or not allowed to do this.",
    ExitCode.UNAVAILABLE: "The server, or something that it needs, does not answer.",
    ExitCode.CONFLICT: "It exists, but its state does not allow this.",
    ExitCode.SETTINGS: "The settings cannot be used (EX_CONFIG of sysexits).",
    ExitCode.INTERRUPTED: "Ctrl-C.",
}

_BY_KIND = {
    Kind.NOT_FOUND: ExitCode.NOT_FOUND,
    Kind.CONFLICT: ExitCode.CONFLICT,
    Kind.INVALID: ExitCode.FAILED,
    Kind.DENIED: ExitCode.DENIED,
    Kind.LIMITED: ExitCode.FAILED,
    Kind.UNAVAILABLE: ExitCode.UNAVAILABLE,
}


def code_of(error: DomainError) -> ExitCode:
    """The exit code for an error."""
    return _BY_KIND[error.kind]


def combined(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of several pieces of work: the failures' own where they agree."""
    failures = set(codes) - {ExitCode.OK}
    if not failures:
        return ExitCode.OK
    return failures.pop() if len(failures) == 1 else ExitCode.FAILED
