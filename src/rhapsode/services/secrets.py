"""Secrets: made, hashed, compared. Nothing here stores or logs one."""

import asyncio
import hashlib
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

API_KEY_PREFIX = "rhk_"
RUNNER_TOKEN_PREFIX = "rhr_"  # noqa: S105 (a prefix, not a secret)
LOGIN_PREFIX = "rhl_"

_hasher = PasswordHasher()
_hashing = asyncio.Semaphore(2)
"""Argon2id takes 64 MiB a time: unbounded, a burst of logins would take the memory."""


def new_secret(prefix: str) -> str:
    """A random secret of 256 bits, recognisable by its prefix."""
    return prefix + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """SHA-256: enough for what is random, and fast enough for every request."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_password() -> str:
    """A random password that a person can copy."""
    return secrets.token_urlsafe(15)


async def hash_password(password: str) -> str:
    """Argon2id, with the library's current parameters."""
    async with _hashing:
        return await asyncio.to_thread(_hasher.hash, password)


async def verify_password(stored: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed.

    Takes as long for an account that does not exist, so that the time tells nothing.
    """
    hashed = stored or _NOBODY
    async with _hashing:
        return await asyncio.to_thread(_verify, hashed, password) and stored is not None


def needs_rehash(stored: str) -> bool:
    """Whether the parameters have moved on since this was hashed."""
    return _hasher.check_needs_rehash(stored)


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


_NOBODY = _hasher.hash(secrets.token_urlsafe(16))
