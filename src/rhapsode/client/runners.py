"""The runner's side of the runner protocol."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from rhapsode.client.decode import decode, encode
from rhapsode.client.http import TIMEOUT, Http
from rhapsode.client.problems import unreachable
from rhapsode.client.transfers import OUT_OF_RANGE, Report, download, file_body, ignore
from rhapsode.domain.errors import Conflict, Invalid, NotFound
from rhapsode.domain.jobs import JobError, Progress, RunnerId
from rhapsode.domain.runners import Assignment, Capabilities, Registration, Verdict
from rhapsode.domain.transcripts import Segment
from rhapsode.outbound.answers import Opened

# A heartbeat that takes longer had better be sent anew, on another connection.
_BEAT_TIMEOUT = httpx.Timeout(10)
# A long recording takes the server its time to finish storing, and to look into.
_KEEP_TIMEOUT = httpx.Timeout(TIMEOUT.connect, read=600, write=120)
_LOST_CODES = {"runner_not_found", "job_not_found"}


class RunnerApi:
    """What a runner asks of its server; nothing here tries again by itself."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def register(
        self, name: str, version: str, capabilities: Capabilities
    ) -> Registration:
        """Say who we are and what we can do; Denied where the token is refused."""
        body = {"name": name, "version": version, "capabilities": encode(capabilities)}
        answer = await self._http.json("POST", "/api/runners/register", json=body)
        return decode(Registration, answer)

    async def claim(
        self, runner_id: RunnerId, wait_seconds: float, loaded: Sequence[str] = ()
    ) -> Assignment | None:
        """The next fitting job, None where none came within the wait.

        `loaded` names the models that are in memory now. NotFound where the server does not
        know this runner (any more).
        """
        timeout = httpx.Timeout(TIMEOUT.connect, read=wait_seconds + 15)
        answer = await self._http.json(
            "POST",
            f"/api/runners/{runner_id}/claim",
            json={"wait_seconds": wait_seconds, "loaded": list(loaded)},
            timeout=timeout,
        )
        return None if answer is None else decode(Assignment, answer)

    def lease(self, runner_id: RunnerId, assignment: Assignment) -> "Lease":
        """The calls about one run of one job."""
        path = f"/api/runners/{runner_id}/leases/{assignment.job_id}/{assignment.attempt}"
        return Lease(self._http, path)


@dataclass(frozen=True, slots=True)
class _HeartbeatAnswer:
    verdict: Verdict


class LeaseLost(Conflict):
    """The job is somebody else's now, or nobody's: drop the work."""


class Lease:
    """One run of one job, seen from its runner. Every call can raise LeaseLost."""

    def __init__(self, http: Http, path: str) -> None:
        self._http = http
        self._path = path

    async def heartbeat(self, progress: Progress | None) -> Verdict:
        """Renew the lease and learn whether to go on."""
        body = {"progress": None if progress is None else encode(progress)}
        answer = await self._post("heartbeat", body, timeout=_BEAT_TIMEOUT)
        return decode(_HeartbeatAnswer, answer).verdict

    async def verdict(self, wait_seconds: float) -> Verdict:
        """Whether to go on, answered as soon as that is not so, or after the wait."""
        with _lease_errors():
            answer = await self._http.json(
                "GET",
                f"{self._path}/verdict",
                params={"wait_seconds": wait_seconds},
                timeout=httpx.Timeout(TIMEOUT.connect, read=wait_seconds + 15),
            )
        return decode(_HeartbeatAnswer, answer).verdict

    async def tell(self, first: int, segments: Sequence[Segment]) -> None:
        """Tell of segments as they come; `first` is how many were told of before."""
        await self._post("segments", {"first": first, "segments": encode(tuple(segments))})

    async def fetch_media(self, target: Path, digest: str, report: Report = ignore) -> None:
        """Bring the recording to `target`, however often the connection breaks."""
        path = f"{self._path}/media"
        with _lease_errors():
            await download(self._http, path, target, digest=digest, report=report, tries=None)

    async def send_result(self, document: Path) -> None:
        """Hand in the result, a JSON file of `transcript` and `warnings`; safe to repeat."""
        size = await asyncio.to_thread(lambda: document.stat().st_size)
        headers = {"Content-Type": "application/json", "Content-Length": str(size)}
        with _lease_errors():
            await self._http.bytes(
                "PUT", f"{self._path}/result", content=file_body(document), headers=headers
            )

    @asynccontextmanager
    async def open_source(self, headers: Mapping[str, str]) -> AsyncIterator[Opened]:
        """The recording of a job by URL, by way of the server."""
        asked = {"Accept-Encoding": "identity", **headers}
        async with AsyncExitStack() as stack:
            stack.enter_context(_lease_errors())
            streaming = self._http.stream("GET", f"{self._path}/media", headers=asked)
            try:
                response = await stack.enter_async_context(streaming)
            except Invalid as error:
                if error.code not in OUT_OF_RANGE:
                    raise
                yield Opened(status=416, headers={}, blocks=_nothing())
                return
            yield Opened(
                status=response.status_code,
                headers=dict(response.headers.items()),
                blocks=_blocks(response, self._http.server),
            )

    async def keep_media(self, path: Path, report: Report = ignore) -> None:
        """Store what was fetched by URL as the job's recording; safe to repeat."""
        size = await asyncio.to_thread(lambda: path.stat().st_size)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with _lease_errors():
            await self._http.bytes(
                "PUT",
                f"{self._path}/media",
                content=file_body(path, report),
                headers=headers,
                timeout=_KEEP_TIMEOUT,
            )

    async def fail(self, error: JobError, *, permanent: bool, expired: bool = False) -> None:
        """Say that this run failed; only a permanent failure spares the other attempts.

        `expired` says that the recording's URL does not work any more.
        """
        body = {"code": error.code, "message": error.message, "permanent": permanent}
        if expired:
            body["expired"] = True
        await self._post("failure", body)

    async def give_back(self) -> None:
        """Return the job to the queue, untouched."""
        await self._post("give-back", None)

    async def _post(self, name: str, body: object, **options: Any) -> Any:
        with _lease_errors():
            return await self._http.json("POST", f"{self._path}/{name}", json=body, **options)


async def _blocks(response: httpx.Response, server: str) -> AsyncIterator[bytes]:
    try:
        async for block in response.aiter_raw():
            yield block
    except httpx.RequestError as error:
        raise unreachable(error, server) from error


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@contextmanager
def _lease_errors() -> Iterator[None]:
    """A proxy's own 404 or 409 has no code of ours, and says nothing about the lease."""
    try:
        yield
    except (Conflict, NotFound) as error:
        is_conflict = isinstance(error, Conflict) and not error.code.startswith("http_")
        if is_conflict or error.code in _LOST_CODES:
            raise LeaseLost(error.code, error.message, hint=error.hint) from error
        raise


def result_document(transcript: dict[str, Any], warnings: Sequence[str]) -> dict[str, Any]:
    """What `Lease.send_result` expects in the file."""
    return {"transcript": transcript, "warnings": list(warnings)}
