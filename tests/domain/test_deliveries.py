"""What deliveries come to, and which of them count."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from rhapsode.domain.deliveries import (
    Delivery,
    DeliveryId,
    DeliveryKind,
    DeliveryState,
    ending,
    latest,
)
from rhapsode.domain.jobs import Change, JobId
from rhapsode.domain.users import UserId

NOW = datetime(2026, 1, 2, tzinfo=UTC)
S = DeliveryState


def delivery(subject: str, state: DeliveryState, error: str | None = None) -> Delivery:
    return Delivery(
        id=DeliveryId(uuid7()),
        user_id=UserId(uuid7()),
        job_id=JobId(uuid7()),
        kind=DeliveryKind.ARTIFACT,
        subject=subject,
        destination="example.org:443",
        url=f"https://example.org/{subject}?secret=1",
        state=state,
        next_at=NOW,
        created_at=NOW,
        error=error,
    )


@pytest.mark.parametrize(
    ("states", "change"),
    [
        ([], Change.DELIVERED),
        ([S.DELIVERED, S.DELIVERED], Change.DELIVERED),
        ([S.DELIVERED, S.CANCELED], Change.DELIVERED),
        ([S.DELIVERED, S.DEAD], Change.UNDELIVERED),
        ([S.EXPIRED, S.DEAD, S.DELIVERED], Change.EXPIRE),
    ],
)
def test_the_end_is_the_worst_of_all(states: list[DeliveryState], change: Change) -> None:
    assert ending([delivery("vtt", state) for state in states]).change is change


def test_the_reason_names_every_artifact_and_no_secret() -> None:
    failed = [
        delivery("vtt", S.DEAD, "The receiver answered 400."),
        delivery("txt", S.DELIVERED),
        delivery("srt", S.DEAD),
    ]
    error = ending(failed).error
    assert error is not None
    assert error.code == "delivery_failed"
    assert error.message == (
        "vtt could not be put to https://example.org/vtt: The receiver answered 400. "
        "srt could not be put to https://example.org/srt: no reason is known. "
        "The transcript is kept: mend the receiver and redeliver, or give other URLs."
    )


def test_of_each_artifact_the_newest_counts() -> None:
    first, other, second = (
        delivery("vtt", S.EXPIRED),
        delivery("txt", S.DELIVERED),
        delivery("vtt", S.DELIVERED),
    )
    told = replace(delivery("job.finished", S.PENDING), kind=DeliveryKind.WEBHOOK)
    assert latest([second, told, other, first]) == {"vtt": second, "txt": other}
