"""Health, metrics, the OpenAPI document, and errors of every kind."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from openapi_spec_validator import validate

from rhapsode.api import health
from rhapsode.bootstrap import openapi
from rhapsode.services import users
from tests.api.people import Person, Runner, client_of, problem
from tests.support.ports import free_port
from tests.support.s3 import S3
from tests.support.server import App, running_app, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_it_lives(shared: App) -> None:
    answer = await client_of(shared, None).get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_it_is_ready_with_a_runner(shared: App, runner: Runner) -> None:
    body = (await client_of(shared, None).get("/ready")).json()

    assert body["status"] == "ready"
    assert body["checks"]["database"] == {"ok": True, "detail": "connected"}
    assert body["checks"]["object_store"] == {"ok": True, "detail": "readable and writable"}


async def test_without_runners_it_is_degraded(tmp_path: Any) -> None:
    async with running_app(settings_for(tmp_path)) as app:
        answer = await client_of(app, None).get("/ready")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["runners"] == {"ok": False, "detail": "0 online"}


async def test_without_its_database_it_is_not_ready(
    postgres_server: Any, tmp_path: Any
) -> None:
    url = postgres_server.create()
    async with running_app(settings_for(tmp_path, database_url=url)) as app:
        postgres_server.drop(url)

        ready = await client_of(app, None).get("/ready")
        jobs = await app.client.get("/api/jobs")

    assert (ready.status_code, ready.json()["status"]) == (503, "unready")
    assert ready.json()["checks"]["database"]["ok"] is False
    assert problem(jobs) == (503, "database_unavailable")


async def test_without_its_store_it_is_not_ready(
    s3_server: S3, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.5)
    store = replace(s3_server.create(), endpoint=f"http://127.0.0.1:{free_port()}")
    async with running_app(settings_for(tmp_path, store=store)) as app:
        ready = await client_of(app, None).get("/ready")

    assert (ready.status_code, ready.json()["checks"]["object_store"]["ok"]) == (503, False)


async def test_metrics_are_for_administrators(shared: App, ann: Person) -> None:
    assert problem(await ann.get("/metrics")) == (403, "admin_only")


async def test_metrics_count(shared: App, ann: Person, runner: Runner) -> None:
    await ann.job(runner)
    before = await metrics(shared)

    await (await runner.claimed()).result()

    after = await metrics(shared)
    name = f'engine="tests",model="{runner.model}"'
    grown = {key: after[key] - before.get(key, 0) for key in after}
    assert grown[f"rhapsode_audio_seconds_total{{{name}}}"] == 2.5
    assert grown['rhapsode_claims_total{outcome="job"}'] == 1


async def metrics(shared: App) -> dict[str, float]:
    text = (await shared.client.get("/metrics")).text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_made_up_methods_do_not_grow_the_metrics(shared: App) -> None:
    await shared.client.request("FROBNICATE", "/healthz")

    names = await metrics(shared)

    assert [name for name in names if "FROBNICATE" in name] == []


async def test_the_openapi_document_is_valid(shared: App) -> None:
    answer = await shared.client.get("/openapi.json")

    validate(answer.json())
    assert answer.json() == json.loads(json.dumps(openapi()))


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, item in openapi()["paths"].items()
        for method, operation in item.items()
    ]


@pytest.mark.parametrize(("method", "path", "operation"), operations())
async def test_every_operation_documents_its_errors(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    documented = set(operation["responses"])
    expected = set()
    if path.startswith(("/v1/", "/transcription/")):  # told of as their clients know it
        assert {"401", "503"} <= documented
        assert "HTTPValidationError" not in json.dumps(operation)
        return
    if path not in {"/healthz", "/ready", "/api/login", "/api/logout"}:
        expected |= {"401", "403"}
    if path not in {"/healthz", "/metrics"}:
        expected.add("503")
    if "{" in path:
        expected |= {"404", "422"}
    if "requestBody" in operation:
        expected.add("422")

    assert expected - documented == set()
    assert "HTTPValidationError" not in json.dumps(operation)


async def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/api/jobs/1/2/3", "/api"])
async def test_nothing_there(shared: App, path: str) -> None:
    answer = await shared.client.get(path)

    assert problem(answer) == (404, "not_found")
    assert answer.json()["detail"] == f"There is nothing at {path}."


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/api/jobs"), ("POST", "/healthz"), ("PATCH", "/api/me")]
)
async def test_not_possible_there(shared: App, method: str, path: str) -> None:
    answer = await shared.client.request(method, path)

    assert problem(answer) == (405, "method_not_allowed")
    assert "allow" in answer.headers


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "invalid_request"),
        (b"", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"\xff\xfe", 422, "invalid_request"),
        (b"[" * 60_000, 400, "bad_request"),
        (b'{"name": "' + b"x" * 2_000_000 + b'"}', 413, "body_too_large"),
    ],
)
async def test_bodies_that_are_no_document(
    ann: Person, body: bytes, status: int, code: str
) -> None:
    answer = await ann.client.post(
        "/api/keys", content=body, headers={"content-type": "application/json"}
    )

    assert problem(answer) == (status, code)


@pytest.mark.parametrize("given", ["my-request-1", "0123456789abcdef"])
async def test_the_callers_request_id_is_kept(shared: App, given: str) -> None:
    answer = await shared.client.get("/api/nothing", headers={"x-request-id": given})

    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == (given, given)


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space", "a\tbcdefghij"])
async def test_what_is_no_request_id_is_replaced(shared: App, given: str) -> None:
    answer = await shared.client.get("/healthz", headers={"x-request-id": given})

    assert len(answer.headers["x-request-id"]) == 32


async def test_errors_that_nobody_expected_are_told_with_an_id(
    shared: App, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("something of the inside")

    monkeypatch.setattr(users, "by_key", broken)
    application = shared.client._transport.app  # type: ignore[attr-defined]
    transport = ASGITransport(application, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.get("/api/me", headers={"authorization": "Bearer x"})

    assert problem(answer) == (500, "internal_error")
    assert "inside" not in answer.text
    failed = next(line for line in logged.getvalue().splitlines() if "request.failed" in line)
    assert json.loads(failed)["request_id"] == answer.json()["request_id"]
    assert "ZeroDivisionError: something of the inside" in failed
