"""The transcription service's words: states, messages, and what nobody else shall see."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from rhapsode.domain.jobs import (
    Job,
    JobError,
    JobId,
    JobSpec,
    JobState,
    Priority,
    Progress,
)
from rhapsode.domain.transcription import (
    WORD_OF_STATE,
    NotificationType,
    Record,
    document,
    message,
    plain_model,
    without_secrets,
)
from rhapsode.domain.users import UserId

QUEUED = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
REQUEST = json.dumps(
    {
        "version": "1",
        "notification_url": "https://ann:pw@told.example/here?token=t",
        "options": {
            "engine": "whisper.cpp",
            "model": "small.en-q5_1",
            "input": "https://in.example/a%20b.wav?X-Amz-Signature=s",
            "outputs": {"txt_url": "https://out.example/t?X-Amz-Signature=s", "csv_url": None},
        },
    }
)
STAND_IN = "No runner offers whisper.cpp small.en-q5_1, so faster-whisper small.en does it."


def job(**changes: object) -> Job:
    made = Job(
        id=JobId(UUID(int=1)),
        user_id=UserId(UUID(int=2)),
        media_id=None,
        name="a b.wav",
        spec=JobSpec(engine="whisper.cpp", model="small.en-q5_1", priority=Priority.URGENT),
        state=JobState.QUEUED,
        attempt=1,
        max_attempts=3,
        created_at=QUEUED,
        queued_at=QUEUED,
    )
    return made.evolve(**changes)


def record(**changes: object) -> Record:
    return Record(
        number=7,
        job=job(**changes),
        owner="ann@example.org",
        request=REQUEST,
        notification_type=NotificationType.POLL,
        expiration_seconds=3600,
    )


def test_every_state_has_a_word() -> None:
    assert {str(state): str(WORD_OF_STATE[state]) for state in JobState} == {
        "queued": "queued",
        "running": "running",
        "delivering": "running",
        "finished": "finished",
        "failed": "error",
        "canceled": "canceled",
        "expired": "expired",
    }


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        ("small.en-q5_1", "small.en"),
        ("large-v3-turbo-q8_0", "large-v3-turbo"),
        ("small.en-tdrz", "small.en"),
        ("large-v3-turbo", "large-v3-turbo"),
        ("tiny", "tiny"),
    ],
)
def test_the_model_behind_a_variant(model: str, plain: str) -> None:
    assert plain_model(model) == plain


def test_times_are_seconds_since_1970() -> None:
    ended = record(
        state=JobState.FINISHED,
        started_at=QUEUED + timedelta(seconds=10),
        transcribed_at=QUEUED + timedelta(seconds=14.25),
        finished_at=QUEUED + timedelta(seconds=20),
        duration=61.5,
        language="de",
    )
    shown = document(ended, with_secrets=True)
    assert shown == {
        "id": 7,
        "owner": "ann@example.org",
        "state": "finished",
        "message": "Transcription has completed successfully.",
        "media_length": 61.5,
        "language_used": "de",
        "request": REQUEST,
        "queue_time": QUEUED.timestamp(),
        "start_time": QUEUED.timestamp() + 10,
        "finish_time": QUEUED.timestamp() + 20,
        "processing_time": 4.25,
        "url_notified": False,
        "priority": 2,
    }


def test_what_is_not_known_yet_is_nought() -> None:
    shown = document(record(), with_secrets=True)
    names = ("media_length", "start_time", "finish_time", "processing_time", "language_used")
    assert [shown[name] for name in names] == [0.0, 0.0, 0.0, 0.0, ""]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Job has been queued."),
        ({"state": JobState.RUNNING}, "Transcription started."),
        (
            {"state": JobState.RUNNING, "progress": Progress("transcribing", 0.5)},
            "Transcription started: transcribing, 50%.",
        ),
        ({"state": JobState.DELIVERING}, "The outputs are being sent."),
        ({"state": JobState.CANCELED}, "The job was canceled."),
        (
            {"state": JobState.EXPIRED, "error": JobError("input_expired", "It answers 403.")},
            "It answers 403.",
        ),
        (
            {"state": JobState.FINISHED, "warnings": ("The end is missing",)},
            "Transcription has completed successfully. The end is missing.",
        ),
        (
            {"spec": JobSpec(engine="faster-whisper", model="small.en")},
            f"Job has been queued. {STAND_IN}",
        ),
    ],
)
def test_messages(changes: dict[str, object], words: str) -> None:
    assert message(record(**changes)) == words


def test_only_the_owner_sees_secrets() -> None:
    shown = json.loads(without_secrets(REQUEST))
    assert shown["notification_url"] == "https://told.example/here"
    assert shown["options"] == {
        "engine": "whisper.cpp",
        "model": "small.en-q5_1",
        "input": "https://in.example/a%20b.wav",
        "outputs": {"txt_url": "https://out.example/t", "csv_url": None},
    }
    assert document(record(), with_secrets=False)["request"] == without_secrets(REQUEST)


def test_a_transcript_that_was_not_delivered_is_left_behind() -> None:
    sent = record(state=JobState.FINISHED, transcribed_at=QUEUED)
    assert not sent.leaves_transcript_behind
    assert replace(sent, job=sent.job.evolve(state=JobState.FAILED)).leaves_transcript_behind
    assert not record(state=JobState.FAILED).leaves_transcript_behind
