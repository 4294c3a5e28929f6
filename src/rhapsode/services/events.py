"""Events: a person's jobs as they change, for whoever watches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from uuid import UUID

from rhapsode.database import jobs as table
from rhapsode.database.signals import Signal, Topic
from rhapsode.domain.jobs import TERMINAL, Job, JobId
from rhapsode.domain.users import User
from rhapsode.services.context import Context
from rhapsode.services.waiting import first_of

RECHECK_SECONDS = 15.0
"""A signal can get lost between replicas; so long at most stays a watcher ignorant."""


_NEWS = {Topic.JOB_CHANGED, Topic.JOB_DELETED}


class _Changes:
    """The jobs that changed since the watcher last looked; repetitions count once."""

    def __init__(self, user: User, job_id: JobId | None) -> None:
        self._user_id = str(user.id)
        self._job_id = None if job_id is None else str(job_id)
        self._topics: dict[str, Topic] = {}
        self._some = asyncio.Event()

    def heard(self, signal: Signal) -> None:
        mine = signal.user_id == self._user_id and self._job_id in {None, signal.job_id}
        if mine and signal.topic in _NEWS:
            self._topics[signal.job_id] = signal.topic
            self._some.set()

    async def next(self, closing: asyncio.Event) -> dict[str, Topic]:
        """What changed; empty when nothing did for a while."""
        if not await first_of(RECHECK_SECONDS, self._some, closing):
            return {}
        self._some.clear()
        topics, self._topics = self._topics, {}
        return topics


@contextmanager
def _listening(context: Context, user: User, job_id: JobId | None) -> Iterator[_Changes]:
    changes = _Changes(user, job_id)
    stop = context.database.signals.listen(changes.heard)
    try:
        yield changes
    finally:
        stop()


async def watch_all(context: Context, user: User) -> AsyncIterator[Job | JobId | None]:
    """Each job of the user that changes, the id of each that is deleted, None now and then.

    The None lets a server keep the connection alive, and a reader look at the list again.
    """
    with _listening(context, user, None) as changes:
        yield None
        while not context.closing.is_set():
            topics = await changes.next(context.closing)
            for job_id, topic in topics.items():
                yield await _news(context, user, job_id, topic)
            if not topics:
                yield None


async def _news(context: Context, user: User, job_id: str, topic: Topic) -> Job | JobId:
    found = JobId(UUID(job_id))
    if topic is Topic.JOB_DELETED:
        return found
    async with context.database.read() as connection:
        return await table.get(connection, found, user.id) or found


async def watch_one(
    context: Context, user: User, job_id: JobId
) -> AsyncIterator[Job | JobId | None]:
    """One job as it is and then as it changes, up to its end or its deletion."""
    with _listening(context, user, job_id) as changes:
        last: Job | None = None
        while not context.closing.is_set():
            async with context.database.read() as connection:
                found = await table.get(connection, job_id, user.id)
            if found is None:
                yield job_id
                return
            yield found if found != last else None
            if found.state in TERMINAL:
                return
            last = found
            await changes.next(context.closing)
