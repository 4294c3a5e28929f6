"""The API as a person's programs use it: media, jobs, transcripts, keys and users."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import httpx

from rhapsode.client import tus
from rhapsode.client.decode import decode
from rhapsode.client.events import Event, events
from rhapsode.client.http import Http, given
from rhapsode.client.notes import Notes
from rhapsode.client.retry import with_retries
from rhapsode.client.transfers import Report, download, ignore
from rhapsode.client.views import (
    Items,
    JobPage,
    MediaPage,
    MediaView,
    NewSecret,
    Wishes,
)
from rhapsode.domain.cues import Shaping
from rhapsode.domain.formats import Format
from rhapsode.domain.jobs import TERMINAL, Job, JobId, JobState
from rhapsode.domain.media import MediaId
from rhapsode.domain.users import User


def _new_job(
    recording: MediaId | str, spec: Mapping[str, Any], wishes: Wishes
) -> dict[str, Any]:
    """The body that asks for a job, with what is wished for only."""
    by_url = isinstance(recording, str)
    place = {"url": recording} if by_url else {"media_id": str(recording)}
    days = given(media_days=wishes.media_days, transcript_days=wishes.transcript_days)
    return {
        "input": {
            **place,
            **given(name=wishes.name),
            **({"keep": True} if by_url and wishes.keep else {}),
        },
        "spec": dict(spec),
        **({"outputs": dict(wishes.outputs)} if wishes.outputs else {}),
        **({"notify": {"email": True}} if wishes.email else {}),
        **({"retention": days} if days else {}),
    }


class Client:
    """The server's API. Use it as an async context manager.

    Every method raises the server's refusal as the matching domain error, and Unreachable
    where there is no server. A POST that creates carries an idempotency key, so a
    connection that breaks is tried again without making things twice.
    """

    def __init__(
        self,
        server: str,
        secret: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.http = Http(server, secret, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    # The server and who we are

    async def me(self) -> User:
        """The user whose key this is."""
        return decode(User, await self._get("/api/me"))

    async def options(self) -> dict[str, Any]:
        """Engines, models, layouts, formats, defaults and limits of this server."""
        return decode(dict[str, Any], await self._get("/api/options"))

    async def ready(self) -> dict[str, Any]:
        """The state of the server's parts; Unavailable where it is not ready."""
        return decode(dict[str, Any], await self._get("/ready"))

    # Media

    async def upload(
        self,
        path: Path,
        *,
        name: str | None = None,
        report: Report = ignore,
        notes: Notes | None = None,
    ) -> MediaView:
        """Store a file, in pieces that outlive broken connections and restarts of the server.

        `report` hears how many bytes have arrived. With `notes` it goes on where another run
        of the program stopped, until `forget_upload`.
        """
        media_id = await tus.upload(self.http, path, name=name, report=report, notes=notes)
        return await with_retries(lambda: self.media(media_id))

    def forget_upload(self, path: Path, notes: Notes) -> None:
        """The recording has been put to use: the same file sent again is a new one."""
        tus.forget(self.http, path, notes)

    async def media(self, media_id: MediaId) -> MediaView:
        """One recording."""
        return decode(MediaView, await self._get(f"/api/media/{media_id}"))

    async def media_page(
        self,
        *,
        digest: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> MediaPage:
        """Our recordings; with `digest` (SHA-256) those with exactly these bytes."""
        query = given(digest=digest, cursor=cursor, limit=limit)
        return decode(MediaPage, await self._get("/api/media", params=query))

    async def download_media(
        self, media: MediaView, target: Path, *, report: Report = ignore
    ) -> None:
        """Bring a recording to the file `target`, checked against its digest."""
        path = f"/api/media/{media.id}/content?download=1"
        await download(self.http, path, target, digest=media.digest, report=report)

    async def delete_media(self, media_id: MediaId) -> None:
        """Delete a recording; Conflict while a job needs it."""
        await self._delete(f"/api/media/{media_id}")

    # Jobs

    async def submit(
        self,
        recording: MediaId | str,
        spec: Mapping[str, Any] | None = None,
        wishes: Wishes | None = None,
    ) -> Job:
        """Ask for a transcript of what was uploaded, or of what a URL leads to.

        What `spec` leaves out takes the server's defaults.
        """
        wanted = wishes or Wishes()
        body = _new_job(recording, spec or {}, wanted)
        return decode(Job, await self._create("/api/jobs", body, wanted.key))

    async def job(self, job_id: JobId) -> Job:
        """One job as it stands."""
        return decode(Job, await self._get(f"/api/jobs/{job_id}"))

    async def job_page(
        self,
        *,
        states: Iterable[JobState] = (),
        search: str | None = None,
        source: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> JobPage:
        """Our jobs, newest first, at most 200 a page; `source` begins a recording's URL."""
        query = {
            **given(search=search, source=source, cursor=cursor, limit=limit),
            "state": [state.value for state in states],
        }
        return decode(JobPage, await self._get("/api/jobs", params=query))

    async def cancel(self, job_id: JobId) -> Job:
        """Call a job off."""
        return decode(Job, await self._post(f"/api/jobs/{job_id}/cancel"))

    async def retry(
        self,
        job_id: JobId,
        *,
        url: str | None = None,
        outputs: Mapping[str, str] | None = None,
    ) -> Job:
        """Queue a job again that failed, expired or was canceled, perhaps with fresh URLs.

        What has its transcript is only delivered again.
        """
        source = None if url is None else {"url": url}
        body = given(input=source, outputs=dict(outputs) if outputs else None)
        path = f"/api/jobs/{job_id}/retry"
        return decode(Job, await self.http.json("POST", path, json=dict(body)))

    async def deliveries(self, job_id: JobId) -> list[dict[str, Any]]:
        """What a job sends where, and how that goes; the oldest first."""
        return await self._items(f"/api/jobs/{job_id}/deliveries")

    async def deliver(self, job_id: JobId, outputs: Mapping[str, str]) -> list[dict[str, Any]]:
        """Send a job's artifacts to fresh or further URLs; all of its deliveries."""
        path, body = f"/api/jobs/{job_id}/deliveries", {"outputs": dict(outputs)}
        return decode(Items, await self._create(path, body)).items

    async def redeliver(self, delivery_id: UUID | str) -> dict[str, Any]:
        """Send a delivery once more, or at once instead of later."""
        path = f"/api/deliveries/{delivery_id}/redeliver"
        return decode(dict[str, Any], await self._post(path))

    async def delete_job(self, job_id: JobId, *, keep_media: bool = False) -> None:
        """Delete a job, its transcript and, unless kept, its recording."""
        query = {"keep_media": str(keep_media).lower()}
        await self._delete(f"/api/jobs/{job_id}", params=query)

    async def transcript(
        self, job_id: JobId, kind: Format = Format.JSON, shaping: Shaping | None = None
    ) -> str:
        """The transcript in a text format; Conflict before the job is finished."""
        limits = shaping or Shaping()
        query = given(
            format=kind.value,
            chars_per_line=limits.chars_per_line,
            lines_per_cue=limits.lines_per_cue,
            words_per_cue=limits.words_per_cue,
        )
        path = f"/api/jobs/{job_id}/transcript"
        return (await self.http.bytes("GET", path, params=query)).decode()

    def events(self, *, tries: int | None = None) -> AsyncGenerator[Event, None]:
        """What happens to all our jobs; read the list anew after a RECONNECTED event."""
        return events(self.http, "/api/events", tries=tries)

    async def follow(
        self, job_id: JobId, *, tries: int | None = None
    ) -> AsyncGenerator[Job, None]:
        """The job now and at each change, until it has ended."""
        path = f"/api/jobs/{job_id}/events"
        async with aclosing(events(self.http, path, tries=tries)) as arriving:
            async for name, data in arriving:
                if name != "job":
                    continue
                job = decode(Job, data)
                yield job
                if job.state in TERMINAL:
                    return

    # Administration

    async def runners(self) -> list[dict[str, Any]]:
        """Every runner: what it can do, when it was `seen_at`, the `job_id` it works on."""
        return await self._items("/api/runners")

    async def keys(self) -> list[dict[str, Any]]:
        """Our API keys, without their secrets."""
        return await self._items("/api/keys")

    async def create_key(self, name: str) -> NewSecret:
        """A new API key of ours."""
        return decode(NewSecret, await self._create("/api/keys", {"name": name}))

    async def delete_key(self, key_id: UUID) -> None:
        """Make an API key void."""
        await self._delete(f"/api/keys/{key_id}")

    async def runner_tokens(self) -> list[dict[str, Any]]:
        """The runner tokens, without their secrets."""
        return await self._items("/api/runner-tokens")

    async def create_runner_token(self, name: str) -> NewSecret:
        """A new runner token."""
        return decode(NewSecret, await self._create("/api/runner-tokens", {"name": name}))

    async def delete_runner_token(self, token_id: UUID) -> None:
        """Make a runner token void."""
        await self._delete(f"/api/runner-tokens/{token_id}")

    async def users(self) -> list[dict[str, Any]]:
        """Every account."""
        return await self._items("/api/users")

    async def create_user(
        self, email: str, role: str, password: str | None = None
    ) -> dict[str, Any]:
        """A new account, with its `password` where the server made it up."""
        body = given(email=email, role=role, password=password)
        return decode(dict[str, Any], await self._create("/api/users", body))

    async def delete_user(self, user_id: UUID) -> None:
        """Delete an account; Conflict while it owns recordings or jobs."""
        await self._delete(f"/api/users/{user_id}")

    # How each kind of request is made

    async def _get(self, path: str, **options: Any) -> Any:
        return await self.http.json("GET", path, **options)

    async def _items(self, path: str) -> list[dict[str, Any]]:
        return decode(Items, await self._get(path)).items

    async def _post(self, path: str) -> Any:
        return await self.http.json("POST", path)

    async def _create(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Any:
        headers = {"Idempotency-Key": key or str(uuid4())}
        return await with_retries(
            lambda: self.http.json("POST", path, json=dict(body), headers=headers)
        )

    async def _delete(self, path: str, **options: Any) -> None:
        await with_retries(lambda: self.http.bytes("DELETE", path, **options))
