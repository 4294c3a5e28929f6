"""What this machine can do: the engines that are installed, and the models they can load."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import structlog

from rhapsode.catalogue.entries import models_of
from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.jobs import Stage
from rhapsode.domain.runners import Capabilities, EngineOffer
from rhapsode.engines.base import Engine, LoadSettings, own_models
from rhapsode.engines.registry import probed
from rhapsode.runner.calibrations import Calibrations, asked_for
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.diarising import usable

log = structlog.get_logger()


def capabilities(
    engines: Mapping[str, Engine],
    settings: ChildSettings,
    store: ModelStore,
    calibrations: Calibrations,
) -> Capabilities:
    """The offer that goes to the server at registration."""
    offers = tuple(_offers(engines, settings, store))
    return Capabilities(
        engines=offers,
        stages=_stages(settings, store),
        device=device(settings.device),
        threads=settings.threads or len(os.sched_getaffinity(0)),
        speed=_speed(offers, asked_for(settings), calibrations) or None,
    )


def _speed(
    offers: Iterable[EngineOffer], asked: LoadSettings, calibrations: Calibrations
) -> dict[str, float]:
    """What was measured of the models that are offered, as they would be loaded now."""
    found = (
        calibrations.find(offer.engine, offer.version or "", model, asked)
        for offer in offers
        for model in offer.models
    )
    return {one.name: one.speed for one in found if one is not None}


def _stages(settings: ChildSettings, store: ModelStore) -> tuple[Stage, ...]:
    if usable(settings, store):
        return (Stage.TRANSCRIBE, Stage.DIARISE)
    return (Stage.TRANSCRIBE,)


def _offers(
    engines: Mapping[str, Engine], settings: ChildSettings, store: ModelStore
) -> Iterator[EngineOffer]:
    for name, engine in engines.items():
        found = probed(engine)
        if not found.available:
            log.debug("engine not available", engine=name, detail=found.detail)
            continue
        models = own_models(engine) or _catalogued(name, settings, store)
        if models:
            yield EngineOffer(engine=name, models=models, version=found.detail)


def _catalogued(name: str, settings: ChildSettings, store: ModelStore) -> tuple[str, ...]:
    models = models_of(name)
    if not settings.pull:
        models = tuple(model for model in models if store.path_of(model))
    return tuple(model.name for model in models)


def device(wanted: str) -> str:
    """The device in words; `auto` means the graphics card where the system shows one.

    Looking at the device file keeps this free of any engine's library.
    """
    if wanted != "auto":
        return wanted
    return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"
