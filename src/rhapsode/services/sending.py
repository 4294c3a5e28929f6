"""The sender: brings out of the outbox what is due, in every replica, as long as it runs.

It knows nothing that is not in the database. What it claims is its own for a while, which
it prolongs as long as it sends; killed at any point, what it had comes back and is sent
once more, under the same id.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from rhapsode.database import deliveries as table
from rhapsode.database.deliveries import Attempt
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.deliveries import Backoff, Delivery, DeliveryId, DeliveryState
from rhapsode.domain.errors import Denied, DomainError, Invalid
from rhapsode.services import settling
from rhapsode.services.channels import Channels, Outcome, again, dead
from rhapsode.services.context import Context, new_id, now
from rhapsode.services.waiting import first_of

_BREATH_SECONDS = 0.05
_OUTAGE_SECONDS = 2.0
_NOTE_TRIES = 5
_DRAIN_SECONDS = 3.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, how many at once, and when a sender that is silent is taken for lost.

    `recheck_seconds` is how often it looks without having been told: signals can get lost.
    """

    backoff: Backoff = field(default_factory=Backoff)
    at_once: int = 16
    claim_seconds: float = 30.0
    recheck_seconds: float = 10.0

    @property
    def share(self) -> int:
        """How many may go to one destination at once, so that others are not kept waiting."""
        return max(1, self.at_once // 4)


class Sender:
    """Runs until the application closes; outlives whatever does not answer meanwhile."""

    def __init__(self, context: Context, channels: Channels, pace: Pace | None = None) -> None:
        self._context = context
        self._channels = channels
        self._pace = pace or Pace()
        self._id: UUID = new_id()
        self._sending: dict[DeliveryId, asyncio.Task[None]] = {}
        self._destinations: Counter[str] = Counter()
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Send until the context closes, then finish in good order."""
        stop_listening = self._context.database.signals.listen(self._heard)
        keeping = asyncio.create_task(self._keep())
        try:
            while not self._context.closing.is_set():
                await self._round()
        finally:
            stop_listening()
            await self._leave()
            keeping.cancel()

    def _heard(self, signal: Signal) -> None:
        if signal.topic is Topic.DELIVERY_DUE:
            self._woken.set()

    async def _round(self) -> None:
        """Start what is due, or wait until something may be."""
        self._woken.clear()
        try:
            seconds = await self._start_due()
        except DomainError as error:
            log.warning("deliveries.looking_failed", error=str(error))
            seconds = _OUTAGE_SECONDS
        except Exception:  # whatever it is, deliveries must go on
            log.exception("deliveries.looking_failed")
            seconds = _OUTAGE_SECONDS
        if seconds > 0:
            await first_of(seconds, self._woken, self._context.closing)

    async def _start_due(self) -> float:
        """Claim and start what there is room for; for how many seconds there is no more."""
        pace, moment = self._pace, now()
        free = pace.at_once - len(self._sending)
        if free <= 0:
            return pace.recheck_seconds
        room = {where: pace.share - count for where, count in self._destinations.items()}
        async with self._context.database.write_once() as transaction:
            claimed = await table.claim_due(
                transaction.connection,
                sender=self._id,
                now=moment,
                until=moment + timedelta(seconds=pace.claim_seconds),
                limit=free,
                share=pace.share,
                room=room,
            )
        for delivery in claimed:
            self._start(delivery)
        return 0.0 if claimed else await self._idle_seconds()

    async def _idle_seconds(self) -> float:
        full = [w for w, count in self._destinations.items() if count >= self._pace.share]
        async with self._context.database.read() as connection:
            due = await table.next_due(connection, full)
        if due is None:
            return self._pace.recheck_seconds
        seconds = (due - now()).total_seconds()
        return min(max(seconds, _BREATH_SECONDS), self._pace.recheck_seconds)

    def _start(self, delivery: Delivery) -> None:
        if (earlier := self._sending.get(delivery.id)) is not None:
            # Sent anew while it was being sent here: what that comes to counts no more.
            earlier.cancel()
        self._destinations[delivery.destination] += 1
        task = asyncio.create_task(self._send(delivery))
        self._sending[delivery.id] = task
        task.add_done_callback(lambda ended: self._done(delivery, ended))

    def _done(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        if self._sending.get(delivery.id) is task:
            del self._sending[delivery.id]
        self._destinations[delivery.destination] -= 1
        self._destinations += Counter()  # forgets those that are at zero
        self._woken.set()

    async def _send(self, delivery: Delivery) -> None:
        outcome = await self._outcome(delivery)
        attempt = settling.judged(delivery, outcome, self._pace.backoff)
        if await self._noted(delivery, attempt):
            final = attempt.state is not DeliveryState.PENDING
            self._context.recorder.sent(
                delivery.kind, attempt.state if final else "again", outcome.latency
            )
            log.info(
                "delivery.tried",
                delivery_id=str(delivery.id),
                job_id=str(delivery.job_id),
                what=f"{delivery.kind} {delivery.subject}",
                destination=delivery.destination,
                attempt=delivery.attempts,
                state=str(attempt.state),
                status=attempt.status,
            )

    async def _outcome(self, delivery: Delivery) -> Outcome:
        """One attempt by its channel; whatever goes wrong is an outcome as well."""
        channel = self._channels.get(delivery.kind)
        if channel is None:
            return dead(f"This server cannot send deliveries of the kind '{delivery.kind}'.")
        try:
            return await channel(self._context, delivery)
        except (Denied, Invalid) as error:
            return dead(str(error))
        except DomainError as error:
            return again(error.message)
        except Exception:
            log.exception("delivery.failed", delivery_id=str(delivery.id))
            return again(
                "Something went wrong in the server; its log has the details under "
                "this delivery's id."
            )

    async def _noted(self, delivery: Delivery, attempt: Attempt) -> bool:
        """Write it down, through short outages of the database; otherwise it comes again."""
        for number in range(_NOTE_TRIES):
            try:
                return await settling.settle(self._context, self._id, delivery, attempt)
            except Exception as error:  # noqa: BLE001 (whatever it was, try again)
                log.warning(
                    "delivery.not_noted", delivery_id=str(delivery.id), error=str(error)
                )
            await first_of(0.2 * 2**number, self._context.closing)
        return False

    async def _keep(self) -> None:
        """Prolong the claims on what takes longer."""
        seconds = self._pace.claim_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            with contextlib.suppress(Exception):  # then it may be sent twice
                await self._extend(now() + timedelta(seconds=seconds))

    async def _extend(self, until: datetime) -> None:
        if not self._sending:
            return
        async with self._context.database.write_once() as transaction:
            await table.extend(transaction.connection, self._id, list(self._sending), until)

    async def _leave(self) -> None:
        """Let what is under way arrive, for a moment; give the rest back."""
        if not self._sending:
            return
        await asyncio.wait(self._sending.values(), timeout=_DRAIN_SECONDS)
        left = dict(self._sending)
        for task in left.values():
            task.cancel()
        await asyncio.gather(*left.values(), return_exceptions=True)
        with contextlib.suppress(Exception):  # they come back by themselves as well
            await self._give_back(list(left))

    async def _give_back(self, ids: list[DeliveryId]) -> None:
        if not ids:
            return
        async with self._context.database.write_once() as transaction:
            await table.give_back(transaction.connection, self._id, ids, now())
