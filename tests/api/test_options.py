"""What can be asked for."""

from pathlib import Path

import pytest

from tests.support.server import running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("section", [{}, {"host": "localhost", "sender": "a@example.org"}])
async def test_emails_are_offered_where_they_can_be_sent(
    tmp_path: Path, section: dict[str, str]
) -> None:
    async with running_app(settings_for(tmp_path, email=section)) as app:
        offered = (await app.client.get("/api/options")).json()

    assert offered["emails"] == bool(section)
