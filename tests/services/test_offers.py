"""What can be asked for, by what runners have; and what runners have in memory."""

import pytest

from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import JobSpec
from rhapsode.domain.runners import Capabilities, EngineOffer, Runner
from rhapsode.services import runners
from rhapsode.services.offers import ensure_possible, offers, online
from tests.support.server import App

CPP = EngineOffer(engine="whisper.cpp", models=("tiny", "base.en"))


async def runner_with(app: App, *engines: EngineOffer) -> Runner:
    new = await runners.create_token(app.context, "other")
    offer = Capabilities(engines=engines)
    known = await runners.register(
        app.context, new.secret, name="a", version="1", capabilities=offer
    )
    return await runners.authenticate(app.context, known.runner_id, new.secret)


async def refused(app: App, spec: JobSpec) -> Invalid:
    with pytest.raises(Invalid) as refusal:
        await ensure_possible(app.context, spec)
    return refusal.value


async def test_the_built_in_engine_can_be_asked_for_before_any_runner_comes(app: App) -> None:
    assert [engine.name for engine in (await offers(app.context)).engines] == ["faster-whisper"]
    await ensure_possible(app.context, JobSpec())


async def test_an_engine_that_no_runner_has_is_refused(app: App) -> None:
    spec = JobSpec(engine="whisper.cpp", model="tiny")
    refusal = await refused(app, spec)
    assert (refusal.code, refusal.message) == (
        "engine_unavailable",
        "No runner has the engine 'whisper.cpp'.",
    )
    await runner_with(app, CPP)
    await ensure_possible(app.context, spec)


async def test_a_model_of_another_engine_is_named(app: App) -> None:
    await runner_with(app, CPP)
    refusal = await refused(app, JobSpec(engine="faster-whisper", model="tiny-q5_1"))
    assert (refusal.code, refusal.message) == (
        "unknown_model",
        "'tiny-q5_1' is no model of faster-whisper, but of whisper.cpp.",
    )


async def test_what_a_runner_has_loaded_is_known(app: App) -> None:
    runner = await runner_with(app, CPP)
    assert runner.capabilities.loaded == ()
    noted = await runners.note_loaded(app.context, runner, ("whisper.cpp/tiny",))
    assert noted.capabilities.loaded == ("whisper.cpp/tiny",)
    assert [found.capabilities for found in await online(app.context)] == [noted.capabilities]
    emptied = await runners.note_loaded(app.context, noted, ())
    assert [found.capabilities for found in await online(app.context)] == [emptied.capabilities]
