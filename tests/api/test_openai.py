"""OpenAI's API without a runner: its envelope, its forms, and what is left of a refusal."""

from typing import Any

import pytest

from tests.api.people import Person, client_of
from tests.support import recordings
from tests.support.server import App

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recordings.tone(tmp_path_factory.mktemp("wav") / "a.wav", 0.5).read_bytes()


async def asked(ann: Person, wav: bytes, **fields: Any) -> Any:
    files = {"file": ("talk.wav", wav, "audio/wav")}
    return await ann.client.post(ASK, files=files, data={"model": "medium.en", **fields})


async def left(ann: Person) -> list[Any]:
    return [(await ann.get(f"/api/{kind}")).json()["items"] for kind in ("jobs", "media")]


async def test_without_a_runner_nobody_waits(ann: Person, wav: bytes) -> None:
    answer = await asked(ann, wav)

    assert (answer.status_code, answer.json()) == (
        503,
        {
            "error": {
                "message": "No runner that is online offers faster-whisper/medium.en. "
                "Start one, or choose another model.",
                "type": "server_error",
                "param": None,
                "code": "no_runner",
            }
        },
    )
    assert await left(ann) == [[], []]


async def test_a_fault_names_its_field(ann: Person, wav: bytes) -> None:
    answer = await asked(ann, wav, response_format="xml")

    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"], error["type"]) == (
        400,
        "response_format",
        "invalid_request",
        "invalid_request_error",
    )
    assert await left(ann) == [[], []]


async def test_no_form_no_file_no_key(shared: App, ann: Person, wav: bytes) -> None:
    nobody = client_of(shared, None)
    answers = [
        await ann.client.post(ASK, json={"model": "whisper-1"}),
        await ann.client.post(ASK, files={"model": (None, "whisper-1")}),
        await nobody.post(ASK, files={"file": ("talk.wav", wav)}),
    ]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [
        (400, "upload_malformed"),
        (400, "upload_without_file"),
        (401, "invalid_api_key"),
    ]


async def test_fields_behind_the_file_count_too(ann: Person, wav: bytes) -> None:
    boundary, form = "b0undary", "Content-Disposition: form-data"
    parts = [
        f'--{boundary}\r\n{form}; name="file"; filename="a.wav"\r\n\r\n',
        f'\r\n--{boundary}\r\n{form}; name="model"\r\n\r\nnonsense',
        f"\r\n--{boundary}--\r\n",
    ]
    body = parts[0].encode() + wav + "".join(parts[1:]).encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}

    answer = await ann.client.post(ASK, content=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
