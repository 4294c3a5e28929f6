"""People with an account, and what they do by the API rather than by the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
from playwright.async_api import Page

from tests.support.ports import until
from tests.support.server import EMAIL, PASSWORD

Json = dict[str, Any]
SPEC = {"model": "tiny.en"}


@dataclass
class Person:
    """Somebody who is signed in at the server."""

    http: httpx.Client
    email: str

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.http.request(method, f"/api{path}", **request).raise_for_status()

    def upload(self, recording: Path, name: str | None = None) -> Json:
        with recording.open("rb") as content:
            params = {"name": name or recording.name}
            return cast(
                "Json", self.ask("POST", "/media", content=content, params=params).json()
            )

    def submit(self, media: Json) -> Json:
        body = {"input": {"media_id": media["id"]}, "spec": SPEC}
        return cast("Json", self.ask("POST", "/jobs", json=body).json())

    def job(self, job_id: str) -> Json:
        return cast("Json", self.ask("GET", f"/jobs/{job_id}").json())

    def transcribed(self, recording: Path) -> Json:
        """A job for it, once it is finished."""
        job = self.submit(self.upload(recording))
        ends = {"finished", "failed", "canceled"}
        until(lambda: self.job(job["id"])["state"] in ends, 90, "the job ends")
        finished = self.job(job["id"])
        assert finished["state"] == "finished", finished
        return finished

    async def sign_in(self, page: Page) -> None:
        """Without the form: the browser gets the cookie of a new login."""
        body = {"email": self.email, "password": PASSWORD}
        answer = await page.context.request.post("/api/login", data=body)
        assert answer.ok, await answer.text()


@contextmanager
def signed_in(url: str, email: str = EMAIL) -> Iterator[Person]:
    with httpx.Client(base_url=url, timeout=60) as http:
        http.post("/api/login", json={"email": email, "password": PASSWORD}).raise_for_status()
        yield Person(http, email)


@contextmanager
def new_member(admin: Person) -> Iterator[Person]:
    """Somebody with a new account, so that a test sees no jobs but its own."""
    email = f"{uuid4().hex[:8]}@example.org"
    admin.ask("POST", "/users", json={"email": email, "password": PASSWORD})
    with signed_in(str(admin.http.base_url), email) as person:
        yield person
