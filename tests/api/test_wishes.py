"""What a job may ask of an engine, and segments that are told of while it runs."""

from typing import Any

import pytest

from tests.api.people import Person, Runner, problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEGMENT = {"start": 0.5, "end": 1.5, "text": "Sing to me"}


async def asked(ann: Person, model: str = "base", **spec: Any) -> Any:
    media = await ann.media()
    body = {"input": {"media_id": str(media.id)}, "spec": {"model": model, **spec}}
    return await ann.client.post("/api/jobs", json=body)


async def test_wishes_reach_the_runner(ann: Person, runner: Runner) -> None:
    wishes = {
        "languages": ["de", "en"],
        "mixed_languages": True,
        "translate_to": "en",
        "hotwords": ["Ithaka"],
        "temperature": 0.2,
        "numerals": False,
        "punctuation": False,
    }

    answer = await asked(ann, runner.model, engine="tests", **wishes)
    lease = await runner.claimed()

    told = [answer.json()["spec"], lease.assignment["spec"]]
    assert [{name: spec[name] for name in wishes} for spec in told] == [wishes] * 2


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"language": "en", "languages": ["de"]}, "language_twice"),
        ({"language": "en", "mixed_languages": True}, "language_twice"),
        ({"languages": ["xx"]}, "unsupported_language"),
        ({"translate_to": "de"}, "translation_unavailable"),
        ({"translate_to": "en", "model": "base.en"}, "translation_unavailable"),
        ({"hotwords": ["w"] * 501}, "invalid_request"),
        ({"hotwords": [""]}, "invalid_request"),
        ({"temperature": 1.5}, "invalid_request"),
        ({"partials": True}, "invalid_request"),
    ],
)
async def test_wishes_that_cannot_be(ann: Person, spec: dict[str, Any], code: str) -> None:
    answer = await asked(ann, **spec)

    assert problem(answer) == (422, code)


async def test_a_million_hot_words(ann: Person) -> None:
    answer = await asked(ann, hotwords=["word"] * 1_000_000)

    assert answer.status_code == 413


async def test_segments_of_a_lost_lease_are_refused(ann: Person, runner: Runner) -> None:
    await asked(ann, runner.model, engine="tests")
    lease = await runner.claimed()
    told = {"first": 0, "segments": [SEGMENT]}

    answers = [await runner.client.post(f"{lease.path}/segments", json=told)]
    await lease.give_back()
    answers.append(await runner.client.post(f"{lease.path}/segments", json=told))

    assert [answer.status_code for answer in answers] == [204, 409]
    assert problem(answers[1]) == (409, "lease_lost")
