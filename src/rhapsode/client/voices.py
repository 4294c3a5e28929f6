"""Speakers' names and enrolled voices by the API."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from rhapsode.client.decode import decode
from rhapsode.client.http import Http, given
from rhapsode.client.retry import with_retries
from rhapsode.client.views import Items


class Voices:
    """What speakers are called on a server, over an open connection to it."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def all(self) -> list[dict[str, Any]]:
        """The voices that one enrolled, by name."""
        return decode(Items, await self._http.json("GET", "/api/voices")).items

    async def add(
        self, name: str, job_id: UUID | str, speaker: str | None = None
    ) -> dict[str, Any]:
        """Remember the voice of a transcript's speaker under this name."""
        body = dict(given(name=name, job_id=str(job_id), speaker=speaker))
        headers = {"Idempotency-Key": str(uuid4())}
        answer = await with_retries(
            lambda: self._http.json("POST", "/api/voices", json=body, headers=headers)
        )
        return decode(dict[str, Any], answer)

    async def remove(self, voice_id: UUID | str) -> None:
        """Forget a voice."""
        await with_retries(lambda: self._http.bytes("DELETE", f"/api/voices/{voice_id}"))

    async def speakers(self, job_id: UUID | str) -> list[dict[str, Any]]:
        """The speakers of a job's transcript."""
        return decode(Items, await self._http.json("GET", f"/api/jobs/{job_id}/speakers")).items

    async def rename(
        self, job_id: UUID | str, names: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Call speakers by other names, from old to new; the speakers afterwards."""
        path, body = f"/api/jobs/{job_id}/speakers", {"names": dict(names)}
        return decode(Items, await self._http.json("PATCH", path, json=body)).items
