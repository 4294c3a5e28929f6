"""The audit trail as administrators see it."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from rhapsode.cli.app import app as cli
from rhapsode.domain.users import Role
from tests.api.people import Person, Runner, job_in, make_person, problem
from tests.support.server import App, running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def trail(shared: App, **query: Any) -> list[dict[str, Any]]:
    answer = await shared.client.get("/api/audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_deleted_job_is_told_with_its_recording(
    shared: App, ann: Person, runner: Runner
) -> None:
    job = await job_in("finished", ann, runner)

    await ann.client.delete(f"/api/jobs/{job['id']}")

    (deleted,) = await trail(shared, subject=job["id"])
    (with_it,) = await trail(shared, subject=job["media_id"])
    assert deleted == {
        "id": deleted["id"],
        "at": deleted["at"],
        "actor_id": str(ann.user.id),
        "action": "job.deleted",
        "subject_kind": "job",
        "subject_id": job["id"],
        "detail": {
            "reason": "user",
            "owner": str(ann.user.id),
            "state": "finished",
            "had_transcript": True,
        },
    }
    assert (with_it["action"], with_it["actor_id"]) == ("media.deleted", str(ann.user.id))


async def test_a_recording_that_is_kept_is_not_in_the_trail(
    shared: App, ann: Person, runner: Runner
) -> None:
    job = await job_in("finished", ann, runner)

    await ann.client.delete(f"/api/jobs/{job['id']}", params={"keep_media": True})

    assert await trail(shared, subject=job["media_id"]) == []


async def test_a_deleted_recording_is_told(shared: App, ann: Person) -> None:
    media = await ann.media()

    await ann.client.delete(f"/api/media/{media.id}")

    (told,) = await trail(shared, subject=str(media.id))
    assert told["detail"] == {"reason": "user", "owner": str(ann.user.id), "size": 10}


async def test_a_deleted_account_is_told(shared: App) -> None:
    person = await make_person(shared)

    await shared.client.delete(f"/api/users/{person.user.id}")

    (told,) = await trail(shared, subject=str(person.user.id))
    assert (told["action"], told["actor_id"]) == ("user.deleted", str(shared.admin.id))


async def test_deletions_are_counted(shared: App, ann: Person, runner: Runner) -> None:
    job = await job_in("finished", ann, runner)
    labels = {"kind": "job", "reason": "user"}
    registry = shared.context.recorder.metrics.registry
    before = registry.get_sample_value("rhapsode_deleted_total", labels) or 0

    await ann.client.delete(f"/api/jobs/{job['id']}")

    assert registry.get_sample_value("rhapsode_deleted_total", labels) == before + 1


async def test_what_is_asked_for_is_shown(shared: App, ann: Person) -> None:
    media = [await ann.media() for _ in range(3)]
    for item in media:
        await ann.client.delete(f"/api/media/{item.id}")
    ids = [str(item.id) for item in reversed(media)]

    newest = (await trail(shared))[0]
    first = (await shared.client.get("/api/audit?action=media.deleted&limit=2")).json()
    rest = await trail(shared, action="media.deleted", cursor=first["next"], limit=1)
    since = await trail(shared, since=newest["at"])
    after = await trail(shared, since="2100-01-01T00:00:00Z")

    shown = [item["subject_id"] for item in [*first["items"], *rest]]
    assert (newest["subject_id"], shown) == (ids[0], ids)
    assert (since[-1], after) == (newest, [])


@pytest.mark.parametrize(
    "query",
    [
        {"action": "job.eaten"},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"limit": 0},
        {"cursor": "x"},
    ],
)
async def test_what_cannot_be_asked(shared: App, query: dict[str, Any]) -> None:
    answer = await shared.client.get("/api/audit", params=query)

    assert problem(answer) == (422, "invalid_request")


async def test_it_is_not_for_members(ann: Person) -> None:
    assert problem(await ann.get("/api/audit")) == (403, "admin_only")


async def test_the_command_line_shows_it_too(tmp_path: Path) -> None:
    async with running_app(settings_for(tmp_path)) as app:
        admin = await make_person(app, Role.ADMIN)
        media = await admin.media()
        await admin.client.delete(f"/api/media/{media.id}")
    run = CliRunner()
    arguments = ["audit", "--data", str(tmp_path / "data")]

    shown = await _apart(run, [*arguments, "--json", "--action", "media.deleted"])
    table = await _apart(run, [*arguments, "--subject", str(media.id)])
    nothing = await _apart(run, [*arguments, "--json", "--subject", str(uuid4())])

    (entry,) = json.loads(shown)
    assert (entry["subject_id"], entry["actor_id"]) == (str(media.id), str(admin.user.id))
    assert "media.deleted" in table
    assert "reason=user" in table
    assert json.loads(nothing) == []


async def _apart(run: CliRunner, arguments: list[str]) -> str:
    """In a thread: the command has a loop of its own."""
    result = await asyncio.to_thread(run.invoke, cli, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout
