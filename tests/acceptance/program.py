"""A program that uses the public API as one must: with idempotency keys, and retries."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_AGAIN = {409, 500, 502, 503, 504}
"""Answers that may be different next time; 409 while the same request is being served."""

Document = dict[str, Any]


@dataclass
class Program:
    """Requests to one or several replicas; what fails for want of a server is tried again."""

    urls: list[str]
    key: str
    give_up_seconds: float = 120.0
    retries: int = 0
    odd: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {self.key}"}, timeout=20
        )

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer of whichever replica has one."""
        deadline = time.monotonic() + self.give_up_seconds
        attempt = 0
        while True:
            url = self.urls[attempt % len(self.urls)]
            attempt += 1
            with contextlib.suppress(httpx.TransportError):
                response = await self.client.request(method, url + path, **options)
                if response.status_code not in _AGAIN:
                    return response
                self.odd.append(f"{response.status_code} {method} {path} {response.text}")
            assert time.monotonic() < deadline, f"no answer to {method} {path}: {self.odd}"
            self.retries += 1
            await asyncio.sleep(0.4)

    async def json(self, method: str, path: str, **options: Any) -> Document:
        response = await self.request(method, path, **options)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        found: Document = response.json()
        return found

    async def upload(self, path: Path) -> Document:
        headers = {"idempotency-key": f"upload {path.name}"}
        return await self.json(
            "POST",
            "/api/media",
            params={"name": path.name},
            content=path.read_bytes(),
            headers=headers,
        )

    async def submit(self, path: Path, spec: Document) -> Document:
        """Upload a file and ask for its transcript."""
        media = await self.upload(path)
        return await self.json(
            "POST",
            "/api/jobs",
            json={"input": {"media_id": media["id"]}, "spec": spec},
            headers={"idempotency-key": f"job {path.name}"},
        )

    async def jobs(self, *states: str) -> list[Document]:
        """All jobs in these states, page by page."""
        found: list[Document] = []
        cursor: str | None = None
        while True:
            query = [("limit", "200"), *(("state", state) for state in states)]
            query += [("cursor", cursor)] if cursor else []
            page = await self.json("GET", "/api/jobs", params=query)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    async def text(self, job_id: str) -> str:
        response = await self.request(
            "GET", f"/api/jobs/{job_id}/transcript", params={"format": "txt"}
        )
        assert response.is_success, response.text
        return response.text

    async def ended(self, job_id: str, seconds: float = 60) -> Document:
        """The job once it has ended."""
        async with asyncio.timeout(seconds):
            while True:
                job = await self.json("GET", f"/api/jobs/{job_id}")
                if job["state"] not in {"queued", "running", "delivering"}:
                    return job
                await asyncio.sleep(0.1)

    async def reaches(self, job_id: str, stage: str, seconds: float = 60) -> Document:
        """The job once it is at this stage of its run."""
        async with asyncio.timeout(seconds):
            while True:
                job = await self.json("GET", f"/api/jobs/{job_id}")
                if (job["progress"] or {}).get("stage") == stage:
                    return job
                assert job["state"] in {"queued", "running"}, job
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def program(key: str, *urls: str) -> AsyncIterator[Program]:
    """A program with an API key, until the end of the block."""
    made = Program(list(urls), key)
    async with made.client:
        yield made
