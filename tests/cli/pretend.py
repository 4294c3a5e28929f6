"""A server of a few lines behind the real client, for what a real one will not do on demand."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from rhapsode.cli import jobs, submit
from rhapsode.client import Client
from tests.support.tus import PretendUploads, problem

MOMENT = "2026-11-21T10:00:00+00:00"
TEXT = {"txt": "Hello.\n", "srt": "1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n"}
DOCUMENT = {"text": "Hello.", "language": "en", "duration": 1.0, "segments": []}


def job_document(job_id: str, name: str, state: str, **more: Any) -> dict[str, Any]:
    spec = {"engine": "faster-whisper", "model": "base", "layout": "simple", "priority": 1}
    return {
        "id": job_id,
        "user_id": str(uuid4()),
        "media_id": str(uuid4()),
        "name": name,
        "spec": spec,
        "state": state,
        "attempt": 1,
        "max_attempts": 3,
        "progress": None,
        "created_at": MOMENT,
        "queued_at": MOMENT,
        "error": None,
        "warnings": [],
        "language": None,
        **more,
    }


@dataclass
class Server:
    """Jobs in memory; a recording named `bad…` is refused, a job named `fail…` fails.

    With `interrupted`, following a job comes with Ctrl-C.
    """

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: PretendUploads = field(default_factory=lambda: PretendUploads(_judged))
    specs: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any] | None] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False

    def add(self, name: str, state: str = "finished", job_id: str | None = None) -> str:
        made = job_id or str(uuid4())
        self.jobs[made] = job_document(made, name, state)
        return made

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        parts = request.url.path.removeprefix("/api/").split("/")
        if parts[0] in {"uploads", "media"} and (answer := self.uploads.answer(request, parts)):
            return answer
        match request.method, parts:
            case "POST", ["jobs"]:
                return self._submit(json.loads(request.content))
            case "GET", ["jobs"]:
                return httpx.Response(200, json=self._page(request.url.params))
            case "GET", ["jobs", job_id, "events"]:
                if self.interrupted:
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.Event().wait()
                return self._events(job_id)
            case "GET", ["jobs", _, "transcript"]:
                kind = request.url.params["format"]
                return httpx.Response(200, text=TEXT.get(kind) or json.dumps(DOCUMENT))
            case method, ["jobs", job_id, *action]:
                self.bodies.append(json.loads(request.content or "null"))
                return self._act(method, job_id, action)
        return problem(404, "no_route")

    def _submit(self, body: dict[str, Any]) -> httpx.Response:
        self.specs.append(body["spec"])
        self.asked.append({key: value for key, value in body.items() if key != "spec"})
        given = body["input"]
        name = given.get("url", "").rpartition("/")[2]
        name = name or self.uploads.media[given["media_id"]]
        job_id = self.add(name.partition("?")[0], "queued")
        return httpx.Response(201, json=self.jobs[job_id])

    def _page(self, query: httpx.QueryParams) -> dict[str, Any]:
        states, start = query.get_list("state"), int(query.get("cursor") or 0)
        fitting = [j for j in self.jobs.values() if not states or j["state"] in states]
        end = start + int(query["limit"])
        return {"items": fitting[start:end], "next": str(end) if end < len(fitting) else None}

    def _events(self, job_id: str) -> httpx.Response:
        job = self.jobs[job_id]
        progress = {"stage": "transcribe", "fraction": 0.5}
        fails = job["name"].startswith("fail")
        error = {"code": "engine_crashed", "message": "The engine crashed."}
        last = {"state": "failed", "error": error} if fails else {"state": "finished"}
        steps = [job, {**job, "state": "running", "progress": progress}, {**job, **last}]
        self.jobs[job_id] = steps[-1]
        text = "".join(f"event: job\ndata: {json.dumps(step)}\n\n" for step in steps)
        return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})

    def _act(self, method: str, job_id: str, action: list[str]) -> httpx.Response:
        if job_id not in self.jobs:
            return problem(404, "job_not_found", "There is no such job.")
        if action == ["deliveries"]:
            return httpx.Response(200, json={"items": self.deliveries})
        if method == "DELETE":
            del self.jobs[job_id]
            return httpx.Response(204)
        if action == ["cancel"]:
            if self.jobs[job_id]["state"] == "finished":
                return problem(409, "job_state", "The job is finished.")
            self.jobs[job_id]["state"] = "canceled"
        if action == ["retry"]:
            self.jobs[job_id]["state"] = "queued"
        return httpx.Response(200, json=self.jobs[job_id])


def _judged(name: str) -> httpx.Response | None:
    if name.startswith("bad"):
        return problem(422, "media_unreadable", "This is not a recording.")
    return None


def connected(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The client commands talk to this server."""

    def connect(_server: str | None, _api_key: str | None) -> Client:
        return Client("http://pretend", "rhk_x", transport=httpx.MockTransport(server))

    for module in (jobs, submit):
        monkeypatch.setattr(module, "connect", connect)
    return server


def is_uuid(text: str) -> bool:
    return str(UUID(text)) == text
