"""What clients of the transcription service send, and who they are."""

from typing import Any

import httpx

from tests.api.people import Person, client_of
from tests.support.server import App

INPUT = "https://media.example.org/in/talk.wav?X-Signature=input-secret"
OUTPUT = "https://media.example.org/out/talk"


def outputs(*names: str) -> dict[str, str]:
    return {f"{name}_url": f"{OUTPUT}.{name}?X-Signature={name}-secret" for name in names}


def request(**changes: Any) -> dict[str, Any]:
    """A request as its client sends it; changes whose names are options' go there."""
    options = {
        "engine": "openai-whisper",
        "language": "en",
        "model": "small.en",
        "input": INPUT,
        "outputs": outputs("json", "txt"),
    }
    ours = {"version", "notification_type", "notification_url", "expiration", "priority"}
    options |= {name: value for name, value in changes.items() if name not in ours}
    return {
        "version": "1",
        "options": options,
        **{name: value for name, value in changes.items() if name in ours},
    }


def client_as(app: App, person: Person, name: str | None = None) -> httpx.AsyncClient:
    """A client that signs in as `user:token`."""
    return client_of(app, f"{person.user.email if name is None else name}:{person.key}")


async def submitted(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/transcription/", json=request(**changes))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def info(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    answer = await client.get(f"/transcription/{job['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def listed(client: httpx.AsyncClient, **params: int) -> list[int]:
    answer = await client.get("/transcription/", params=params)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()]
