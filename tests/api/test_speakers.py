"""Speakers: renamed in every format, and known again by their voice in later jobs."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.api.people import Person, Runner, make_person, problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODEL = "a-network"
ANNA = (1.0, 0.0, 0.0)
BERT = (0.0, 1.0, 0.0)
NEAR_ANNA = (0.8, 0.0, 0.6)
STRANGER = (0.0, 0.0, 1.0)


def _said(start: float, speaker: str, text: str) -> dict[str, Any]:
    word = {"start": start, "end": start + 1, "text": text, "speaker": speaker}
    return {"start": start, "end": start + 1, "text": text, "speaker": speaker, "words": [word]}


def transcript(
    voices: Mapping[str, tuple[float, ...]] | None, model: str = MODEL
) -> dict[str, Any]:
    found = {
        "language": "en",
        "duration": 3.0,
        "segments": [
            _said(0, "Speaker 1", "Hello."),
            _said(1, "Speaker 2", "Yes?"),
            _said(2, "Speaker 1", "Bye."),
        ],
    }
    return found if voices is None else {**found, "voices": {"model": model, "vectors": voices}}


async def diarised(ann: Person, runner: Runner, document: dict[str, Any]) -> str:
    """The path of a finished job with this transcript."""
    job = await ann.job(runner)
    lease = await runner.claimed()
    answer = await lease.result(document)
    assert answer.status_code == 204, answer.text
    return f"/api/jobs/{job['id']}"


@pytest_asyncio.fixture(loop_scope="session")
async def call(ann: Person, runner: Runner) -> str:
    return await diarised(ann, runner, transcript({"Speaker 1": ANNA, "Speaker 2": BERT}))


async def _rename(ann: Person, job: str, names: Any) -> Any:
    return await ann.client.patch(f"{job}/speakers", json={"names": names})


async def _text(ann: Person, job: str, kind: str) -> str:
    return (await ann.get(f"{job}/transcript", format=kind)).text


async def _enrol(ann: Person, job: str, name: str, speaker: str | None) -> Any:
    body = {"name": name, "job_id": job.rpartition("/")[2], "speaker": speaker}
    return await ann.client.post("/api/voices", json=body)


async def _names(ann: Person, job: str) -> list[str]:
    items = (await ann.get(f"{job}/speakers")).json()["items"]
    return [item["name"] for item in items]


async def test_a_transcripts_speakers(ann: Person, call: str) -> None:
    assert (await ann.get(f"{call}/speakers")).json()["items"] == [
        {"name": "Speaker 1", "seconds": 2.0, "can_enrol": True},
        {"name": "Speaker 2", "seconds": 1.0, "can_enrol": True},
    ]


async def test_what_voices_sound_like_is_never_shown(ann: Person, call: str) -> None:
    assert sorted((await ann.get(f"{call}/transcript")).json()) == [
        "duration",
        "language",
        "language_probability",
        "segments",
        "text",
    ]


async def test_new_names_are_in_every_format(ann: Person, call: str) -> None:
    answer = await _rename(ann, call, {"Speaker 1": "  Anna\n Lee "})

    assert [item["name"] for item in answer.json()["items"]] == ["Anna Lee", "Speaker 2"]
    assert (
        await _text(ann, call, "txt") == "Anna Lee: Hello.\nSpeaker 2: Yes?\nAnna Lee: Bye.\n"
    )
    assert "<v Anna Lee>Hello.</v>" in await _text(ann, call, "vtt")
    assert "[Anna Lee] Hello." in await _text(ann, call, "srt")
    for kind in ("tsv", "csv", "json"):
        found = await _text(ann, call, kind)
        assert "Anna Lee" in found
        assert "Speaker 1" not in found


async def test_names_can_be_swapped_and_two_become_one(ann: Person, call: str) -> None:
    await _rename(ann, call, {"Speaker 1": "Speaker 2", "Speaker 2": "Speaker 1"})
    assert await _names(ann, call) == ["Speaker 2", "Speaker 1"]

    await _rename(ann, call, {"Speaker 2": "Anna", "Speaker 1": "Anna"})
    assert (await ann.get(f"{call}/speakers")).json()["items"] == [
        {"name": "Anna", "seconds": 3.0, "can_enrol": True}
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"Nobody": "Anna"}, (422, "unknown_speaker")),
        ({"Speaker 1": "  "}, (422, "speaker_name")),
        ({}, (422, "invalid_request")),
        ({"Speaker 1": "x" * 101}, (422, "invalid_request")),
    ],
)
async def test_names_that_cannot_be_given(
    ann: Person, call: str, names: dict[str, str], expected: tuple[int, str]
) -> None:
    assert problem(await _rename(ann, call, names)) == expected
    assert await _names(ann, call) == ["Speaker 1", "Speaker 2"]


async def test_without_a_transcript_nobody_can_be_renamed(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    answer = await _rename(ann, f"/api/jobs/{job['id']}", {"Speaker 1": "Anna"})
    assert problem(answer) == (409, "transcript_not_ready")


async def test_other_peoples_speakers_are_out_of_reach(ann: Person, call: str) -> None:
    bob = await make_person(ann.app)
    assert problem(await bob.get(f"{call}/speakers")) == (404, "job_not_found")
    assert problem(await _rename(bob, call, {"Speaker 1": "X"})) == (404, "job_not_found")
    assert problem(await _enrol(bob, call, "X", "Speaker 1")) == (404, "job_not_found")


async def test_an_enrolled_voice_is_named_in_later_jobs(
    ann: Person, runner: Runner, call: str
) -> None:
    assert (await _enrol(ann, call, "Anna", "Speaker 1")).status_code == 201

    later = await diarised(
        ann, runner, transcript({"Speaker 1": STRANGER, "Speaker 2": NEAR_ANNA})
    )

    assert await _names(ann, later) == ["Speaker 1", "Anna"]


async def test_a_name_is_given_once_to_the_likest(
    ann: Person, runner: Runner, call: str
) -> None:
    await _enrol(ann, call, "Anna", "Speaker 1")
    later = await diarised(ann, runner, transcript({"Speaker 1": NEAR_ANNA, "Speaker 2": ANNA}))
    assert await _names(ann, later) == ["Speaker 1", "Anna"]


async def test_vectors_of_another_network_say_nothing(
    ann: Person, runner: Runner, call: str
) -> None:
    await _enrol(ann, call, "Anna", "Speaker 1")
    voices = {"Speaker 1": ANNA, "Speaker 2": BERT}
    later = await diarised(ann, runner, transcript(voices, model="another"))
    assert await _names(ann, later) == ["Speaker 1", "Speaker 2"]


async def test_voices_are_ones_own(ann: Person, runner: Runner, call: str) -> None:
    await _enrol(ann, call, "Anna", "Speaker 1")
    bob = await make_person(ann.app)
    assert (await bob.get("/api/voices")).json() == {"items": []}
    later = await diarised(bob, runner, transcript({"Speaker 1": ANNA, "Speaker 2": BERT}))
    assert await _names(bob, later) == ["Speaker 1", "Speaker 2"]


async def test_a_forgotten_voice_is_known_no_more(
    ann: Person, runner: Runner, call: str
) -> None:
    made = (await _enrol(ann, call, "Anna", "Speaker 1")).json()
    assert (await ann.get("/api/voices")).json() == {"items": [made]}
    assert sorted(made) == ["created_at", "id", "model", "name"]

    bob = await make_person(ann.app)
    refused = await bob.client.delete(f"/api/voices/{made['id']}")
    assert problem(refused) == (404, "voice_not_found")
    assert (await ann.client.delete(f"/api/voices/{made['id']}")).status_code == 204

    later = await diarised(ann, runner, transcript({"Speaker 1": ANNA, "Speaker 2": BERT}))
    assert await _names(ann, later) == ["Speaker 1", "Speaker 2"]
    assert (await ann.get("/api/voices")).json() == {"items": []}


async def test_the_same_request_enrols_once(ann: Person, call: str) -> None:
    headers = {"idempotency-key": str(uuid4())}
    body = {"name": "Anna", "job_id": call.rpartition("/")[2], "speaker": "Speaker 1"}
    first, second = [
        await ann.client.post("/api/voices", json=body, headers=headers) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert (await ann.get("/api/voices")).json() == {"items": [first.json()]}


async def test_who_is_meant_must_be_clear(ann: Person, runner: Runner, call: str) -> None:
    assert problem(await _enrol(ann, call, "Anna", None)) == (422, "speaker_needed")
    assert problem(await _enrol(ann, call, "Anna", "Nobody")) == (422, "unknown_speaker")
    silent = await diarised(ann, runner, transcript(None))
    assert problem(await _enrol(ann, silent, "Anna", "Speaker 1")) == (409, "voice_unknown")


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        ({}, {"min": 1, "max": None}),
        ({"exact": 2}, {"min": 2, "max": 2}),
        ({"min": 2, "max": 5}, {"min": 2, "max": 5}),
        ({"max": 5}, {"min": 1, "max": 5}),
    ],
)
async def test_the_number_of_speakers_reaches_the_runner(
    ann: Person, runner: Runner, speakers: dict[str, int], expected: dict[str, int | None]
) -> None:
    job = await ann.job(runner, speakers=speakers)
    assert job["spec"]["speakers"] == expected
    lease = await runner.claimed()
    assert lease.assignment["spec"]["speakers"] == {
        "least": expected["min"],
        "most": expected["max"],
    }


@pytest.mark.parametrize(
    "speakers", [{"exact": 2, "min": 1}, {"min": 3, "max": 2}, {"exact": 0}, {"max": 101}]
)
async def test_numbers_of_speakers_that_make_no_sense(
    ann: Person, runner: Runner, speakers: dict[str, int]
) -> None:
    media = await ann.media()
    spec = {"engine": "tests", "model": runner.model, "speakers": speakers}
    answer = await ann.client.post(
        "/api/jobs", json={"input": {"media_id": str(media.id)}, "spec": spec}
    )
    assert problem(answer) == (422, "invalid_request")
