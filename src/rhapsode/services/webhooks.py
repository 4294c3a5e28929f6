"""Webhook endpoints: whom a user wants to be told of what, and how they are told."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from urllib.parse import urlsplit
from uuid import UUID

from rhapsode.database import deliveries as deliveries_table
from rhapsode.database import webhooks as table
from rhapsode.database.deliveries import DeliveryFilter
from rhapsode.database.engine import Transaction
from rhapsode.domain.audit import Action
from rhapsode.domain.deliveries import (
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    Endpoint,
    EndpointId,
    Event,
    SigningKey,
)
from rhapsode.domain.errors import Conflict, Invalid, NotFound
from rhapsode.domain.urls import checked_web_url, destination, shown
from rhapsode.domain.users import User, UserId
from rhapsode.domain.webhooks import (
    JOB_EVENTS,
    KEY_BYTES,
    MOST_ENDPOINTS,
    key_of,
    message,
    rotated,
)
from rhapsode.services import audit, idempotency, outbox
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.idempotency import Once

BY_OWNER = "Switched off by its owner."
GONE = "The receiver answered 410 Gone: it wants no more of these."


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """An endpoint and its newest signing key, which is shown this once."""

    endpoint: Endpoint
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of an endpoint; None leaves it as it is."""

    url: str | None = None
    description: str | None = None
    events: tuple[Event, ...] | None = None
    enabled: bool | None = None


def not_found() -> NotFound:
    """There is no such endpoint, or the asker may not know of it."""
    return NotFound("webhook_not_found", "There is no such webhook endpoint.")


async def create(
    context: Context,
    user: User,
    url: str,
    *,
    description: str = "",
    events: Collection[Event] = JOB_EVENTS,
    request: Once | None = None,
) -> NewEndpoint:
    """Add an endpoint; its signing key is returned this once."""
    _ensure_usable(context, url)
    endpoint = Endpoint(
        id=EndpointId(new_id()),
        user_id=user.id,
        url=url,
        description=description,
        events=_checked(events),
        secrets=(SigningKey(_new_key()),),
        created_at=now(),
    )
    async with context.database.write() as transaction:
        await _ensure_room(transaction, user.id)
        await table.insert(transaction.connection, endpoint)
        await idempotency.record(transaction, request, endpoint.id)
        await _note(transaction, Action.WEBHOOK_CREATED, endpoint, user.id)
    return NewEndpoint(endpoint, endpoint.secrets[0].secret)


def _ensure_usable(context: Context, url: str) -> None:
    checked_web_url(url, "The webhook's URL")
    words = context.policy.refusal_of_host(urlsplit(url).hostname or "")
    if words is not None:
        raise Invalid(
            "webhook_address",
            f"{shown(url)} leads to {words}, which is not spoken to.",
            hint="Use a public address, or have the operator allow its network with the "
            "setting outbound.allow_networks.",
        )


def _checked(events: Collection[Event]) -> tuple[Event, ...]:
    chosen = tuple(event for event in JOB_EVENTS if event in events)
    if not chosen or len(chosen) != len(set(events)):
        raise Invalid(
            "webhook_events",
            "An endpoint subscribes to one event or more of those of jobs.",
            hint=f"There are: {', '.join(JOB_EVENTS)}.",
        )
    return chosen


def _new_key() -> str:
    return key_of(secrets.token_bytes(KEY_BYTES))


async def _ensure_room(transaction: Transaction, user_id: UserId) -> None:
    await table.lock_owner(transaction.connection, user_id)
    if await table.count_of(transaction.connection, user_id) >= MOST_ENDPOINTS:
        raise Conflict(
            "too_many_webhooks",
            f"There are {MOST_ENDPOINTS} webhook endpoints already.",
            hint="Delete one that is not needed any more.",
        )


async def _note(
    transaction: Transaction, action: Action, endpoint: Endpoint, actor_id: UserId | None
) -> None:
    await audit.record(
        transaction,
        action,
        endpoint.id,
        actor_id=actor_id,
        url=shown(endpoint.url),
        events=[str(event) for event in endpoint.events],
        disabled_reason=endpoint.disabled_reason,
    )


async def all_of(context: Context, user: User) -> list[Endpoint]:
    """A user's endpoints, newest first."""
    async with context.database.read() as connection:
        return await table.all_of(connection, user.id)


async def get(context: Context, user: User, endpoint_id: EndpointId) -> Endpoint:
    """One of a user's endpoints; NotFound if it is not theirs."""
    async with context.database.read() as connection:
        found = await table.get(connection, endpoint_id, user.id)
    if found is None:
        raise not_found()
    return found


