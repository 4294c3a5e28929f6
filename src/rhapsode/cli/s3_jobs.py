"""`rhapsode s3 list, info, delete, purge`: jobs by the keys of their recordings."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from rhapsode.cli.connect import connect, run
from rhapsode.cli.jobs import Shown, details
from rhapsode.cli.options import ApiKey, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_table, emit_text, local
from rhapsode.cli.s3_options import (
    Endpoint,
    InputBucket,
    Prefix,
    Profile,
    Region,
    VirtualHost,
)
from rhapsode.cli.s3_store import Access, Store
from rhapsode.domain.errors import NotFound
from rhapsode.domain.jobs import TERMINAL, Job, JobState

if TYPE_CHECKING:
    from rhapsode.client import Client

States = Annotated[
    list[JobState] | None,
    typer.Option("--state", help="Only jobs in this state.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A bucket by the addresses of its objects: all that is needed to find its jobs."""

    store: Store
    name: str

    async def jobs(
        self, client: "Client", prefix: str, fits: Callable[[Job], bool] = lambda _: True
    ) -> list[tuple[str, Job]]:
        """The keys under a prefix with their jobs, the newest first."""
        from rhapsode.cli.s3_batch import jobs_below

        base = self.store.below(self.name, "")
        start = self.store.below(self.name, prefix)
        return [
            (unquote(job.source.url.removeprefix(base)), job)
            async for job in jobs_below(client, start)
            if job.source and fits(job)
        ]

    async def of(self, client: "Client", key: str) -> list[Job]:
        """The jobs of one recording, the newest first; NotFound where there are none."""
        address = self.store.address(self.name, key)
        found = [
            job
            for _, job in await self.jobs(client, key)
            if job.source and job.source.url == address
        ]
        if not found:
            raise NotFound("job_not_found", f"No job of yours is for '{key}' in '{self.name}'.")
        return found


def _bucket(
    name: str,
    endpoint: str | None,
    region: str | None,
    profile: str | None,
    host: bool | None,  # noqa: FBT001
) -> _Bucket:
    access = Access(endpoint=endpoint, region=region, profile=profile, virtual_host=host)
    return _Bucket(Store(access), name)


def listed(
    *,
    input_bucket: InputBucket,
    prefix: Prefix = "",
    states: States = None,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    virtual_host: VirtualHost = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """List your jobs for recordings in a bucket, the newest first."""
    bucket = _bucket(input_bucket, endpoint, region, profile, virtual_host)

    async def work() -> list[tuple[str, Job]]:
        async with connect(server, api_key) as client:
            return await bucket.jobs(client, prefix, _in(states))

    found = run(work())
    if json:
        emit_json([{"key": key, "job": job} for key, job in found])
    else:
        emit_table(("key", "state", "job", "created", "error"), map(_row, found))


def _in(states: Collection[JobState] | None) -> Callable[[Job], bool]:
    return lambda job: not states or job.state in states


def _row(found: tuple[str, Job]) -> tuple[object, ...]:
    key, job = found
    return (key, job.state.value, job.id, local(job.created_at), job.error and job.error.code)


def info(
    key: Annotated[str, typer.Argument(help="A recording's key in the bucket.")],
    *,
    input_bucket: InputBucket,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    virtual_host: VirtualHost = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Show the newest job for a recording in a bucket."""
    bucket = _bucket(input_bucket, endpoint, region, profile, virtual_host)

    async def work() -> Shown:
        async with connect(server, api_key) as client:
            job = (await bucket.of(client, key))[0]
            return Shown(job, await client.deliveries(job.id))

    found = run(work())
    if json:
        emit_json({**asdict(found.job), "deliveries": found.deliveries})
    else:
        emit_table(("job", str(found.job.id)), details(found))


def delete(
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="Recordings by their keys.")
    ],
    *,
    input_bucket: InputBucket,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    virtual_host: VirtualHost = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Delete every job for these recordings, without asking; one that runs is called off.

    Nothing in a bucket is touched.
    """
    bucket = _bucket(input_bucket, endpoint, region, profile, virtual_host)

    async def work() -> list[Job]:
        async with connect(server, api_key) as client:
            found = [job for key in keys for job in await bucket.of(client, key)]
            return await _deleted(client, found)

    _tell(run(work()), as_json=json)


def purge(
    *,
    input_bucket: InputBucket,
    prefix: Prefix = "",
    states: States = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    endpoint: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    virtual_host: VirtualHost = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Delete the jobs for a bucket that have ended, with the transcripts kept on the server.

    Nothing in a bucket is touched.
    """
    bucket = _bucket(input_bucket, endpoint, region, profile, virtual_host)
    chosen = _in(states)

    async def find() -> list[Job]:
        async with connect(server, api_key) as client:
            found = await bucket.jobs(
                client, prefix, lambda job: job.state in TERMINAL and chosen(job)
            )
            return [job for _, job in found]

    async def work(found: Sequence[Job]) -> list[Job]:
        async with connect(server, api_key) as client:
            return await _deleted(client, found)

    found = run(find())
    if found and not yes:
        typer.confirm(f"Delete {len(found)} jobs?", abort=True, err=True)
    _tell(run(work(found)), as_json=json)


async def _deleted(client: "Client", found: Sequence[Job]) -> list[Job]:
    for job in found:
        try:
            await client.delete_job(job.id)
        except NotFound:  # somebody else was faster
            continue
    return list(found)


def _tell(deleted: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        emit_json([{"id": job.id, "source": _source(job)} for job in deleted])
    else:
        emit_text(f"{len(deleted)} deleted.")


def _source(job: Job) -> Any:
    return job.source.url if job.source else None
