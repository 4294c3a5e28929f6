"""What can be asked for: the catalogue's models, and whatever the runners add to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TypeVar

from rhapsode.catalogue import entries
from rhapsode.database import runners as table
from rhapsode.domain.errors import Invalid
from rhapsode.domain.jobs import DEFAULT_ENGINE, DEFAULT_MODEL, JobSpec, Layout, Stage
from rhapsode.domain.runners import Runner
from rhapsode.services.context import Context, now

T = TypeVar("T")

_LATELY = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model that can be asked for; no languages means that nobody knows which it has."""

    name: str
    languages: tuple[str, ...] = ()
    description: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EngineOffers:
    """An engine that can be asked for, with its models."""

    name: str
    models: tuple[ModelOffer, ...]


@dataclass(frozen=True, slots=True)
class Offers:
    """Everything that can be asked for now, and by how many runners it would be done."""

    engines: tuple[EngineOffers, ...]
    layouts: tuple[Layout, ...]
    runners_online: int


async def online(context: Context) -> list[Runner]:
    """The runners heard of lately."""
    since = now() - timedelta(seconds=context.rules.online_seconds)
    async with context.database.read() as connection:
        return await table.seen_since(connection, since)


async def lately(context: Context) -> list[Runner]:
    """The runners that were here in the last days, and will likely be here again."""
    async with context.database.read() as connection:
        return await table.seen_since(connection, now() - _LATELY)


async def offers(context: Context) -> Offers:
    """What can be asked for now.

    The built-in engine always; another one where a runner of the last days has it, so that
    a job can wait for a runner that is away for a while, but for none that never was.
    """
    runners = await online(context)
    names = {
        DEFAULT_ENGINE,
        *(o.engine for r in await lately(context) for o in r.capabilities.engines),
    }
    return Offers(
        engines=tuple(EngineOffers(name, _models(name, runners)) for name in sorted(names)),
        layouts=_layouts(runners),
        runners_online=len(runners),
    )


def _layouts(runners: Iterable[Runner]) -> tuple[Layout, ...]:
    if any(Stage.DIARISE in runner.capabilities.stages for runner in runners):
        return tuple(Layout)
    return (Layout.SIMPLE, Layout.SEGMENTATION)


def _models(engine: str, runners: Iterable[Runner]) -> tuple[ModelOffer, ...]:
    known = {
        model.name: ModelOffer(model.name, model.languages, model.description, model.size_bytes)
        for model in entries.models_of(engine)
    }
    reported = (
        name
        for runner in runners
        for offer in runner.capabilities.engines
        if offer.engine == engine
        for name in offer.models
    )
    return tuple({**{name: ModelOffer(name) for name in reported}, **known}.values())


async def ensure_possible(context: Context, spec: JobSpec) -> None:
    """Invalid, naming the choices, unless some engine and model can do what is asked."""
    possible = await offers(context)
    engine = _engine(spec.engine, {e.name: e for e in possible.engines})
    model = _model(spec.model, engine, possible)
    for language in (spec.language, *spec.languages):
        _ensure_language(model, language)
    _ensure_consistent(spec, model)
    if spec.layout not in possible.layouts:
        raise Invalid(
            "layout_unavailable",
            f"No runner offers what the layout '{spec.layout}' needs.",
            hint=f"Choose one of: {', '.join(possible.layouts)}.",
        )


def _ensure_consistent(spec: JobSpec, model: ModelOffer) -> None:
    if spec.language and (spec.languages or spec.mixed_languages):
        raise Invalid(
            "language_twice",
            "A language is named, and others are to be listened for.",
            hint="Leave `language` out, or `languages` and `mixed_languages`.",
        )
    if spec.translate_to is None:
        return
    if spec.translate_to != "en" or model.languages == ("en",):
        raise Invalid(
            "translation_unavailable",
            f"The model '{model.name}' does not translate into '{spec.translate_to}'.",
            hint="Multilingual Whisper models translate into English: `translate_to: en`.",
        )


def _engine(name: str, choices: dict[str, EngineOffers]) -> EngineOffers:
    if name not in choices and any(model.engine == name for model in entries.MODELS):
        raise Invalid(
            "engine_unavailable",
            f"No runner has the engine '{name}'.",
            hint="`rhapsode engines` on a runner's machine says what it lacks. "
            f"There are: {', '.join(sorted(choices))}.",
        )
    return _chosen("unknown_engine", "engine", name, choices)


def _model(name: str, engine: EngineOffers, possible: Offers) -> ModelOffer:
    """The model; where it is one of other engines', the refusal names them."""
    choices = {model.name: model for model in engine.models}
    others = [
        other.name
        for other in possible.engines
        if name not in choices and name in {model.name for model in other.models}
    ]
    if others:
        raise Invalid(
            "unknown_model",
            f"'{name}' is no model of {engine.name}, but of {' and '.join(others)}.",
            hint=f"Choose that engine, or one of: {', '.join(sorted(choices))}.",
        )
    return _chosen("unknown_model", f"model of {engine.name}", name, choices)


def _chosen(code: str, noun: str, name: str, choices: dict[str, T]) -> T:
    if name in choices:
        return choices[name]
    close = get_close_matches(name, choices, n=1)
    guess = f"Did you mean '{close[0]}'? " if close else ""
    raise Invalid(
        code,
        f"There is no {noun} called '{name}'.",
        hint=f"{guess}There are: {', '.join(sorted(choices))}.",
    )


def _ensure_language(model: ModelOffer, language: str | None) -> None:
    if language is None or not model.languages or language in model.languages:
        return
    if len(model.languages) == 1:
        hint = f"It knows only '{model.languages[0]}'; a multilingual one is '{DEFAULT_MODEL}'."
    else:
        hint = f"It knows: {', '.join(model.languages)}."
    raise Invalid(
        "unsupported_language", f"The model '{model.name}' lacks '{language}'.", hint=hint
    )
