"""Who uses the API in tests: people with keys, and runners with models of their own.

One application serves many tests; each test makes its own people and models, so that none
sees what another left.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from rhapsode.domain.media import Media, MediaId
from rhapsode.domain.users import Role, User
from rhapsode.services import users
from tests.database import rows
from tests.support.server import App

CONTENT = bytes(range(256)) * 4

TRANSCRIPT = {
    "language": "en",
    "duration": 2.5,
    "segments": [
        {"start": 0.0, "end": 1.5, "text": "Hello there, all of you."},
        {"start": 2.0, "end": 2.5, "text": "Good bye."},
    ],
}


def client_of(app: App, secret: str | None) -> httpx.AsyncClient:
    """Another client of the same application."""
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(
        transport=app.client._transport, base_url="http://server", headers=headers
    )


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


@dataclass
class Runner:
    """A runner with a model that nobody else offers."""

    app: App
    id: str
    model: str
    client: httpx.AsyncClient

    @property
    def path(self) -> str:
        return f"/api/runners/{self.id}"

    async def claim(self, wait: float = 0) -> httpx.Response:
        return await self.client.post(f"{self.path}/claim", json={"wait_seconds": wait})

    async def claimed(self) -> "Lease":
        """A lease on the next job, which must be there."""
        answer = await self.claim()
        assert answer.status_code == 200, answer.text
        return Lease(self, answer.json())


@dataclass
class Lease:
    """A run of a job, and what its runner can say of it."""

    runner: Runner
    assignment: dict[str, Any]

    @property
    def path(self) -> str:
        job, attempt = self.assignment["job_id"], self.assignment["attempt"]
        return f"{self.runner.path}/leases/{job}/{attempt}"

    async def heartbeat(self, progress: dict[str, Any] | None = None) -> httpx.Response:
        body = {"progress": progress}
        return await self.runner.client.post(f"{self.path}/heartbeat", json=body)

    async def result(self, transcript: Any = None, **more: Any) -> httpx.Response:
        body = {"transcript": TRANSCRIPT if transcript is None else transcript, **more}
        return await self.runner.client.put(f"{self.path}/result", json=body)

    async def failure(self, *, permanent: bool = False, **changes: Any) -> httpx.Response:
        body = {"code": "broken", "message": "It broke.", "permanent": permanent, **changes}
        return await self.runner.client.post(f"{self.path}/failure", json=body)

    async def give_back(self) -> httpx.Response:
        return await self.runner.client.post(f"{self.path}/give-back")

    async def media(self, **headers: str) -> httpx.Response:
        return await self.runner.client.get(f"{self.path}/media", headers=headers)


async def make_runner(app: App, *models: str, **changes: Any) -> Runner:
    model = f"model-{uuid4()}"
    client = client_of(app, app.runner_token)
    capabilities = {"engines": [{"engine": "tests", "models": [*models, model]}], **changes}
    answer = await client.post(
        "/api/runners/register",
        json={"name": "runner", "version": "1", "capabilities": capabilities},
    )
    assert answer.status_code == 200, answer.text
    return Runner(app, answer.json()["runner_id"], model, client)


@dataclass
class Person:
    """A user with an API key."""

    app: App
    user: User
    key: str
    client: httpx.AsyncClient

    async def media(self, content: bytes = CONTENT, **changes: Any) -> Media:
        """A recording in the database and in the object store, not really one inside."""
        made = await rows.make_media(self.app.context.database, self.user, **changes)
        await self.app.context.store.put(made.key, chunks(content))
        return made

    async def job(
        self, runner: Runner, media_id: MediaId | None = None, **spec: Any
    ) -> dict[str, Any]:
        """A job that only this runner can do."""
        media_id = media_id or (await self.media()).id
        asked = {"engine": "tests", "model": runner.model, **spec}
        answer = await self.client.post(
            "/api/jobs", json={"input": {"media_id": str(media_id)}, "spec": asked}
        )
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(path, params=params)

    async def see(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it stands now."""
        found: dict[str, Any] = (await self.client.get(f"/api/jobs/{job['id']}")).json()
        return found


async def make_person(app: App, role: Role = Role.MEMBER) -> Person:
    user = await rows.make_user(app.context.database, role)
    key = (await users.create_key(app.context, user, "tests")).secret
    return Person(app, user, key, client_of(app, key))


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which must be whole."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert (body["status"], body["request_id"]) == (
        answer.status_code,
        answer.headers["x-request-id"],
    )
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return answer.status_code, body["code"]


async def job_in(state: str, ann: Person, runner: Runner) -> dict[str, Any]:
    """A job that came to this state by its own way."""
    job = await ann.job(runner)
    if state == "canceled":
        await ann.client.post(f"/api/jobs/{job['id']}/cancel")
    elif state != "queued":
        lease = await runner.claimed()
        if state == "finished":
            await lease.result()
        elif state == "failed":
            await lease.failure(permanent=True)
    found = await ann.see(job)
    assert found["state"] == state
    return found
