"""The channel of webhooks: one signed POST of an event to an endpoint."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from rhapsode.database import webhooks as table
from rhapsode.domain.deliveries import Delivery, DeliveryState, Endpoint
from rhapsode.domain.webhooks import headers
from rhapsode.outbound.http import Answer, Outbound
from rhapsode.services import webhooks
from rhapsode.services.channels import Outcome, again, dead, retry_after, shown_response
from rhapsode.services.context import Context, now

_GONE = 410
_MOST_SECONDS = 120.0
"""Of all of one attempt, for receivers that answer a byte at a time."""

_TYPE = {"Content-Type": "application/json"}


async def send(outbound: Outbound, context: Context, delivery: Delivery) -> Outcome:
    """One attempt. Each carries the delivery's id, a fresh time and fresh signatures.

    Any 2xx is fine, 410 disables the endpoint, everything else is worth another try;
    redirects are not followed, since they would lead past what the owner agreed to.
    """
    endpoint = await _endpoint(context, delivery)
    if endpoint is None:
        return dead("The webhook endpoint was deleted.")
    if endpoint.disabled_reason is not None:
        return dead(f"The webhook endpoint is switched off. {endpoint.disabled_reason}")
    body = encoded(delivery.payload or {})
    signed = headers(endpoint.secrets, delivery.id, body, now())
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            answer = await outbound.post(endpoint.url, body, {**_TYPE, **signed})
    except TimeoutError:
        return again("The receiver takes too long to answer.")
    if answer.status == _GONE:
        await webhooks.disable(context, endpoint, webhooks.GONE)
    return _outcome(endpoint, answer)


async def _endpoint(context: Context, delivery: Delivery) -> Endpoint | None:
    if delivery.endpoint_id is None:
        return None
    async with context.database.read() as connection:
        return await table.get(connection, delivery.endpoint_id)


def encoded(payload: Mapping[str, Any]) -> bytes:
    """The body: compact JSON in UTF-8, and the very bytes that are signed."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _outcome(endpoint: Endpoint, answer: Answer) -> Outcome:
    state, error = _verdict(answer)
    return Outcome(
        state=state,
        status=answer.status,
        latency=answer.latency,
        error=error,
        response=shown_response(answer.body_start, endpoint.url),
        retry_after=retry_after(answer.headers.get("retry-after"), now()),
    )


def _verdict(answer: Answer) -> tuple[DeliveryState, str | None]:
    if 200 <= answer.status < 300:
        return DeliveryState.DELIVERED, None
    if answer.status == _GONE:
        return DeliveryState.DEAD, webhooks.GONE
    if 300 <= answer.status < 400:
        return (
            DeliveryState.PENDING,
            f"The receiver redirects ({answer.status}); give the final URL.",
        )
    return DeliveryState.PENDING, f"The receiver answered {answer.status}."
