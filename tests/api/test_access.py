"""Who may what: nothing answers without credentials, and each kind has its own doors."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from rhapsode.bootstrap.parts import application
from rhapsode.domain.users import Role
from rhapsode.services import users
from rhapsode.settings import Settings
from tests.api.people import Person, Runner, client_of, make_person, problem
from tests.support.server import EMAIL, PASSWORD, App

pytestmark = pytest.mark.asyncio(loop_scope="session")

OPEN = {"/", "/healthz", "/ready", "/docs", "/api/login", "/api/logout"}
RUNNERS = "/api/runners/"
ADMINS = {"/metrics", "/api/audit", "/api/users", "/api/runners", "/api/runner-tokens"}


def doors() -> Iterator[tuple[str, str]]:
    """Each method and path of the application, with made-up ids."""
    for found in iter_route_contexts(application(Settings()).routes):
        path = str(found.path)
        for method in sorted(found.methods or ()):
            yield method, path


DOORS = sorted(set(doors()))


def concrete(path: str) -> str:
    for name in (
        "job_id",
        "media_id",
        "runner_id",
        "key_id",
        "user_id",
        "token_id",
        "upload_id",
        "webhook_id",
        "delivery_id",
        "voice_id",
        "name",
    ):
        path = path.replace(f"{{{name}}}", str(uuid4()))
    return path.replace("{attempt}", "1").replace("{number}", "1")


FOREIGN = ("/v1/", "/transcription")
"""Surfaces that tell of errors as their clients know it."""


async def test_the_doors_are_known() -> None:
    assert {path for _, path in DOORS} >= OPEN | ADMINS


@pytest.mark.parametrize(("method", "path"), [d for d in DOORS if d[1] not in OPEN])
async def test_nothing_answers_without_credentials(shared: App, method: str, path: str) -> None:
    answer = await client_of(shared, None).request(method, concrete(path))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    if path.startswith(FOREIGN):
        assert set(answer.json()) <= {"error", "detail"}
    elif method != "HEAD":
        assert problem(answer) == (401, "unauthenticated")


@pytest.mark.parametrize("secret", ["rhk_wrong", "rhl_wrong", "nonsense", "\xff"])
@pytest.mark.parametrize("path", ["/api/me", "/api/jobs", "/metrics"])
async def test_wrong_keys_are_refused(shared: App, path: str, secret: str) -> None:
    answer = await client_of(shared, None).get(
        path, headers={b"authorization": f"Bearer {secret}".encode("latin-1")}
    )

    assert problem(answer) == (401, "unauthenticated")


async def test_the_documentation_sends_strangers_to_the_page(shared: App) -> None:
    answer = await client_of(shared, None).get("/docs")

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def for_people(path: str) -> bool:
    return path not in OPEN and not path.startswith(RUNNERS)


@pytest.mark.parametrize(
    ("method", "path"), [d for d in DOORS if for_people(d[1]) and d[0] != "HEAD"]
)
async def test_a_runners_token_opens_no_door_of_people(
    shared: App, method: str, path: str
) -> None:
    answer = await client_of(shared, shared.runner_token).request(method, concrete(path))

    if path.startswith(FOREIGN):
        assert answer.status_code in {401, 403}
    else:
        assert problem(answer) == (403, "not_a_user")


@pytest.mark.parametrize(
    ("method", "path"), [d for d in DOORS if d[1].startswith(RUNNERS) and d[0] != "HEAD"]
)
async def test_a_persons_key_opens_no_door_of_runners(
    shared: App, method: str, path: str
) -> None:
    whole = {"name": "a", "version": "1", "capabilities": {}}
    body = whole if path.endswith("register") else {}

    answer = await shared.client.request(method, concrete(path), json=body)

    assert problem(answer) == (401, "unauthenticated")


def for_admins(path: str) -> bool:
    return any(path.startswith(start) for start in ADMINS) and not path.startswith(RUNNERS)


@pytest.mark.parametrize(("method", "path"), [d for d in DOORS if for_admins(d[1])])
async def test_members_do_not_administer(ann: Person, method: str, path: str) -> None:
    answer = await ann.client.request(method, concrete(path), json={"name": "a"})

    assert problem(answer) == (403, "admin_only")


async def test_who_one_is(ann: Person) -> None:
    assert (await ann.get("/api/me")).json() == {
        "id": str(ann.user.id),
        "email": ann.user.email,
        "role": "member",
        "created_at": "2026-01-02T03:04:05.678000Z",
    }


async def browser(app: App, scheme: str = "http") -> httpx.AsyncClient:
    """A client that is signed in by cookie."""
    client = httpx.AsyncClient(transport=app.client._transport, base_url=f"{scheme}://server")
    answer = await client.post("/api/login", json={"email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


async def test_signing_in(shared: App) -> None:
    client = await browser(shared)

    assert (await client.get("/api/me")).json()["email"] == EMAIL


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
async def test_the_cookie_of_a_login(shared: App, scheme: str, secure: bool) -> None:
    answer = await client_of(shared, None).post(
        f"{scheme}://server/api/login", json={"email": EMAIL, "password": PASSWORD}
    )

    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    expected = {"httponly", "samesite=strict", "path=/", "max-age=1209600"}
    assert parts == expected | ({"secure"} if secure else set())


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong"),
        ("nobody@example.org", PASSWORD),
        ("no address", PASSWORD),
        (EMAIL, ""),
    ],
)
async def test_a_wrong_login_tells_nothing(shared: App, email: str, password: str) -> None:
    answer = await client_of(shared, None).post(
        "/api/login", json={"email": email, "password": password}
    )

    assert problem(answer) == (401, "wrong_login")
    assert answer.json()["detail"] == "The e-mail address or the password is wrong."


async def test_a_login_survives_spelling_in_capitals(shared: App) -> None:
    answer = await client_of(shared, None).post(
        "/api/login", json={"email": EMAIL.upper(), "password": PASSWORD}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://server:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_other_sites_cannot_write_by_the_cookie(
    shared: App, headers: dict[str, str]
) -> None:
    client = await browser(shared)

    answer = await client.post("/api/keys", json={"name": "a"}, headers=headers)

    assert problem(answer) == (403, "foreign_origin")


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://server"}, {"sec-fetch-site": "same-origin"}, {}],
)
async def test_the_own_page_writes_by_the_cookie(shared: App, headers: dict[str, str]) -> None:
    client = await browser(shared)

    answer = await client.post("/api/keys", json={"name": "a"}, headers=headers)

    assert answer.status_code == 201


async def test_signing_out_ends_the_login(shared: App) -> None:
    client = await browser(shared)
    cookie = client.cookies["rhapsode_login"]

    answer = await client.post("/api/logout")

    client.cookies.set("rhapsode_login", cookie, domain="server")
    assert answer.status_code == 204
    assert problem(await client.get("/api/me")) == (401, "unauthenticated")


async def test_signing_out_without_a_login_is_fine(shared: App) -> None:
    assert (await client_of(shared, None).post("/api/logout")).status_code == 204


async def test_a_new_password_ends_the_logins(shared: App) -> None:
    person = await users.create(shared.context, f"{uuid4()}@example.org", Role.MEMBER, PASSWORD)
    client = client_of(shared, None)
    await client.post("/api/login", json={"email": person.user.email, "password": PASSWORD})

    await users.set_password(shared.context, person.user.id, "another password")

    assert problem(await client.get("/api/me")) == (401, "unauthenticated")


@pytest.mark.parametrize("path", ["", "/cancel", "/retry", "/transcript", "/events"])
async def test_another_persons_job_is_not_found(
    ann: Person, ben: Person, runner: Runner, path: str
) -> None:
    job = await ann.job(runner)
    method = "POST" if path in {"/cancel", "/retry"} else "GET"

    answer = await ben.client.request(method, f"/api/jobs/{job['id']}{path}")

    assert problem(answer) == (404, "job_not_found")


async def test_another_persons_job_is_not_deleted(
    ann: Person, ben: Person, runner: Runner
) -> None:
    job = await ann.job(runner)

    answer = await ben.client.delete(f"/api/jobs/{job['id']}")

    assert problem(answer) == (404, "job_not_found")
    assert await ann.see(job) == job


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/content"), ("DELETE", "")])
async def test_another_persons_media_is_not_found(
    ann: Person, ben: Person, method: str, path: str
) -> None:
    media = await ann.media()

    answer = await ben.client.request(method, f"/api/media/{media.id}{path}")

    assert problem(answer) == (404, "media_not_found")


async def test_another_persons_media_makes_no_job(
    ann: Person, ben: Person, runner: Runner
) -> None:
    media = await ann.media()
    spec = {"engine": "tests", "model": runner.model}

    answer = await ben.client.post(
        "/api/jobs", json={"input": {"media_id": str(media.id)}, "spec": spec}
    )

    assert problem(answer) == (404, "media_not_found")


async def test_lists_show_ones_own(ann: Person, ben: Person, runner: Runner) -> None:
    await ann.job(runner)

    lists = [(await ben.get(f"/api/{what}")).json()["items"] for what in ("jobs", "media")]

    assert lists == [[], []]


async def test_an_administrator_sees_no_more_recordings_than_others(
    shared: App, ann: Person, runner: Runner
) -> None:
    admin = await make_person(shared, Role.ADMIN)
    job = await ann.job(runner)

    assert problem(await admin.get(f"/api/jobs/{job['id']}")) == (404, "job_not_found")
