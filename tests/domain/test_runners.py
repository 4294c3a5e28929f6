"""What a runner's capabilities cover."""

from rhapsode.domain.jobs import Stage
from rhapsode.domain.runners import Capabilities, EngineOffer


def test_every_model_of_every_engine() -> None:
    capabilities = Capabilities(
        engines=(
            EngineOffer(engine="a", models=("tiny", "base")),
            EngineOffer(engine="b", models=("large",)),
        )
    )

    assert capabilities.requirements() == {"a/tiny", "a/base", "b/large"}


def test_a_further_stage_is_offered_and_not_demanded() -> None:
    capabilities = Capabilities(
        engines=(EngineOffer(engine="a", models=("tiny",)),),
        stages=(Stage.TRANSCRIBE, Stage.DIARISE),
    )

    assert capabilities.requirements() == {"a/tiny", "a/tiny+diarise"}


def test_a_stage_that_is_named_forty_times_counts_once() -> None:
    capabilities = Capabilities(
        engines=(EngineOffer(engine="a", models=("tiny",)),), stages=(Stage.DIARISE,) * 40
    )

    assert capabilities.requirements() == {"a/tiny", "a/tiny+diarise"}


def test_nothing_offered_covers_nothing() -> None:
    assert Capabilities().requirements() == frozenset()
