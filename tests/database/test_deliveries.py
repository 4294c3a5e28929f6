"""Claims of deliveries: each has one sender, no destination has them all, lost ones return."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from rhapsode.database import deliveries as table
from rhapsode.database.deliveries import Attempt
from rhapsode.database.engine import Database
from rhapsode.domain.deliveries import Delivery, DeliveryId, DeliveryKind, DeliveryState
from tests.database.rows import LATER, NOW, make_user, uuid7

ME, YOU = uuid7(), uuid7()
MUCH_LATER = LATER + timedelta(seconds=1)


async def make(database: Database, count: int = 1, **changes: Any) -> list[Delivery]:
    """Deliveries that are due, in the order in which they became so."""
    user = await make_user(database)
    made = [
        Delivery(
            id=DeliveryId(uuid7()),
            user_id=user.id,
            job_id=None,
            kind=DeliveryKind.ARTIFACT,
            subject="vtt",
            destination="one:80",
            state=DeliveryState.PENDING,
            next_at=NOW - timedelta(seconds=count - number),
            created_at=NOW,
        ).evolve(**changes)
        for number in range(count)
    ]
    async with database.write() as transaction:
        await table.insert(transaction.connection, made)
    return made


async def claim(
    database: Database,
    sender: UUID = ME,
    *,
    now: Any = NOW,
    limit: int = 100,
    share: int = 100,
    room: Mapping[str, int] | None = None,
) -> list[Delivery]:
    async with database.write_once() as transaction:
        return await table.claim_due(
            transaction.connection,
            sender=sender,
            now=now,
            until=LATER,
            limit=limit,
            share=share,
            room=room or {},
        )


async def find(database: Database, delivery: Delivery) -> Delivery:
    async with database.read() as connection:
        found = await table.get(connection, delivery.id)
    assert found is not None
    return found


async def note(
    database: Database, sender: UUID, delivery: Delivery, state: DeliveryState
) -> Delivery | None:
    attempt = Attempt(
        state=state,
        next_at=NOW,
        settled_at=NOW,
        status=200,
        latency=0.1,
        error=None,
        response=None,
    )
    async with database.write() as transaction:
        return await table.note(transaction.connection, sender, delivery.id, attempt)


async def test_what_is_due_is_claimed_once(database: Database) -> None:
    made = await make(database, 3)
    await make(database, next_at=NOW + timedelta(seconds=1))
    await make(database, state=DeliveryState.HELD)
    claimed = await claim(database)
    assert [item.id for item in claimed] == [item.id for item in made]
    assert {(item.attempts, item.next_at) for item in claimed} == {(1, LATER)}
    assert await claim(database, YOU) == []


async def test_the_longest_due_go_first(database: Database) -> None:
    made = await make(database, 5)
    first = await claim(database, limit=2)
    assert [item.id for item in first] == [item.id for item in made[:2]]


async def test_a_destination_has_its_share(database: Database) -> None:
    await make(database, 5, destination="one:80")
    await make(database, 5, destination="two:80")
    await make(database, 1, destination="three:80")
    first = await claim(database, share=2)
    counts = Counter(item.destination for item in first)
    assert counts == {"one:80": 2, "two:80": 2, "three:80": 1}
    second = await claim(database, share=4, room={"one:80": 0, "two:80": 1})
    assert Counter(item.destination for item in second) == {"two:80": 1}


async def test_a_full_destination_hides_nothing_behind_it(database: Database) -> None:
    await make(database, 600, destination="one:80")
    await make(database, 1, destination="two:80", next_at=NOW)
    claimed = await claim(database, share=4, room={"one:80": 0})
    assert [item.destination for item in claimed] == ["two:80"]


async def test_senders_at_once_share_without_overlap(database: Database) -> None:
    made = await make(database, 40)
    senders = [uuid7() for _ in range(4)]
    claimed: list[Delivery] = []
    while len(claimed) < len(made):
        rounds = await asyncio.gather(*(claim(database, it, limit=3) for it in senders))
        claimed += [item for found in rounds for item in found]
    assert sorted(item.id for item in claimed) == sorted(item.id for item in made)


async def test_a_lost_senders_delivery_comes_back_under_its_id(database: Database) -> None:
    (made,) = await make(database)
    await claim(database, ME)
    (again,) = await claim(database, YOU, now=MUCH_LATER)
    assert (again.id, again.attempts) == (made.id, 2)
    assert await note(database, ME, made, DeliveryState.DEAD) is None
    settled = await note(database, YOU, made, DeliveryState.DELIVERED)
    assert settled is not None
    assert settled.state is DeliveryState.DELIVERED
    assert await note(database, YOU, made, DeliveryState.DEAD) is None


async def test_what_is_kept_does_not_come_back(database: Database) -> None:
    (made,) = await make(database)
    await claim(database, ME)
    async with database.write_once() as transaction:
        until = MUCH_LATER + timedelta(seconds=1)
        await table.extend(transaction.connection, ME, [made.id], until)
    assert await claim(database, YOU, now=MUCH_LATER) == []


async def test_keeping_waits_for_nobody(database: Database) -> None:
    """One is being called off: on PostgreSQL, who waited for it might wait crosswise."""
    one, two = await make(database, 2)
    await claim(database)

    async def extend() -> None:
        async with database.write_once() as transaction:
            ids = [one.id, two.id]
            await table.extend(transaction.connection, ME, ids, MUCH_LATER)

    async with database.write() as transaction:
        await table.cancel(transaction.connection, [one.id], NOW, "called off")
        extending = asyncio.create_task(extend())
        if not database.is_sqlite:
            await asyncio.wait_for(extending, 10)
    await extending

    assert (await find(database, one)).state is DeliveryState.CANCELED
    assert (await find(database, two)).next_at == MUCH_LATER


async def test_what_is_given_back_costs_nothing(database: Database) -> None:
    mine, yours = await make(database, 2)
    await claim(database, ME, limit=1)
    await claim(database, YOU)
    async with database.write_once() as transaction:
        ids = [mine.id, yours.id]
        assert await table.give_back(transaction.connection, ME, ids, NOW) == 1
    assert [(await find(database, it)).attempts for it in (mine, yours)] == [0, 1]
    assert [item.id for item in await claim(database, YOU)] == [mine.id]


async def test_who_is_called_off_is_nobodys(database: Database) -> None:
    (made,) = await make(database)
    await claim(database, ME)
    async with database.write() as transaction:
        await table.cancel(transaction.connection, [made.id], NOW, "because")
    assert await note(database, ME, made, DeliveryState.DELIVERED) is None
    found = await find(database, made)
    assert (found.state, found.error) == (DeliveryState.CANCELED, "because")


async def test_the_next_that_is_due(database: Database) -> None:
    async def due(*full: str) -> Any:
        async with database.read() as connection:
            return await table.next_due(connection, full)

    assert await due() is None
    await make(database, destination="one:80", next_at=NOW)
    await make(database, destination="two:80", next_at=LATER)
    await make(database, destination="two:80", state=DeliveryState.DEAD)
    assert (await due(), await due("one:80"), await due("one:80", "two:80")) == (
        NOW,
        LATER,
        None,
    )
