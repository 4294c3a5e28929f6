"""Addresses, passwords, roles."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from rhapsode.domain.errors import Denied, Invalid
from rhapsode.domain.users import (
    Role,
    User,
    UserId,
    clean_email,
    ensure_admin,
    ensure_password,
)


def test_addresses_are_compared_in_lower_case() -> None:
    assert clean_email("  Ada@Example.ORG ") == "ada@example.org"


@pytest.mark.parametrize(
    "text", ["", "ada", "@example.org", "ada@", "a da@x", "a@" + "x" * 260]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        clean_email(text)

    assert refusal.value.code == "email"


@pytest.mark.parametrize("length", [12, 1024])
def test_lengths_of_passwords(length: int) -> None:
    ensure_password("x" * length)


@pytest.mark.parametrize("length", [0, 11, 1025])
def test_refused_lengths_of_passwords(length: int) -> None:
    with pytest.raises(Invalid, match=f"this one has {length}"):
        ensure_password("x" * length)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.SPEAKER])
def test_only_an_administrator_administers(role: Role) -> None:
    user = User(id=UserId(uuid4()), email="a@b", role=role, created_at=datetime.now(UTC))

    with pytest.raises(Denied, match="Only an administrator"):
        ensure_admin(user)
