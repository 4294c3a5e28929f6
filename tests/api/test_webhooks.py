"""Webhooks from the API to real receivers, whose signatures the reference library verifies."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from rhapsode.database.audit import AuditFilter
from rhapsode.domain.errors import Invalid
from rhapsode.domain.webhooks import MOST_ENDPOINTS
from rhapsode.outbound.guard import Policy
from rhapsode.services import audit, webhooks
from tests.api.people import Person, Runner, make_person, make_runner, problem
from tests.support.delivering import delivering_settings
from tests.support.receiver import Manner, Received, Receiver, Reply, receiving
from tests.support.server import App, running_app

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = 3


@pytest_asyncio.fixture(params=["sqlite", "postgresql"], scope="module", loop_scope="module")
async def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[App]:
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").create()
    folder = tmp_path_factory.mktemp("webhooks")
    settings = delivering_settings(folder, url, deliveries={"attempts": ATTEMPTS})
    async with running_app(settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def ann(app: App) -> Person:
    return await make_person(app)


@pytest_asyncio.fixture(loop_scope="module")
async def runner(app: App) -> Runner:
    return await make_runner(app)


@dataclass
class Hook:
    """An endpoint of a person's, and the path of the receiver that it leads to."""

    person: Person
    receiver: Receiver
    document: dict[str, Any]
    path: str

    @property
    def route(self) -> str:
        return f"/api/webhooks/{self.document['id']}"

    async def got(self, count: int = 1) -> list[Received]:
        """What has come in, once so many have."""
        async with asyncio.timeout(15):
            while len(self.receiver.at(self.path)) < count:
                await asyncio.sleep(0.02)
        return self.receiver.at(self.path)

    def opened(self, received: Received) -> Any:
        """The body, if the newest key or the first signed it."""
        return Webhook(self.document["secret"]).verify(received.body, dict(received.headers))

    async def deliveries(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (
            await self.person.get(f"{self.route}/deliveries")
        ).json()["items"]
        return items

    async def settled(self) -> dict[str, Any]:
        """The newest delivery, once it is settled."""
        async with asyncio.timeout(15):
            while (found := await self.deliveries())[0]["state"] == "pending":
                await asyncio.sleep(0.02)
        return found[0]

    async def tested(self) -> dict[str, Any]:
        made = await self.person.client.post(f"{self.route}/test")
        assert made.status_code == 201, made.text
        document: dict[str, Any] = made.json()
        return document


async def make_hook(
    person: Person, receiver: Receiver, *plan: Reply | Manner, **body: Any
) -> Hook:
    path = f"/{uuid4()}"
    url = receiver.plan(path, *plan)
    answer = await person.client.post("/api/webhooks", json={"url": url, **body})
    assert answer.status_code == 201, answer.text
    return Hook(person, receiver, answer.json(), path)


async def finish(ann: Person, runner: Runner) -> dict[str, Any]:
    job = await ann.job(runner)
    await (await runner.claimed()).result()
    return job


async def fail(ann: Person, runner: Runner) -> dict[str, Any]:
    job = await ann.job(runner)
    await (await runner.claimed()).failure(permanent=True)
    return job


async def cancel(ann: Person, runner: Runner) -> dict[str, Any]:
    job = await ann.job(runner)
    await ann.client.post(f"/api/jobs/{job['id']}/cancel")
    return job


async def test_an_endpoint_shows_its_key_once_and_never_what_is_secret_in_its_url(
    ann: Person, receiver: Receiver
) -> None:
    url = f"{receiver.url}/hook?token=hidden"
    made = await ann.client.post("/api/webhooks", json={"url": url, "description": "CI"})

    document = made.json()
    secret = document.pop("secret")
    assert made.status_code == 201
    assert secret.startswith("whsec_")
    assert document == {
        "id": document["id"],
        "url": f"{receiver.url}/hook",
        "description": "CI",
        "events": ["job.finished", "job.failed", "job.expired", "job.canceled"],
        "enabled": True,
        "disabled_reason": None,
        "insecure": True,
        "signing_keys": 1,
        "created_at": document["created_at"],
    }
    assert (await ann.get("/api/webhooks")).json() == {"items": [document]}
    assert (await ann.get(f"/api/webhooks/{document['id']}")).json() == document


@pytest.mark.parametrize(
    ("bring_about", "state", "error"),
    [
        (finish, "finished", None),
        (fail, "failed", {"code": "broken", "message": "It broke."}),
        (cancel, "canceled", None),
    ],
)
async def test_each_end_of_a_job_is_told(
    ann: Person,
    runner: Runner,
    receiver: Receiver,
    bring_about: Callable[[Person, Runner], Awaitable[dict[str, Any]]],
    state: str,
    error: dict[str, str] | None,
) -> None:
    hook = await make_hook(ann, receiver)

    job = await bring_about(ann, runner)

    (got,) = await hook.got()
    ended = await ann.see(job)
    message = hook.opened(got)
    moment = message.pop("timestamp")
    assert message == {
        "type": f"job.{state}",
        "data": {
            "job_id": job["id"],
            "name": job["name"],
            "state": state,
            "language": ended["language"],
            "duration": ended["duration"],
            "error": error,
        },
    }
    assert moment.removesuffix("+00:00") == ended["finished_at"].removesuffix("Z")
    assert (got.method, got.headers["content-type"]) == ("POST", "application/json")
    (delivery,) = await hook.deliveries()
    assert got.headers["webhook-id"] == delivery["id"]


async def test_an_expired_url_is_told(ann: Person, runner: Runner, receiver: Receiver) -> None:
    hook = await make_hook(ann, receiver)
    receiver.always["/expired"] = Reply(403)
    asked = {
        "input": {"media_id": str((await ann.media()).id)},
        "spec": {"engine": "tests", "model": runner.model},
        "outputs": {"txt": f"{receiver.url}/expired?signature=hidden"},
    }
    assert (await ann.client.post("/api/jobs", json=asked)).status_code == 201
    await (await runner.claimed()).result()

    (got,) = await hook.got()

    message = hook.opened(got)
    assert (message["type"], message["data"]["error"]["code"]) == (
        "job.expired",
        "output_expired",
    )
    assert b"hidden" not in got.body


async def test_only_what_was_subscribed_to_is_told(
    ann: Person, runner: Runner, receiver: Receiver
) -> None:
    quiet = await make_hook(ann, receiver, events=["job.failed"])
    hook = await make_hook(ann, receiver)

    await finish(ann, runner)

    await hook.got()
    assert await quiet.deliveries() == []


async def test_others_are_not_told(
    app: App, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    stranger = await make_hook(await make_person(app), receiver)
    hook = await make_hook(ann, receiver)

    await finish(ann, runner)

    await hook.got()
    assert await stranger.deliveries() == []


async def test_every_try_has_the_same_id_and_a_signature_of_its_own(
    ann: Person, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver, Reply(500), Reply(200, body=b"thanks"))

    made = await hook.tested()

    settled = await hook.settled()
    first, second = await hook.got(2)
    assert {item.headers["webhook-id"] for item in (first, second)} == {made["id"]}
    assert first.body == second.body
    assert hook.opened(first) == hook.opened(second)
    assert (settled["state"], settled["attempts"]) == ("delivered", 2)
    assert (settled["status"], settled["response"]) == (200, "thanks")
    assert 0 <= settled["latency"] < 15


@pytest.mark.parametrize("manner", [Manner.HANG, Manner.CLOSE, Manner.CUT])
async def test_a_receiver_that_does_not_answer_is_tried_again(
    ann: Person, receiver: Receiver, manner: Manner
) -> None:
    hook = await make_hook(ann, receiver, manner)

    made = await hook.tested()

    settled = await hook.settled()
    assert (settled["id"], settled["state"], settled["attempts"]) == (
        made["id"],
        "delivered",
        2,
    )


async def test_an_answer_that_repeats_the_urls_secret_is_masked(
    ann: Person, receiver: Receiver
) -> None:
    path = f"/{uuid4()}"
    url = f"{receiver.plan(path, Reply(410, body=b'no POST /x?token=hush%2Fhush'))}"
    body = {"url": f"{url}?token=hush%2Fhush"}
    hook = Hook(ann, receiver, (await ann.client.post("/api/webhooks", json=body)).json(), path)

    await hook.tested()

    assert (await hook.settled())["response"] == "no POST /x?********"


async def test_a_redirect_is_not_followed(ann: Person, receiver: Receiver) -> None:
    away = Reply(307, {"Location": f"{receiver.url}/elsewhere"})
    hook = await make_hook(ann, receiver, *[away] * ATTEMPTS)

    await hook.tested()

    settled = await hook.settled()
    assert (settled["state"], settled["status"]) == ("dead", 307)
    assert settled["error"] == "The receiver redirects (307); give the final URL."
    assert receiver.at("/elsewhere") == []


async def test_gone_switches_the_endpoint_off_until_it_is_switched_on_again(
    app: App, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver, Reply(410))

    await hook.tested()

    settled = await hook.settled()
    off = (await ann.get(hook.route)).json()
    assert (settled["state"], settled["status"], settled["attempts"]) == ("dead", 410, 1)
    assert (off["enabled"], off["disabled_reason"]) == (False, webhooks.GONE)
    assert problem(await ann.client.post(f"{hook.route}/test")) == (409, "webhook_disabled")
    await finish(ann, runner)
    assert len(await hook.deliveries()) == 1

    on = await ann.client.patch(hook.route, json={"enabled": True})

    await finish(ann, runner)
    await hook.got(2)
    assert (on.json()["enabled"], on.json()["disabled_reason"]) == (True, None)
    trail = await audit.page(app.context, AuditFilter(subject=off["id"]), 10)
    assert [(item.action, item.actor_id) for item in trail] == [
        ("webhook.changed", ann.user.id),
        ("webhook.disabled", None),
        ("webhook.created", ann.user.id),
    ]


async def test_a_delivery_to_an_endpoint_that_is_off_is_given_up_with_a_word(
    ann: Person, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver, Reply(503, {"Retry-After": "3600"}))
    made = await hook.tested()
    await hook.got()
    await ann.client.patch(hook.route, json={"enabled": False})

    await ann.client.post(f"/api/deliveries/{made['id']}/redeliver")

    settled = await hook.settled()
    assert settled["state"] == "dead"
    assert settled["error"] == (
        "The webhook endpoint is switched off. Switched off by its owner."
    )


async def test_both_keys_sign_after_a_rotation(ann: Person, receiver: Receiver) -> None:
    hook = await make_hook(ann, receiver)

    rotated = (await ann.client.post(f"{hook.route}/rotate")).json()
    await hook.tested()

    (got,) = await hook.got()
    old, new = hook.document["secret"], rotated["secret"]
    assert old != new
    assert rotated["signing_keys"] == 2
    for secret in (old, new):
        opened = Webhook(secret).verify(got.body, dict(got.headers))
        assert opened["data"] == {"endpoint_id": hook.document["id"]}


async def test_what_is_changed(ann: Person, receiver: Receiver) -> None:
    hook = await make_hook(ann, receiver)
    url = receiver.plan(f"/{uuid4()}")

    changed = await ann.client.patch(
        hook.route, json={"url": url, "description": "new", "events": ["job.failed"]}
    )

    expected = {**hook.document, "url": url, "description": "new", "events": ["job.failed"]}
    del expected["secret"]
    assert changed.json() == expected
    assert (await ann.get(hook.route)).json() == expected


async def test_the_same_request_makes_one_endpoint_one_key_and_one_test(
    ann: Person, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver)
    once = {"idempotency-key": "one"}
    again: list[httpx.Response] = []
    for key, route, body in (
        ("a", "/api/webhooks", {"url": receiver.url}),
        ("b", f"{hook.route}/rotate", None),
    ):
        for _ in range(2):
            answer = await ann.client.post(route, json=body, headers={"idempotency-key": key})
        again.append(answer)

    tests = [await ann.client.post(f"{hook.route}/test", headers=once) for _ in range(2)]

    assert [problem(answer) for answer in again] == [(409, "secret_already_shown")] * 2
    assert len((await ann.get("/api/webhooks")).json()["items"]) == 2
    assert tests[0].json()["id"] == tests[1].json()["id"]
    assert len(await hook.deliveries()) == 1


async def test_deliveries_come_in_pages(ann: Person, receiver: Receiver) -> None:
    hook = await make_hook(ann, receiver)
    made = [(await hook.tested())["id"] for _ in range(3)]

    first = (await ann.get(f"{hook.route}/deliveries", limit=2)).json()
    rest = (await ann.get(f"{hook.route}/deliveries", cursor=first["next"])).json()

    shown = [item["id"] for item in first["items"] + rest["items"]]
    assert (shown, rest["next"]) == (made[::-1], None)


async def test_a_deleted_endpoint_is_gone_with_its_deliveries(
    app: App, ann: Person, runner: Runner, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver)

    answer = await ann.client.delete(hook.route)

    await finish(ann, runner)
    assert answer.status_code == 204
    assert problem(await ann.get(hook.route)) == (404, "webhook_not_found")
    assert (await ann.get("/api/deliveries")).json()["items"] == []
    (last, _) = await audit.page(app.context, AuditFilter(subject=hook.document["id"]), 10)
    assert (last.action, last.detail["url"]) == ("webhook.deleted", hook.document["url"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
    ],
)
async def test_another_persons_endpoint_is_not_found(
    app: App, ann: Person, receiver: Receiver, method: str, path: str
) -> None:
    hook = await make_hook(ann, receiver)
    ben = await make_person(app)
    body = {} if method == "PATCH" else None

    answer = await ben.client.request(method, hook.route + path, json=body)

    assert problem(answer) == (404, "webhook_not_found")


async def test_there_are_so_many_and_no_more(ann: Person, receiver: Receiver) -> None:
    made = [
        await ann.client.post("/api/webhooks", json={"url": receiver.url})
        for _ in range(MOST_ENDPOINTS + 1)
    ]

    assert [answer.status_code for answer in made[:-1]] == [201] * MOST_ENDPOINTS
    assert problem(made[-1]) == (409, "too_many_webhooks")


async def test_many_at_once_stay_within_the_limit(ann: Person, receiver: Receiver) -> None:
    async def make() -> int:
        return (await ann.client.post("/api/webhooks", json={"url": receiver.url})).status_code

    statuses = await asyncio.gather(*(make() for _ in range(MOST_ENDPOINTS + 5)))

    assert sorted(statuses) == [201] * MOST_ENDPOINTS + [409] * 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "ftp://example.org/"}, "url_invalid"),
        ({"url": "https:///hook"}, "url_invalid"),
        ({"url": "https://example.org/a b"}, "url_invalid"),
        ({"url": "https://example.org/", "events": []}, "invalid_request"),
        ({"url": "https://example.org/", "events": ["webhook.test"]}, "invalid_request"),
        ({"url": "https://example.org/", "description": "x" * 201}, "invalid_request"),
        ({"description": "no url"}, "invalid_request"),
    ],
)
async def test_what_is_no_endpoint(ann: Person, body: dict[str, Any], code: str) -> None:
    assert problem(await ann.client.post("/api/webhooks", json=body)) == (422, code)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "[::1]", "10.0.0.1"),
        *("169.254.169.254", "[::ffff:10.0.0.1]", "[fd00::1]"),
    ],
)
async def test_private_addresses_are_refused_at_once(app: App, ann: Person, host: str) -> None:
    strict = replace(app.context, policy=Policy())

    with pytest.raises(Invalid) as refused:
        await webhooks.create(strict, ann.user, f"https://{host}:8443/hook?token=hidden")

    assert refused.value.code == "webhook_address"
    assert "hidden" not in str(refused.value)


async def test_no_key_and_no_query_reaches_the_trail(
    app: App, ann: Person, receiver: Receiver
) -> None:
    hook = await make_hook(ann, receiver)
    await ann.client.patch(hook.route, json={"url": f"{receiver.url}/x?token=hidden"})
    await ann.client.post(f"{hook.route}/rotate")

    trail = await audit.page(app.context, AuditFilter(subject=hook.document["id"]), 10)

    assert [item.action for item in trail] == [
        "webhook.rotated",
        "webhook.changed",
        "webhook.created",
    ]
    told = json.dumps([dict(item.detail) for item in trail])
    assert "hidden" not in told
    assert "whsec_" not in told
