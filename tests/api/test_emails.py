"""E-mails that jobs ask for, from the API to a real SMTP server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.people import Person, Runner, make_person, make_runner, problem
from tests.support.delivering import delivering_settings
from tests.support.mail import Mailbox, mail_server
from tests.support.server import App, running_app


@dataclass
class Post:
    """A server with a mail server behind it."""

    app: App
    mailbox: Mailbox
    ann: Person
    runner: Runner

    async def ask(self, **more: Any) -> httpx.Response:
        return await self.ann.client.post(
            "/api/jobs",
            json={
                "input": {"media_id": str((await self.ann.media()).id)},
                "spec": {"engine": "tests", "model": self.runner.model},
                **more,
            },
        )

    async def settled(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job's only delivery, once it is settled."""
        async with asyncio.timeout(15):
            while (found := await self._delivery(job))["state"] == "pending":
                await asyncio.sleep(0.02)
        return found

    async def _delivery(self, job: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any]
        (found,) = (await self.ann.get(f"/api/jobs/{job['id']}/deliveries")).json()["items"]
        return found


@pytest.fixture
async def post(database_url: str, tmp_path: Path) -> AsyncIterator[Post]:
    async with mail_server() as mailbox:
        email = {
            "host": "localhost",
            "port": mailbox.port,
            "security": "none",
            "sender": "rhapsode@example.org",
        }
        settings = delivering_settings(tmp_path, database_url, email=email)
        async with running_app(settings) as app:
            yield Post(app, mailbox, await make_person(app), await make_runner(app))


async def test_the_end_of_a_job_comes_by_e_mail(post: Post) -> None:
    post.mailbox.answers.append("451 Greylisted, come back later")
    job = (await post.ask(notify={"email": True})).json()

    await (await post.runner.claimed()).result()

    delivery = await post.settled(job)
    (letter,) = post.mailbox.letters
    assert job["notify"] == {"email": True}
    assert (delivery["kind"], delivery["subject"]) == ("email", "job.finished")
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)
    assert letter["To"] == post.ann.user.email
    assert letter["Subject"] == f"Transcribed: {job['name']}"
    assert letter["Message-ID"] == f"<{delivery['id']}@example.org>"


async def test_a_receiver_who_is_refused_for_good_is_not_asked_again(post: Post) -> None:
    post.mailbox.answers.append("550 No such person")
    job = (await post.ask(notify={"email": True})).json()

    await (await post.runner.claimed()).failure(permanent=True)

    delivery = await post.settled(job)
    assert (delivery["state"], delivery["status"], delivery["attempts"]) == ("dead", 550, 1)
    assert post.mailbox.asked == [post.ann.user.email]


async def test_who_did_not_ask_gets_none(post: Post) -> None:
    quiet = (await post.ask()).json()
    await (await post.runner.claimed()).result()
    asking = (await post.ask(notify={"email": True})).json()
    await (await post.runner.claimed()).result()

    await post.settled(asking)

    found = (await post.ann.get(f"/api/jobs/{quiet['id']}/deliveries")).json()
    assert (found, len(post.mailbox.letters)) == ({"items": []}, 1)


async def test_a_server_without_mail_refuses_such_jobs(app: App) -> None:
    ann, runner = await make_person(app), await make_runner(app)
    asked = {
        "input": {"media_id": str((await ann.media()).id)},
        "spec": {"engine": "tests", "model": runner.model},
        "notify": {"email": True},
    }

    assert problem(await ann.client.post("/api/jobs", json=asked)) == (422, "email_disabled")
