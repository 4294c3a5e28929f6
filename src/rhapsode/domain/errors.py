"""The errors that the product can tell a person about.

DomainError
├── NotFound      nothing here has that id
├── Conflict      it is there, but not in a state that allows this
├── Invalid       what was sent cannot be used as it is
├── Denied        who is asking may not do this
├── Limited       a limit of size, space or rate was reached
└── Unavailable   something that this needs does not answer
"""

from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """The families of errors; each surface maps them to its own status codes."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    DENIED = "denied"
    LIMITED = "limited"
    UNAVAILABLE = "unavailable"


class DomainError(Exception):
    """A refusal with a stable code for programs and a sentence for people.

    `message` says what is wrong and where; `hint` says what to do about it.
    """

    kind: ClassVar[Kind]

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.message, self.hint))


def _rebuild(
    cls: type["DomainError"], code: str, message: str, hint: str | None
) -> "DomainError":
    return cls(code, message, hint=hint)


class NotFound(DomainError):
    """Nothing has that id, or the asker may not know that it exists."""

    kind = Kind.NOT_FOUND


class Conflict(DomainError):
    """The thing exists, but its state does not allow what was asked."""

    kind = Kind.CONFLICT


class Invalid(DomainError):
    """What was sent cannot be used as it is."""

    kind = Kind.INVALID


class Denied(DomainError):
    """Who is asking is unknown, or may not do this."""

    kind = Kind.DENIED


class Limited(DomainError):
    """A limit of size, space or rate was reached."""

    kind = Kind.LIMITED


class Unavailable(DomainError):
    """Something that this needs does not answer; trying again later can help."""

    kind = Kind.UNAVAILABLE
