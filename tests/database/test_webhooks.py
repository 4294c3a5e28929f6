"""Webhook endpoints that change while something is to be sent to them."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from rhapsode.database import deliveries as deliveries_table
from rhapsode.database import webhooks as table
from rhapsode.database.engine import Database
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
from tests.database.rows import NOW, make_user, uuid7

URL = "https://example.org/hook"


async def make(database: Database) -> Endpoint:
    user = await make_user(database)
    made = Endpoint(
        id=EndpointId(uuid7()),
        user_id=user.id,
        url=URL,
        description="",
        events=(Event.FINISHED,),
        secrets=(SigningKey("whsec_c2VjcmV0"),),
        created_at=NOW,
    )
    async with database.write() as transaction:
        await table.insert(transaction.connection, made)
    return made


async def delete(database: Database, endpoint: Endpoint) -> bool:
    async with database.write() as transaction:
        return await table.delete(transaction.connection, endpoint.id, endpoint.user_id)


def news(endpoint: Endpoint) -> Delivery:
    return Delivery(
        id=DeliveryId(uuid7()),
        user_id=endpoint.user_id,
        job_id=None,
        endpoint_id=endpoint.id,
        kind=DeliveryKind.WEBHOOK,
        subject=Event.FINISHED,
        destination="example.org:443",
        state=DeliveryState.PENDING,
        next_at=NOW,
        created_at=NOW,
    )


async def test_an_endpoint_stays_until_its_news_is_written_down(database: Database) -> None:
    """Else the end of a job could not be: the news would lead to an endpoint that is gone."""
    endpoint = await make(database)
    async with database.write() as transaction:
        connection = transaction.connection
        told = await table.subscribed(connection, endpoint.user_id, Event.FINISHED)
        deleting = asyncio.create_task(delete(database, endpoint))
        await asyncio.wait({deleting}, timeout=0.3)
        await deliveries_table.insert(connection, [news(item) for item in told])

    assert told == [endpoint]
    assert await deleting
    async with database.read() as connection:
        assert await deliveries_table.next_due(connection, []) is None


async def test_what_an_earlier_url_answered_switches_off_no_later_one(
    database: Database,
) -> None:
    before = await make(database)
    async with database.write() as transaction:
        after = replace(before, url=f"{URL}/new")
        await table.save(transaction.connection, after)

    async with database.write() as transaction:
        assert not await table.disable(transaction.connection, before, "gone")
        assert await table.disable(transaction.connection, after, "gone")
        assert not await table.disable(transaction.connection, after, "again")


async def test_an_error_of_the_database_shows_no_signing_key(database: Database) -> None:
    """Errors that nobody foresaw are logged as they are."""
    endpoint = await make(database)
    with pytest.raises(IntegrityError) as error:
        async with database.write() as transaction:
            await table.insert(transaction.connection, endpoint)

    assert "whsec_" not in str(error.value)
