"""Runners that were let in a moment ago are let in again, for a moment."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from rhapsode.domain.jobs import RunnerId
from rhapsode.domain.runners import Capabilities, Runner
from rhapsode.services import known
from rhapsode.services.known import TRUSTED_SECONDS, KnownRunners


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make_runner() -> Runner:
    moment = datetime.now(UTC)
    return Runner(
        id=RunnerId(uuid7()),
        token_id=uuid7(),
        name="runner",
        version="1",
        capabilities=Capabilities(),
        registered_at=moment,
        seen_at=moment,
    )


def test_only_the_same_secret_is_trusted_and_only_for_a_while() -> None:
    clock, runner = Clock(), make_runner()
    runners = KnownRunners(clock)
    runners.confirmed(runner, "hash", 0)
    assert runners.find(runner.id, "hash") == runner
    assert runners.find(runner.id, "another") is None
    clock.now += TRUSTED_SECONDS
    assert runners.find(runner.id, "hash") is None


def test_a_change_does_not_prolong_the_trust() -> None:
    clock, runner = Clock(), make_runner()
    runners = KnownRunners(clock)
    runners.confirmed(runner, "hash", 0)
    clock.now += TRUSTED_SECONDS - 1
    renamed = replace(runner, name="renamed")
    runners.changed(renamed)
    assert runners.find(runner.id, "hash") == renamed
    clock.now += 1
    assert runners.find(runner.id, "hash") is None


def test_a_change_of_nobody_known_lets_nobody_in() -> None:
    runners, runner = KnownRunners(), make_runner()
    runners.changed(runner)
    assert runners.find(runner.id, "hash") is None


def test_forgetting_means_everyone() -> None:
    runners, runner = KnownRunners(), make_runner()
    runners.confirmed(runner, "hash", 0)
    runners.forget()
    assert runners.find(runner.id, "hash") is None


def test_the_longest_known_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    runners, three = KnownRunners(), [make_runner() for _ in range(3)]
    for runner in three:
        runners.confirmed(runner, "hash", 0)
    assert [runners.find(runner.id, "hash") for runner in three] == [None, *three[1:]]


def test_what_was_confirmed_before_a_revocation_counts_no_more() -> None:
    runners, runner = KnownRunners(), make_runner()
    asked = runners.generation
    runners.forget()
    runners.confirmed(runner, "hash", asked)
    assert runners.find(runner.id, "hash") is None
