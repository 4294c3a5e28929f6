"""Runners that post results through the API without transcribing, and outlive the server."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.acceptance.program import Document, Program

MODEL = "instant"
SPEC = {"engine": "tests", "model": MODEL, "word_times": False}


def text_of(job_id: str) -> str:
    """What is said in the recording of a job: no two say the same."""
    return f"This is job {job_id}."


@dataclass
class Posting:
    """Takes jobs and posts their results at once, as often as it takes.

    Register before any job is made: what nobody offers is refused.
    """

    runner: Program
    posted: set[str] = field(default_factory=set)
    _id: str = ""

    async def work(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._one()

    async def register(self) -> None:
        capabilities = {"engines": [{"engine": "tests", "models": [MODEL]}]}
        body = {"name": "instant", "version": "1", "capabilities": capabilities}
        answer = await self.runner.json("POST", "/api/runners/register", json=body)
        self._id = answer["runner_id"]

    async def _one(self) -> None:
        path, body = f"/api/runners/{self._id}/claim", {"wait_seconds": 1}
        answer = await self.runner.request("POST", path, json=body)
        if answer.status_code == 204:
            return
        assert answer.status_code == 200, answer.text
        await self._post(answer.json())

    async def _post(self, assignment: Document) -> None:
        job_id, attempt = assignment["job_id"], assignment["attempt"]
        path = f"/api/runners/{self._id}/leases/{job_id}/{attempt}/result"
        segment = {"start": 0.0, "end": 1.0, "text": text_of(job_id)}
        transcript = {"language": "en", "duration": 1.0, "segments": [segment]}
        if await self._until_heard(path, {"transcript": transcript, "warnings": []}):
            self.posted.add(job_id)

    async def _until_heard(self, path: str, body: Any) -> bool:
        """False where the lease was lost meanwhile: then somebody else does it."""
        async with asyncio.timeout(self.runner.give_up_seconds):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    url = self.runner.urls[0] + path
                    answer = await self.runner.client.put(url, json=body)
                    if answer.is_success:
                        return True
                    if answer.status_code == 409:
                        return False
                await asyncio.sleep(0.2)
