"""`rhapsode jobs`: the list of jobs, and below it what they deliver."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from rhapsode.cli import jobs
from rhapsode.cli.connect import connect, find_job, run
from rhapsode.cli.group import Group
from rhapsode.cli.options import ApiKey, JobIdText, Json, ServerUrl
from rhapsode.cli.output import emit_json, emit_table, emit_text
from rhapsode.cli.spec import outputs_of
from rhapsode.domain.deliveries import META
from rhapsode.domain.errors import Conflict, NotFound

app = typer.Typer(cls=Group, invoke_without_command=True)
app.callback()(jobs.jobs)

_COLUMNS = ("id", "what", "state", "tries", "status", "ms", "to", "last error")
_SHORT_ID = 12
_NOT_ARRIVED = frozenset({"dead", "expired", "canceled"})


@app.command()
def deliveries(
    job_id: JobIdText,
    *,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Show what a job has sent where, and what it still has to send."""
    _show(run(_of_job(server, api_key, job_id)), as_json=json)


async def _of_job(server: str | None, api_key: str | None, text: str) -> list[dict[str, Any]]:
    async with connect(server, api_key) as client:
        return await client.deliveries(await find_job(client, text))


@app.command()
def redeliver(
    job_id: JobIdText,
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="An artifact or event, as in `vtt`, or a delivery's id or its end.",
            show_default="all that did not arrive",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL", help="Send an artifact to another URL.", show_default=False
        ),
    ] = None,
    json: Json = False,
    server: ServerUrl = None,
    api_key: ApiKey = None,
) -> None:
    """Send again what a job could not deliver; it is not transcribed again."""
    fresh = outputs_of(to, "--to")
    _show(run(_again(server, api_key, job_id, only or (), fresh)), as_json=json)


async def _again(
    server: str | None,
    api_key: str | None,
    text: str,
    only: Sequence[str],
    fresh: Mapping[str, str],
) -> list[dict[str, Any]]:
    async with connect(server, api_key) as client:
        job_id = await find_job(client, text)
        chosen = _chosen(await client.deliveries(job_id), only, fresh)
        if fresh:
            await client.deliver(job_id, fresh)
        for item in chosen:
            await client.redeliver(item["id"])
        return await client.deliveries(job_id)


def _chosen(
    found: Sequence[dict[str, Any]], only: Sequence[str], fresh: Mapping[str, str]
) -> Iterable[Mapping[str, Any]]:
    """Of each name the latest delivery: what came before it, it replaces."""
    if only:
        return [_named(found, name) for name in only]
    latest = {(item["subject"], item["endpoint_id"]): item for item in found}
    waiting = [
        item
        for item in latest.values()
        if item["state"] in _NOT_ARRIVED and item["subject"] not in fresh
    ]
    if not waiting and not fresh:
        raise Conflict(
            "nothing_to_deliver",
            "Everything that this job had to send has arrived, or is on its way.",
            hint="`--only NAME` sends something once more all the same.",
        )
    return _without_record(waiting)


def _without_record(chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The job's record goes out by itself, after the other artifacts."""
    artifacts = {item["subject"] for item in chosen if item["kind"] == "artifact"}
    return [it for it in chosen if it["subject"] != META or artifacts == {META}]


def _named(found: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    ending = name.lower()
    fits = [it for it in found if it["subject"] == name or it["id"].endswith(ending)]
    if fits:
        return fits[-1]
    raise NotFound(
        "delivery_not_found",
        f"The job has no delivery called '{name[:40]}'.",
        hint="`rhapsode jobs deliveries ID` lists them.",
    )


def _show(found: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        emit_json(found)
    elif found:
        emit_table(_COLUMNS, map(_row, found))
    else:
        emit_text("This job has nothing to deliver.")


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    what = (
        item["subject"] if item["kind"] == "artifact" else f"{item['kind']} {item['subject']}"
    )
    latency = item["latency"]
    return (
        item["id"][-_SHORT_ID:],
        what,
        item["state"],
        item["attempts"],
        item["status"],
        None if latency is None else round(latency * 1000),
        item["url"] or item["destination"],
        item["error"],
    )
