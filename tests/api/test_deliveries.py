"""/api/deliveries, and those of a job: what they show, and whom; no secret anywhere."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.api.people import Person, Runner, make_person, make_runner, problem
from tests.support.delivering import delivering_settings
from tests.support.receiver import Receiver, Reply, receiving
from tests.support.server import App, running_app

SECRET = "c2VjcmV0LW9mLXRoZS11cmw"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
async def app(database_url: str, tmp_path: Path) -> AsyncIterator[App]:
    settings = delivering_settings(tmp_path, database_url, deliveries={"attempts": 2})
    async with running_app(settings) as running:
        yield running


@pytest.fixture
async def ann(app: App) -> Person:
    return await make_person(app)


@pytest.fixture
async def runner(app: App) -> Runner:
    return await make_runner(app)


async def done(ann: Person, runner: Runner, outputs: dict[str, str]) -> dict[str, Any]:
    """A job with outputs that has been transcribed and has ended."""
    media = await ann.media()
    asked = {
        "input": {"media_id": str(media.id)},
        "spec": {"engine": "tests", "model": runner.model},
        "outputs": outputs,
    }
    made = await ann.client.post("/api/jobs", json=asked)
    assert made.status_code == 201, made.text
    assert (await (await runner.claimed()).result()).status_code in {200, 204}
    return await ended(ann, made.json())


async def ended(ann: Person, job: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (found := await ann.see(job))["state"] in {"queued", "running", "delivering"}:
            await asyncio.sleep(0.02)
    return found


async def test_a_delivery_shows_how_it_went(
    ann: Person, runner: Runner, receiver: Receiver
) -> None:
    receiver.always["/a"] = Reply(400, body=b"no such\0bucket")
    job = await done(ann, runner, {"vtt": f"{receiver.url}/a?X-Amz-Signature={SECRET}"})
    answer = await ann.get(f"/api/jobs/{job['id']}/deliveries")

    (found,) = answer.json()["items"]
    latency = found.pop("latency")
    times = [found.pop(name) for name in ("created_at", "next_at", "settled_at")]
    assert 0 < latency < 5
    assert times == sorted(times)
    assert found == {
        "id": receiver.log[0].delivery_id,
        "job_id": job["id"],
        "endpoint_id": None,
        "kind": "artifact",
        "subject": "vtt",
        "destination": receiver.url.removeprefix("http://"),
        "url": f"{receiver.url}/a",
        "state": "dead",
        "attempts": 1,
        "status": 400,
        "error": "The receiver answered 400.",
        "response": "no such\N{REPLACEMENT CHARACTER}bucket",
    }
    assert (job["state"], job["error"]["code"]) == ("failed", "delivery_failed")


async def test_redelivered_by_one_call(ann: Person, runner: Runner, receiver: Receiver) -> None:
    receiver.plan("/a", Reply(400))
    job = await done(ann, runner, {"vtt": f"{receiver.url}/a"})
    delivery_id = receiver.log[0].delivery_id
    answer = await ann.client.post(f"/api/deliveries/{delivery_id}/redeliver")

    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    assert (await ended(ann, job))["state"] == "finished"
    assert [item.delivery_id for item in receiver.log] == [delivery_id] * 2


async def test_fresh_urls_by_one_call(ann: Person, runner: Runner, receiver: Receiver) -> None:
    receiver.always["/old"] = Reply(403)
    job = await done(ann, runner, {"vtt": f"{receiver.url}/old"})
    fresh = {"outputs": {"vtt": f"{receiver.url}/new?X-Amz-Signature={SECRET}"}}
    answer = await ann.client.post(f"/api/jobs/{job['id']}/deliveries", json=fresh)

    assert (job["state"], job["error"]["code"]) == ("expired", "output_expired")
    assert [item["state"] for item in answer.json()["items"]] == ["canceled", "pending"]
    again = await ended(ann, job)
    assert (again["state"], again["error"], again["attempt"]) == ("finished", None, 1)
    assert again["outputs"] == {"vtt": f"{receiver.url}/new"}


async def test_a_list_is_filtered_and_paged(
    ann: Person, runner: Runner, receiver: Receiver
) -> None:
    receiver.always["/txt"] = Reply(400)
    outputs = {name: f"{receiver.url}/{name}" for name in ("vtt", "srt", "txt")}
    jobs = [await done(ann, runner, outputs) for _ in range(3)]

    async def listed(**params: Any) -> list[str]:
        answer = await ann.get("/api/deliveries", **params)
        return [item["subject"] for item in answer.json()["items"]]

    assert len(await listed()) == 9
    assert await listed(state="dead") == ["txt"] * 3
    assert sorted(await listed(state=["dead", "delivered"], job_id=jobs[0]["id"])) == [
        "srt",
        "txt",
        "vtt",
    ]
    assert await listed(endpoint_id=str(uuid4())) == []
    seen, cursor = [], None
    while True:
        params = {"limit": 4, **({"cursor": cursor} if cursor else {})}
        page = (await ann.get("/api/deliveries", **params)).json()
        seen += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert (len(seen), seen) == (9, sorted(seen, reverse=True))


async def test_what_is_anothers_is_not_there(
    app: App, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    job = await done(ann, runner, {"vtt": f"{receiver.url}/a"})
    delivery_id = receiver.log[0].delivery_id
    ben = await make_person(app)
    fresh = {"outputs": {"vtt": f"{receiver.url}/b"}}
    path = f"/api/jobs/{job['id']}/deliveries"

    assert problem(await ben.get(path)) == (404, "job_not_found")
    assert problem(await ben.client.post(path, json=fresh)) == (404, "job_not_found")
    again = await ben.client.post(f"/api/deliveries/{delivery_id}/redeliver")
    assert problem(again) == (404, "delivery_not_found")
    assert (await ben.get("/api/deliveries")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"outputs": {}}, 422, "invalid_request"),
        ({"outputs": {"doc": "https://example.org"}}, 422, "unknown_artifact"),
        ({"outputs": {"vtt": "file:///etc/passwd"}}, 422, "url_invalid"),
        ({"outputs": {"vtt": "http://[::1]:99999999"}}, 422, "url_invalid"),
        ({"outputs": {"vtt": "http://10.0.0.1/"}}, 403, "address_refused"),
        ({"outputs": {"vtt": "https://example.org"}, "more": 1}, 422, "invalid_request"),
    ],
)
async def test_what_is_no_use_is_refused(
    ann: Person, runner: Runner, body: dict[str, Any], status: int, code: str
) -> None:
    job = await done(ann, runner, {})
    answer = await ann.client.post(f"/api/jobs/{job['id']}/deliveries", json=body)
    assert problem(answer) == (status, code)


async def test_metrics_count_them(
    app: App, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    receiver.plan("/vtt", Reply(503))
    receiver.always["/txt"] = Reply(400)
    await done(ann, runner, {name: f"{receiver.url}/{name}" for name in ("vtt", "txt")})
    text = (await app.client.get("/metrics")).text

    def value(series: str) -> float:
        (line,) = [line for line in text.splitlines() if line.startswith(series + " ")]
        return float(line.rpartition(" ")[2])

    for outcome in ("again", "delivered", "dead"):
        found = value(f'rhapsode_deliveries_total{{kind="artifact",outcome="{outcome}"}}')
        assert (outcome, found) == (outcome, 1.0)
    assert value('rhapsode_delivery_seconds_count{kind="artifact"}') == 3.0
    assert value('rhapsode_deliveries_unsettled{state="dead"}') == 1.0
    assert value('rhapsode_deliveries_unsettled{state="pending"}') == 0.0


async def test_no_secret_is_shown_or_logged(
    ann: Person, runner: Runner, receiver: Receiver, logged: io.StringIO
) -> None:
    receiver.always["/txt"] = Reply(403, body=f"bad {SECRET}".encode())
    receiver.plan("/vtt", Reply(500, body=SECRET.encode()))
    query = f"?X-Amz-Signature={SECRET}&token={SECRET}"
    outputs = {name: f"{receiver.url}/{name}{query}" for name in ("txt", "vtt", "meta")}
    job = await done(ann, runner, outputs)
    shown = [
        (await ann.get(path)).text
        for path in (
            f"/api/jobs/{job['id']}",
            "/api/jobs",
            f"/api/jobs/{job['id']}/deliveries",
            "/api/deliveries",
        )
    ]
    assert len(receiver.log) == 4
    assert [text for text in [*shown, logged.getvalue()] if SECRET in text] == []
    assert SECRET not in json.dumps(job)
    assert SECRET.encode() not in receiver.at("/meta")[0].body
