"""There is an administrator from the first start on."""

import pytest

from rhapsode.domain.errors import Conflict
from rhapsode.domain.users import Role
from rhapsode.services import users
from tests.support.server import App

ADDRESS = "ada@example.org"


async def test_an_address_that_is_a_members_is_told(app: App) -> None:
    for user in await users.all_users(app.context):
        async with app.context.database.write() as transaction:
            await users.table.delete(transaction.connection, user.id)
    await users.create(app.context, ADDRESS, Role.MEMBER)

    with pytest.raises(Conflict) as caught:
        await users.ensure_first_admin(app.context, ADDRESS, None)

    assert caught.value.code == "email_taken"
    assert "--role admin" in (caught.value.hint or "")


async def test_the_last_administrator_stays(app: App) -> None:
    first = await users.create(app.context, ADDRESS, Role.ADMIN)
    for user in await users.all_users(app.context):
        if user.role is Role.ADMIN and user.id != first.user.id:
            await users.delete(app.context, user.id)

    with pytest.raises(Conflict) as caught:
        await users.delete(app.context, first.user.id)

    assert caught.value.code == "last_admin"
