"""What leaves the server: the sender of deliveries, and the channels that it sends by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from rhapsode.api.deliveries import record
from rhapsode.domain.deliveries import Backoff, DeliveryKind
from rhapsode.outbound.http import Outbound
from rhapsode.services import mail, notification_channel, webhook_channel
from rhapsode.services.artifacts import Artifacts
from rhapsode.services.channels import Channels
from rhapsode.services.context import Context
from rhapsode.services.sending import Pace, Sender
from rhapsode.settings import Settings

_WHOLE_SECONDS = 3600.0
"""All of one attempt; a long transcript over a slow line takes its time."""


@asynccontextmanager
async def sending(context: Context, settings: Settings) -> AsyncIterator[None]:
    """Deliver what is due for as long as the block runs, then let it end in good order."""
    async with _outbound(context, settings) as outbound:
        sender = Sender(context, channels(outbound), _pace(settings))
        task = asyncio.create_task(sender.run())
        try:
            yield
        finally:
            context.closing.set()
            await asyncio.gather(task, return_exceptions=True)


def _outbound(context: Context, settings: Settings) -> Outbound:
    return Outbound(
        context.policy,
        connect_seconds=settings.outbound.connect_seconds,
        read_seconds=settings.deliveries.timeout_seconds,
        whole_seconds=_WHOLE_SECONDS,
        max_redirects=settings.outbound.max_redirects,
    )


def channels(outbound: Outbound) -> Channels:
    """How each kind of delivery is sent."""
    return {
        DeliveryKind.ARTIFACT: Artifacts(outbound, record).send,
        DeliveryKind.WEBHOOK: partial(webhook_channel.send, outbound),
        DeliveryKind.EMAIL: mail.send,
        DeliveryKind.NOTIFICATION: partial(notification_channel.send, outbound),
    }


def _pace(settings: Settings) -> Pace:
    wanted = settings.deliveries
    return Pace(
        backoff=Backoff(
            first=wanted.first_seconds, most=wanted.most_seconds, attempts=wanted.attempts
        ),
        at_once=wanted.at_once,
        claim_seconds=max(3.0, wanted.timeout_seconds),
        recheck_seconds=settings.queue.sweep_seconds,
    )
