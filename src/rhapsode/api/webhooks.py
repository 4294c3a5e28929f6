"""/api/webhooks: whom one wants to be told of what, with signing keys and a test button."""

from datetime import datetime
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from rhapsode.api.bodies import Answer, Asked, Page, page_of
from rhapsode.api.deliveries import DeliveryBody, delivery_body
from rhapsode.api.deps import Ctx, CurrentUser, IdempotencyKey, Limit
from rhapsode.api.errors import problems
from rhapsode.domain.deliveries import DeliveryId, Endpoint, EndpointId, Event
from rhapsode.domain.urls import MAX_URL_CHARACTERS, shown
from rhapsode.domain.webhooks import MAX_DESCRIPTION_CHARACTERS, signing
from rhapsode.services import webhooks
from rhapsode.services.context import now
from rhapsode.services.idempotency import create_unshown, once

router = APIRouter(prefix="/webhooks", tags=["webhooks"], responses=problems(401, 403, 503))

Url = Annotated[str, Field(max_length=MAX_URL_CHARACTERS)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARACTERS)]
JobEvent = Literal["job.finished", "job.failed", "job.expired", "job.canceled"]
Events = Annotated[list[JobEvent], Field(min_length=1, max_length=4)]


class NewWebhook(Asked):
    """Where to send which events; without `events`, all those of jobs."""

    url: Url = Field(description="http(s). What stands behind its `?` is never shown again.")
    description: Description = ""
    events: Events = Field(default_factory=lambda: list(get_args(JobEvent)))


class WebhookChange(Asked):
    """What is to change; what is left out or null stays."""

    url: Url | None = None
    description: Description | None = None
    events: Events | None = None
    enabled: bool | None = Field(None, description="Off, or on again after it was off.")


class WebhookBody(Answer):
    """An endpoint, without its signing keys.

    `url` comes without credentials, query and fragment. `insecure` says that it is reached
    without TLS; `signing_keys` is how many sign: two or more for a day after a rotation.
    """

    id: UUID
    url: str
    description: str
    events: list[Event]
    enabled: bool
    disabled_reason: str | None
    insecure: bool
    signing_keys: int
    created_at: datetime


class WebhookSecretBody(WebhookBody):
    """An endpoint with its newest signing key, which is shown this once."""

    secret: str


class WebhookList(Answer):
    """One's webhook endpoints, newest first."""

    items: list[WebhookBody]


def webhook_body(endpoint: Endpoint) -> WebhookBody:
    """The document of an endpoint."""
    return WebhookBody(
        id=endpoint.id,
        url=shown(endpoint.url),
        description=endpoint.description,
        events=list(endpoint.events),
        enabled=endpoint.disabled_reason is None,
        disabled_reason=endpoint.disabled_reason,
        insecure=urlsplit(endpoint.url).scheme.lower() != "https",
        signing_keys=len(signing(endpoint.secrets, now())),
        created_at=endpoint.created_at,
    )


def _with_secret(made: webhooks.NewEndpoint) -> WebhookSecretBody:
    return WebhookSecretBody(**webhook_body(made.endpoint).model_dump(), secret=made.secret)


@router.get("")
async def all_webhooks(context: Ctx, user: CurrentUser) -> WebhookList:
    """One's webhook endpoints."""
    found = await webhooks.all_of(context, user)
    return WebhookList(items=[webhook_body(endpoint) for endpoint in found])


@router.post("", status_code=201, responses=problems(409, 422))
async def create(
    context: Ctx, user: CurrentUser, asked: NewWebhook, idempotency_key: IdempotencyKey = None
) -> WebhookSecretBody:
    """Add an endpoint; its signing key is shown this once."""
    wanted = once(user.id, idempotency_key, "POST webhooks", asked.model_dump_json())

    async def make() -> webhooks.NewEndpoint:
        return await webhooks.create(
            context,
            user,
            asked.url,
            description=asked.description,
            events=[Event(name) for name in asked.events],
            request=wanted,
        )

    return _with_secret(await create_unshown(context, wanted, make))


@router.get("/{webhook_id}", responses=problems(404, 422))
async def get(context: Ctx, user: CurrentUser, webhook_id: UUID) -> WebhookBody:
    """One endpoint."""
    return webhook_body(await webhooks.get(context, user, EndpointId(webhook_id)))


@router.patch("/{webhook_id}", responses=problems(404, 422))
async def change(
    context: Ctx, user: CurrentUser, webhook_id: UUID, asked: WebhookChange
) -> WebhookBody:
    """Change an endpoint; `enabled: true` lets one go on that a 410 switched off."""
    events = None if asked.events is None else tuple(Event(name) for name in asked.events)
    wanted = webhooks.Change(
        url=asked.url, description=asked.description, events=events, enabled=asked.enabled
    )
    return webhook_body(await webhooks.change(context, user, EndpointId(webhook_id), wanted))


@router.delete("/{webhook_id}", status_code=204, responses=problems(404, 422))
async def delete(context: Ctx, user: CurrentUser, webhook_id: UUID) -> None:
    """Remove an endpoint, with what was not sent there yet."""
    await webhooks.delete(context, user, EndpointId(webhook_id))


@router.post("/{webhook_id}/rotate", responses=problems(404, 409, 422))
async def rotate(
    context: Ctx, user: CurrentUser, webhook_id: UUID, idempotency_key: IdempotencyKey = None
) -> WebhookSecretBody:
    """A new signing key, shown this once; the one before signs along for 24 hours."""
    wanted = once(user.id, idempotency_key, "POST webhooks rotate", str(webhook_id))

    async def make() -> webhooks.NewEndpoint:
        return await webhooks.rotate(context, user, EndpointId(webhook_id), request=wanted)

    return _with_secret(await create_unshown(context, wanted, make))


@router.post("/{webhook_id}/test", status_code=201, responses=problems(404, 409, 422))
async def send_test(
    context: Ctx, user: CurrentUser, webhook_id: UUID, idempotency_key: IdempotencyKey = None
) -> DeliveryBody:
    """Send `webhook.test`, the way of all events; the answer is its delivery, not yet sent."""
    wanted = once(user.id, idempotency_key, "POST webhooks test", str(webhook_id))
    made = await webhooks.send_test(context, user, EndpointId(webhook_id), request=wanted)
    return delivery_body(made)


@router.get("/{webhook_id}/deliveries", responses=problems(404, 422))
async def deliveries(
    context: Ctx,
    user: CurrentUser,
    webhook_id: UUID,
    cursor: UUID | None = None,
    limit: Limit = 50,
) -> Page[DeliveryBody]:
    """What was sent to an endpoint, newest first: status, latency, what was answered."""
    before = None if cursor is None else DeliveryId(cursor)
    found = await webhooks.deliveries(context, user, EndpointId(webhook_id), before, limit + 1)
    return page_of([delivery_body(item) for item in found], [i.id for i in found], limit)
