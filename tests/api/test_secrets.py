"""No secret reaches the log."""

import io

import pytest

from tests.api.people import Person, client_of, make_person, make_runner
from tests.support.server import EMAIL, PASSWORD, App

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def flow(app: App) -> list[str]:
    """Everything that has to do with secrets; returns them."""
    browser = client_of(app, None)
    await browser.post("/api/login", json={"email": EMAIL, "password": PASSWORD})
    cookie = browser.cookies["rhapsode_login"]
    await browser.get("/api/me")
    await browser.post("/api/login", json={"email": EMAIL, "password": "wrong-password-1"})
    ann: Person = await make_person(app)
    key = (await ann.client.post("/api/keys", json={"name": "a"})).json()["secret"]
    token = (await app.client.post("/api/runner-tokens", json={"name": "a"})).json()["secret"]
    runner = await make_runner(App(app.context, app.client, app.admin, app.key, token))
    await ann.job(runner)
    await (await runner.claimed()).failure(message="It broke.", permanent=True)
    await client_of(app, "rhk_wrong-key-of-somebody").get("/api/me")
    await browser.get("/api/jobs", params={"search": "x", "token": key})
    await browser.post("/api/logout")
    return [PASSWORD, cookie, key, token, ann.key, app.key, "wrong-password-1", "wrong-key-of"]


async def test_no_secret_is_logged(shared: App, logged: io.StringIO) -> None:
    secrets = await flow(shared)

    text = logged.getvalue()
    assert text.count('"request"') > 5
    assert [secret for secret in secrets if secret in text] == []
