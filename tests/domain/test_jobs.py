"""The state machine and the rules of jobs."""

import pytest
from scripts.draw_states import PAGE, page

from rhapsode.domain.errors import Conflict
from rhapsode.domain.jobs import (
    TERMINAL,
    TRANSITIONS,
    Change,
    JobSpec,
    JobState,
    Layout,
    Stage,
    ensure_allowed,
    requirement_key,
)

ALLOWED = {
    ("queued", "claim"): "running",
    ("queued", "cancel"): "canceled",
    ("running", "lapse"): "queued",
    ("running", "give back"): "queued",
    ("running", "exhaust"): "failed",
    ("running", "fail"): "failed",
    ("running", "result"): "finished",
    ("running", "deliver"): "delivering",
    ("running", "expire"): "expired",
    ("running", "cancel"): "canceled",
    ("delivering", "delivered"): "finished",
    ("delivering", "undelivered"): "failed",
    ("delivering", "expire"): "expired",
    ("delivering", "cancel"): "canceled",
    ("finished", "redeliver"): "delivering",
    ("failed", "redeliver"): "delivering",
    ("canceled", "redeliver"): "delivering",
    ("expired", "redeliver"): "delivering",
    ("failed", "retry"): "queued",
    ("canceled", "retry"): "queued",
    ("expired", "retry"): "queued",
}


@pytest.mark.parametrize("change", Change)
@pytest.mark.parametrize("state", JobState)
def test_every_change_in_every_state(state: JobState, change: Change) -> None:
    wanted = ALLOWED.get((state.value, change.value))

    if wanted is None:
        with pytest.raises(Conflict, match=f"The job is {state}"):
            ensure_allowed(state, change)
    else:
        assert ensure_allowed(state, change) == JobState(wanted)


def test_a_refused_change_says_what_it_needs() -> None:
    with pytest.raises(Conflict) as refusal:
        ensure_allowed(JobState.FINISHED, Change.RETRY)

    assert (refusal.value.code, refusal.value.message) == (
        "job_state",
        "The job is finished; 'retry' needs it to be canceled or expired or failed.",
    )


def test_every_change_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Change)


def test_only_who_asks_again_leaves_a_terminal_state() -> None:
    leaving = {change for change, row in TRANSITIONS.items() if row.sources & TERMINAL}

    assert leaving == {Change.RETRY, Change.REDELIVER}


def test_every_state_is_reached_from_the_queue() -> None:
    reached = {JobState.QUEUED}
    for _ in JobState:
        reached |= {row.target for row in TRANSITIONS.values() if row.sources & reached}

    assert reached == set(JobState)


def test_the_drawn_state_machine_is_up_to_date() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python scripts/draw_states.py"


@pytest.mark.parametrize(
    ("stages", "key"),
    [
        ({Stage.TRANSCRIBE}, "whisper/base"),
        (set(), "whisper/base"),
        ({Stage.DIARISE, Stage.TRANSCRIBE}, "whisper/base+diarise"),
    ],
)
def test_requirement_keys(stages: set[Stage], key: str) -> None:
    assert requirement_key("whisper", "base", frozenset(stages)) == key


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        (Layout.SIMPLE, "faster-whisper/base"),
        (Layout.SEGMENTATION, "faster-whisper/base"),
        (Layout.DIARISATION, "faster-whisper/base+diarise"),
    ],
)
def test_what_a_layout_requires(layout: Layout, key: str) -> None:
    assert JobSpec(layout=layout).requirement == key
