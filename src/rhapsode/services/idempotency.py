"""Idempotency keys: the same request sent twice makes one thing."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from rhapsode.database import idempotency
from rhapsode.database.engine import Transaction
from rhapsode.database.idempotency import KeyTaken, Used
from rhapsode.domain.errors import Conflict, Invalid
from rhapsode.domain.users import UserId
from rhapsode.services.context import Context, now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Once:
    """A request that shall count once: whose, under which key, and what it asks for."""

    user_id: UserId
    key: str
    fingerprint: str


def once(user_id: UserId, key: str | None, *asked: str) -> Once | None:
    """The identity of a request; None where the client sent no key."""
    if key is None:
        return None
    if not 1 <= len(key) <= 255:
        raise Invalid("idempotency_key", "An Idempotency-Key has 1 to 255 characters.")
    return Once(user_id, key, hashlib.sha256("\0".join(asked).encode()).hexdigest())


async def earlier(context: Context, request: Once | None) -> UUID | None:
    """What the same request made before; Invalid if the key stood for another request."""
    if request is None:
        return None
    async with context.database.read() as connection:
        used = await idempotency.get(connection, request.user_id, request.key)
    if used is not None and used.fingerprint != request.fingerprint:
        raise reused()
    return None if used is None else used.resource_id


def reused() -> Invalid:
    """The key stood for another request."""
    return Invalid(
        "idempotency_key_reused",
        "This Idempotency-Key was used for a different request.",
        hint="Use a fresh key for a new request.",
    )


async def record(transaction: Transaction, request: Once | None, resource_id: UUID) -> None:
    """Note, in the transaction that makes the resource, which request made it."""
    if request is not None:
        used = Used(request.fingerprint, resource_id)
        await idempotency.insert(
            transaction.connection, request.user_id, request.key, used, now()
        )


async def create_once(
    context: Context,
    request: Once | None,
    create: Callable[[], Awaitable[T]],
    recall: Callable[[UUID], Awaitable[T]],
) -> T:
    """Create, or recall what the same request created, even when both run at once."""
    found = await earlier(context, request)
    if found is not None:
        return await recall(found)
    try:
        return await create()
    except KeyTaken:
        found = await earlier(context, request)
        if found is None:
            raise Conflict(
                "idempotency_key_busy", "The same request is being served."
            ) from None
        return await recall(found)


async def create_unshown(
    context: Context, request: Once | None, create: Callable[[], Awaitable[T]]
) -> T:
    """Create what shows a secret; that is not kept, so it cannot be recalled."""

    async def recall(_found: UUID) -> T:
        raise Conflict(
            "secret_already_shown",
            "This request was served before, and its secret is not kept.",
            hint="Delete what it made, and ask again with a fresh Idempotency-Key.",
        )

    return await create_once(context, request, create, recall)
