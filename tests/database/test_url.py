"""The database's URL: what people write, in the words of the driver."""

import pytest
from sqlalchemy import text

from rhapsode.database.engine import open_database
from rhapsode.domain.errors import Invalid
from tests.support.postgres import Postgres

MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
HERE = "postgresql://me:secret@127.0.0.1/mine"


@pytest.mark.parametrize("mode", MODES)
def test_sslmode_is_the_drivers_ssl(mode: str) -> None:
    database = open_database(f"{HERE}?sslmode={mode}&target_session_attrs=any")
    expected = {"ssl": mode, "target_session_attrs": "any"}
    assert dict(database.engine.url.query) == expected


@pytest.mark.parametrize(
    ("options", "named"), [("sslmode=maybe", "sslmode"), ("b=1&sslmode=prefer&a=2", "a, b.")]
)
def test_options_that_make_no_sense_are_named(options: str, named: str) -> None:
    with pytest.raises(Invalid) as caught:
        open_database(f"{HERE}?{options}")
    assert caught.value.code == "database_url"
    assert named in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", ["disable", "prefer"])
async def test_sslmode_with_a_server(postgres_server: Postgres, mode: str) -> None:
    url = postgres_server.create()
    database = open_database(f"{url}?sslmode={mode}")
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await database.close()
    postgres_server.drop(url)
