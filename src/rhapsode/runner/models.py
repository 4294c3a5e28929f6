"""Where a model's files are, fetched first where that is allowed."""

from pathlib import Path
from typing import Protocol

from rhapsode.catalogue.entries import find_model
from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.errors import NotFound
from rhapsode.domain.jobs import Progress
from rhapsode.engines.base import Engine, own_models
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.messages import FETCHING_MODEL


class Watcher(Protocol):
    """Who wants to know how a fetch goes, and may call it off."""

    def report(self, progress: Progress) -> None:
        """Hear how far it is."""

    def check(self) -> None:
        """Raise where it is to stop."""


def model_folder(
    store: ModelStore, engine: Engine, name: str, settings: ChildSettings, watcher: Watcher
) -> Path:
    """The verified folder of a model; NotFound where it is unknown or may not be fetched."""
    if name in own_models(engine):
        return settings.models_folder / engine.name / name
    model = find_model(engine.name, name)
    if model is None:
        raise NotFound("unknown_model", f"This runner knows no model {engine.name}/{name}.")
    if (installed := store.path_of(model)) is not None:
        return installed
    if not settings.pull:
        raise NotFound(
            "model_missing", f"{engine.name}/{name} is not installed on this runner."
        )

    def report(done: int, total: int) -> None:
        watcher.check()
        watcher.report(Progress(FETCHING_MODEL, min(1.0, done / total) if total else 0.0))

    watcher.report(Progress(FETCHING_MODEL, 0.0))
    return store.pull(model, report)
