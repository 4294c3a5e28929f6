"""Webhook endpoints by the API."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from rhapsode.client.decode import decode
from rhapsode.client.http import Http, given
from rhapsode.client.retry import with_retries
from rhapsode.client.views import Items

_POLL_SECONDS = 0.5
_LOOK_AT = 20


class Webhooks:
    """One's endpoints on a server, over an open connection to it."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def all(self) -> list[dict[str, Any]]:
        """Every endpoint, newest first."""
        return decode(Items, await self._http.json("GET", "/api/webhooks")).items

    async def add(
        self, url: str, *, description: str = "", events: Sequence[str] = ()
    ) -> dict[str, Any]:
        """A new endpoint, with its signing `secret`; without `events`, all those of jobs."""
        body = given(url=url, description=description, events=list(events) or None)
        return await self._post("/api/webhooks", dict(body))

    async def change(self, webhook_id: UUID | str, **changes: object) -> dict[str, Any]:
        """Give it another `url`, `description` or `events`, or switch it by `enabled`."""
        path = f"/api/webhooks/{webhook_id}"
        return decode(
            dict[str, Any], await self._http.json("PATCH", path, json=dict(given(**changes)))
        )

    async def remove(self, webhook_id: UUID | str) -> None:
        """Delete an endpoint."""
        path = f"/api/webhooks/{webhook_id}"
        await with_retries(lambda: self._http.bytes("DELETE", path))

    async def rotate(self, webhook_id: UUID | str) -> dict[str, Any]:
        """A new signing `secret`; the one before signs along for a day."""
        return await self._post(f"/api/webhooks/{webhook_id}/rotate")

    async def test(self, webhook_id: UUID | str, wait_seconds: float) -> dict[str, Any]:
        """Send a test event; its delivery after the first attempt, or when the wait is over."""
        made = await self._post(f"/api/webhooks/{webhook_id}/test")
        deadline = time.monotonic() + wait_seconds
        while _is_untried(made) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            made = await self._delivery(webhook_id, made)
        return made

    async def _delivery(self, webhook_id: UUID | str, known: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/webhooks/{webhook_id}/deliveries?limit={_LOOK_AT}"
        found = decode(Items, await self._http.json("GET", path)).items
        return next((item for item in found if item["id"] == known["id"]), known)

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid4())}
        answer = await with_retries(
            lambda: self._http.json("POST", path, json=body, headers=headers)
        )
        return decode(dict[str, Any], answer)


def _is_untried(delivery: dict[str, Any]) -> bool:
    """Pending, and no attempt has come to an end yet."""
    told = delivery["status"] is not None or delivery["error"] is not None
    return delivery["state"] == "pending" and not told