async def change(
    context: Context, user: User, endpoint_id: EndpointId, wanted: Change
) -> Endpoint:
    """Give an endpoint another URL, description or events; switch it off, or on again."""
    if wanted.url is not None:
        _ensure_usable(context, wanted.url)
    async with context.database.write() as transaction:
        found = await _locked(transaction, endpoint_id, user.id)
        changed = _changed(found, wanted)
        await table.save(transaction.connection, changed)
        await _note(transaction, Action.WEBHOOK_CHANGED, changed, user.id)
    return changed


def _changed(endpoint: Endpoint, wanted: Change) -> Endpoint:
    reason = endpoint.disabled_reason
    if wanted.enabled is not None:
        reason = None if wanted.enabled else reason or BY_OWNER
    return replace(
        endpoint,
        url=endpoint.url if wanted.url is None else wanted.url,
        description=(
            endpoint.description if wanted.description is None else wanted.description
        ),
        events=endpoint.events if wanted.events is None else _checked(wanted.events),
        disabled_reason=reason,
    )


async def _locked(
    transaction: Transaction, endpoint_id: EndpointId, user_id: UserId
) -> Endpoint:
    found = await table.lock(transaction.connection, endpoint_id, user_id)
    if found is None:
        raise not_found()
    return found


async def rotate(
    context: Context, user: User, endpoint_id: EndpointId, *, request: Once | None = None
) -> NewEndpoint:
    """Give an endpoint a new signing key; the one before signs along for a day."""
    key = _new_key()
    async with context.database.write() as transaction:
        found = await _locked(transaction, endpoint_id, user.id)
        changed = replace(found, secrets=rotated(found.secrets, key, now()))
        await table.save(transaction.connection, changed)
        await idempotency.record(transaction, request, endpoint_id)
        await _note(transaction, Action.WEBHOOK_ROTATED, changed, user.id)
    return NewEndpoint(changed, key)


async def delete(context: Context, user: User, endpoint_id: EndpointId) -> None:
    """Remove an endpoint, and with it what was not sent there yet."""
    async with context.database.write() as transaction:
        found = await _locked(transaction, endpoint_id, user.id)
        await table.delete(transaction.connection, endpoint_id, user.id)
        await _note(transaction, Action.WEBHOOK_DELETED, found, user.id)


async def disable(context: Context, endpoint: Endpoint, reason: str) -> None:
    """Send nothing there any more, until its owner switches it on again."""
    async with context.database.write() as transaction:
        if await table.disable(transaction.connection, endpoint, reason):
            off = replace(endpoint, disabled_reason=reason)
            await _note(transaction, Action.WEBHOOK_DISABLED, off, None)


async def send_test(
    context: Context, user: User, endpoint_id: EndpointId, *, request: Once | None = None
) -> Delivery:
    """Send an event that means nothing, the way of all events; it is tried again likewise."""

    async def make() -> Delivery:
        return await _test(context, user, endpoint_id, request)

    async def recall(delivery_id: UUID) -> Delivery:
        async with context.database.read() as connection:
            found = await deliveries_table.get(connection, DeliveryId(delivery_id), user.id)
        if found is None:
            raise not_found()
        return found

    return await idempotency.create_once(context, request, make, recall)


async def _test(
    context: Context, user: User, endpoint_id: EndpointId, request: Once | None
) -> Delivery:
    async with context.database.write() as transaction:
        endpoint = await _locked(transaction, endpoint_id, user.id)
        if endpoint.disabled_reason is not None:
            raise Conflict(
                "webhook_disabled",
                f"Nothing is sent to this endpoint. {endpoint.disabled_reason}",
                hint="Switch it on again first.",
            )
        made = _test_delivery(endpoint)
        await outbox.post(transaction, made)
        await idempotency.record(transaction, request, made.id)
    return made


def _test_delivery(endpoint: Endpoint) -> Delivery:
    moment = now()
    return Delivery(
        id=DeliveryId(new_id()),
        user_id=endpoint.user_id,
        job_id=None,
        endpoint_id=endpoint.id,
        kind=DeliveryKind.WEBHOOK,
        subject=Event.TEST,
        destination=destination(endpoint.url),
        payload=message(Event.TEST, moment, {"endpoint_id": str(endpoint.id)}),
        state=DeliveryState.PENDING,
        next_at=moment,
        created_at=moment,
    )


async def deliveries(
    context: Context,
    user: User,
    endpoint_id: EndpointId,
    before: DeliveryId | None,
    limit: int,
) -> list[Delivery]:
    """The newest deliveries to an endpoint, at most `limit`."""
    await get(context, user, endpoint_id)
    wanted = DeliveryFilter(user_id=user.id, endpoint_id=endpoint_id, before=before)
    async with context.database.read() as connection:
        return await deliveries_table.page(connection, wanted, limit)
