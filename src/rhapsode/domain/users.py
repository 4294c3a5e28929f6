"""Users, what they may do, and the secrets by which they are known."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from rhapsode.domain.errors import Denied, Invalid

UserId = NewType("UserId", UUID)
KeyId = NewType("KeyId", UUID)

MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_CHARACTERS = 1024


class Role(StrEnum):
    """A member transcribes, a speaker also records, an admin also administers."""

    MEMBER = "member"
    SPEAKER = "speaker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person with an account."""

    id: UserId
    email: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A person's or program's bearer secret, of which only the name and the hash are kept."""

    id: KeyId
    user_id: UserId
    name: str
    created_at: datetime


MAX_LABEL_CHARACTERS = 100


def ensure_label(name: str) -> None:
    """Invalid unless it can be the name of an API key or a runner token."""
    if not 1 <= len(name) <= MAX_LABEL_CHARACTERS:
        raise Invalid(
            "name_length",
            f"A name has 1 to {MAX_LABEL_CHARACTERS} characters; this one has {len(name)}.",
        )


def ensure_admin(user: User) -> None:
    """Denied unless the user is an administrator."""
    if user.role is not Role.ADMIN:
        raise Denied("admin_only", "Only an administrator may do this.")


def clean_email(email: str) -> str:
    """The address in the form in which accounts are compared; Invalid without an `@`."""
    text = email.strip().lower()
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or len(text) > 254 or any(c.isspace() for c in text):
        raise Invalid("email", f"'{email[:80]}' is not an e-mail address.")
    return text


def ensure_password(password: str) -> None:
    """Invalid unless the length is acceptable; character classes play no part."""
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise Invalid(
            "password_length",
            f"A password needs {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} "
            f"characters; this one has {len(password)}.",
        )
