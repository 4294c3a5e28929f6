"""Uploads in memory, with faults on demand: what a real server will not do when asked to."""

import base64
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

MOMENT = "2026-11-21T10:00:00+00:00"
Fault = Callable[[httpx.Request], httpx.Response | None]


def problem(status: int, code: str, detail: str = "No.") -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": detail})


@dataclass
class PretendUploads:
    """Answers `/api/uploads` and `/api/media/{id}`; `judge` says why a name is refused.

    Each fault is asked once, before the answer, and may answer in its place or raise.
    """

    judge: Callable[[str], httpx.Response | None] = lambda _: None
    faults: deque[Fault] = field(default_factory=deque)
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    media: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, request: httpx.Request, parts: list[str]) -> httpx.Response | None:
        """The answer to a request whose body is read; None where it is not for us."""
        self.requests.append((request.method, request.url.path))
        if self.faults and (answer := self.faults.popleft()(request)) is not None:
            return answer
        match request.method, parts:
            case "POST", ["uploads"]:
                return self._begin(request)
            case "GET", ["uploads", found]:
                gone = problem(404, "upload_not_found")
                known = found in self.uploads
                return httpx.Response(200, json=self.uploads[found]) if known else gone
            case "PATCH", ["uploads", found]:
                return self._append(request, found)
            case "GET", ["media", found]:
                view = {"id": found, "name": self.media[found], "state": "ready", "size": 5}
                return httpx.Response(200, json={**view, "digest": None, "created_at": MOMENT})
        return None

    def _begin(self, request: httpx.Request) -> httpx.Response:
        made = str(uuid4())
        name = request.headers["upload-metadata"].partition(" ")[2]
        self.content[made] = b""
        self.uploads[made] = {
            "id": made,
            "name": base64.b64decode(name).decode(),
            "state": "receiving",
            "size": int(request.headers["upload-length"]),
            "received": 0,
            "created_at": MOMENT,
            "expires_at": MOMENT,
        }
        return httpx.Response(201, headers={"location": f"/api/uploads/{made}"})

    def _append(self, request: httpx.Request, found: str) -> httpx.Response:
        upload, body = self.uploads[found], request.content
        if int(request.headers["upload-offset"]) != upload["received"]:
            return problem(409, "upload_offset")
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert request.headers["upload-checksum"] == f"sha256 {digest}"
        self.content[found] += body
        upload["received"] += len(body)
        if upload["received"] == upload["size"]:
            return self._end(upload)
        return httpx.Response(204)

    def _end(self, upload: dict[str, Any]) -> httpx.Response:
        if (refusal := self.judge(upload["name"])) is not None:
            told = refusal.json()
            error = {"code": told["code"], "message": told["detail"], "hint": None}
            upload |= {"state": "failed", "error": error}
            return refusal
        upload |= {"state": "finished", "media_id": str(uuid4())}
        self.media[upload["media_id"]] = upload["name"]
        return httpx.Response(204)
