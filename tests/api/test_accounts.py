"""API keys, accounts and runner tokens."""

import asyncio
from uuid import uuid4

import pytest

from tests.api.people import Person, Runner, client_of, problem
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")


def new_email() -> str:
    return f"{uuid4()}@example.org"


async def test_a_key_is_shown_once_and_works(shared: App, ann: Person) -> None:
    made = await ann.client.post("/api/keys", json={"name": "laptop"})

    listed = (await ann.get("/api/keys")).json()["items"][0]
    secret = made.json()["secret"]
    assert made.status_code == 201
    assert listed == {k: v for k, v in made.json().items() if k != "secret"}
    assert (await client_of(shared, secret).get("/api/me")).json()["email"] == ann.user.email


async def test_a_revoked_key_is_refused(shared: App, ann: Person) -> None:
    made = (await ann.client.post("/api/keys", json={"name": "laptop"})).json()

    answer = await ann.client.delete(f"/api/keys/{made['id']}")

    refused = await client_of(shared, made["secret"]).get("/api/me")
    assert (answer.status_code, problem(refused)) == (204, (401, "unauthenticated"))


async def test_another_persons_key_is_not_found(ann: Person, ben: Person) -> None:
    made = (await ann.client.post("/api/keys", json={"name": "laptop"})).json()

    answer = await ben.client.delete(f"/api/keys/{made['id']}")

    assert problem(answer) == (404, "key_not_found")


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "a\0"}, {"name": "a", "x": 1}]
)
async def test_what_is_no_name_of_a_key_is_refused(
    ann: Person, body: dict[str, object]
) -> None:
    assert problem(await ann.client.post("/api/keys", json=body)) == (422, "invalid_request")


async def test_a_generated_password_is_shown_once(shared: App) -> None:
    email = new_email()

    made = (await shared.client.post("/api/users", json={"email": email})).json()

    login = await client_of(shared, None).post(
        "/api/login", json={"email": email, "password": made["password"]}
    )
    assert (login.status_code, login.json()["role"]) == (200, "member")


async def test_a_given_password_is_not_shown(shared: App) -> None:
    body = {"email": new_email(), "password": "long enough, surely", "role": "speaker"}

    made = (await shared.client.post("/api/users", json=body)).json()

    assert (made["password"], made["role"]) == (None, "speaker")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"email": "nobody"}, "email"),
        ({"password": "short"}, "password_length"),
        ({"password": ""}, "password_length"),
        ({"role": "king"}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
    ],
)
async def test_what_is_no_account_is_refused(
    shared: App, changes: dict[str, str], code: str
) -> None:
    body = {"email": new_email(), **changes}

    assert problem(await shared.client.post("/api/users", json=body)) == (422, code)


async def test_an_address_has_one_account(shared: App, ann: Person) -> None:
    answer = await shared.client.post("/api/users", json={"email": ann.user.email.upper()})

    assert problem(answer) == (409, "email_taken")


async def test_accounts_are_listed_by_address(shared: App, ann: Person) -> None:
    items = (await shared.client.get("/api/users")).json()["items"]

    emails = [item["email"] for item in items]
    assert ann.user.email in emails
    assert emails == sorted(emails)


async def test_a_deleted_account_is_gone_with_its_keys(shared: App, ann: Person) -> None:
    answer = await shared.client.delete(f"/api/users/{ann.user.id}")

    again = await shared.client.delete(f"/api/users/{ann.user.id}")
    assert answer.status_code == 204
    assert problem(again) == (404, "user_not_found")
    assert problem(await ann.get("/api/me")) == (401, "unauthenticated")


async def test_an_account_that_owns_something_stays(shared: App, ann: Person) -> None:
    await ann.media()

    answer = await shared.client.delete(f"/api/users/{ann.user.id}")

    assert problem(answer) == (409, "user_owns_media")


async def test_runner_tokens(shared: App) -> None:
    made = (await shared.client.post("/api/runner-tokens", json={"name": "gpu"})).json()
    listed = (await shared.client.get("/api/runner-tokens")).json()["items"][0]
    deleted = await shared.client.delete(f"/api/runner-tokens/{made['id']}")
    again = await shared.client.delete(f"/api/runner-tokens/{made['id']}")

    assert made["secret"].startswith("rhr_")
    assert listed == {k: v for k, v in made.items() if k != "secret"}
    assert deleted.status_code == 204
    assert problem(again) == (404, "runner_token_not_found")


SECRET_MAKERS = ["/api/keys", "/api/users", "/api/runner-tokens"]


def body_for(path: str) -> dict[str, str]:
    return {"email": new_email()} if path == "/api/users" else {"name": "once"}


@pytest.mark.parametrize("path", SECRET_MAKERS)
async def test_a_secret_is_not_shown_again(shared: App, path: str) -> None:
    body, headers = body_for(path), {"idempotency-key": str(uuid4())}
    first = await shared.client.post(path, json=body, headers=headers)

    second = await shared.client.post(path, json=body, headers=headers)

    assert first.status_code == 201
    assert problem(second) == (409, "secret_already_shown")


@pytest.mark.parametrize("path", SECRET_MAKERS)
async def test_an_idempotency_key_means_one_request(shared: App, path: str) -> None:
    headers = {"idempotency-key": str(uuid4())}
    await shared.client.post(path, json=body_for(path), headers=headers)
    other = {"email": new_email()} if path == "/api/users" else {"name": "other"}

    answer = await shared.client.post(path, json=other, headers=headers)

    assert problem(answer) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("path", SECRET_MAKERS)
async def test_the_same_request_five_times_at_once(shared: App, path: str) -> None:
    body, headers = body_for(path), {"idempotency-key": str(uuid4())}

    answers = await asyncio.gather(
        *(shared.client.post(path, json=body, headers=headers) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_an_idempotency_key_is_ones_own(ann: Person, ben: Person, runner: Runner) -> None:
    headers = {"idempotency-key": str(uuid4())}

    answers = [
        await person.client.post("/api/keys", json={"name": "a"}, headers=headers)
        for person in (ann, ben)
    ]

    assert [answer.status_code for answer in answers] == [201, 201]


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_what_is_no_idempotency_key_is_refused(ann: Person, key: str) -> None:
    answer = await ann.client.post(
        "/api/keys", json={"name": "a"}, headers={"idempotency-key": key}
    )

    assert answer.status_code == 422
