"""Flags: set, set again, read."""

from rhapsode.database import flags
from rhapsode.database.engine import Database
from tests.database.rows import NOW


async def test_a_flag_holds_what_it_was_set_to_last(database: Database) -> None:
    for value in (True, False, {"since": "noon"}):
        async with database.write() as transaction:
            await flags.put(transaction.connection, "door", value, NOW)
        async with database.read() as connection:
            assert await flags.get(connection, "door") == value
            assert await flags.get(connection, "window") is None
