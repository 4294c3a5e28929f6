"""Transcripts: in every format, shaped, and not before the end."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.people import TRANSCRIPT, Person, Runner, job_in, problem

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("state", ["queued", "running", "failed", "canceled"])
async def test_there_is_no_transcript_before_the_end(
    ann: Person, runner: Runner, state: str
) -> None:
    job = await job_in(state, ann, runner)

    answer = await ann.get(f"/api/jobs/{job['id']}/transcript")

    assert problem(answer) == (409, "transcript_not_ready")


SRT = """1
00:00:00,000 --> 00:00:01,500
Hello there, all of you.

2
00:00:02,000 --> 00:00:02,500
Good bye.

"""


@pytest.mark.parametrize(
    ("kind", "media_type", "text"),
    [
        ("txt", "text/plain", "Hello there, all of you.\nGood bye.\n"),
        ("srt", "application/x-subrip", SRT),
        ("vtt", "text/vtt", "WEBVTT\n\n" + SRT[2:-1].replace(",0", ".0").replace(",5", ".5")),
        ("tsv", "text/tab-separated-values", None),
        ("csv", "text/csv", 'start,end,text\n0,1500,"Hello there, all of you."\n'),
        ("json", "application/json", None),
    ],
)
async def test_transcripts_in_every_format(
    ann: Person, runner: Runner, kind: str, media_type: str, text: str | None
) -> None:
    job = await job_in("finished", ann, runner)

    answer = await ann.get(f"/api/jobs/{job['id']}/transcript", format=kind)

    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["content-disposition"].startswith(f'inline; filename="talk.{kind}"')
    if text is not None:
        assert answer.text.replace("\n2\n", "\n").startswith(text.replace("\n2\n", "\n"))


async def test_the_canonical_transcript(ann: Person, runner: Runner) -> None:
    job = await job_in("finished", ann, runner)

    body = (await ann.get(f"/api/jobs/{job['id']}/transcript")).json()

    assert body["text"] == "Hello there, all of you. Good bye."
    assert [s["text"] for s in body["segments"]] == [s["text"] for s in _segments()]


def _segments() -> list[dict[str, Any]]:
    segments = TRANSCRIPT["segments"]
    assert isinstance(segments, list)
    return segments


async def test_shaping(ann: Person, runner: Runner) -> None:
    job = await job_in("finished", ann, runner)

    answer = await ann.get(
        f"/api/jobs/{job['id']}/transcript", format="srt", chars_per_line=12, lines_per_cue=1
    )

    lines = [block.split("\n", 2)[2] for block in answer.text.strip().split("\n\n")]
    assert lines == ["Hello there,", "all of you.", "Good bye."]


@pytest.mark.parametrize(
    "params",
    [{"format": "pdf"}, {"chars_per_line": 0}, {"words_per_cue": -1}, {"lines_per_cue": "x"}],
)
async def test_what_is_no_shape_is_refused(
    ann: Person, runner: Runner, params: dict[str, Any]
) -> None:
    answer = await ann.get(f"/api/jobs/{uuid4()}/transcript", **params)

    assert problem(answer) == (422, "invalid_request")


async def test_silence_is_an_empty_transcript(ann: Person, runner: Runner) -> None:
    job = await ann.job(runner)
    await (await runner.claimed()).result({"language": None, "duration": 9, "segments": []})

    answer = await ann.get(f"/api/jobs/{job['id']}/transcript", format="txt")

    assert (answer.status_code, answer.text) == (200, "")
