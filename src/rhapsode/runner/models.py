"""Where a model's files are, fetched first where that is allowed."""

from pathlib import Path
from typing import Protocol

import structlog

from rhapsode.catalogue.entries import find_model
from rhapsode.catalogue.kinds import Model
from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.errors import NotFound, Unavailable
from rhapsode.domain.jobs import Progress
from rhapsode.engines.base import Engine, own_models
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.messages import FETCHING_MODEL

log = structlog.get_logger()
_verified: set[str] = set()


class Watcher(Protocol):
    """Who wants to know how a fetch goes, and may call it off."""

    def report(self, progress: Progress) -> None:
        """Hear how far it is."""

    def check(self) -> None:
        """Raise where it is to stop."""


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a model's folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ensure_whole(store: ModelStore, engine: Engine, name: str) -> None:
    """Unavailable (`model_damaged`), naming the files, where an installed model is damaged.

    It counts as absent from then on, so that the next attempt may fetch it again.
    """
    model = find_model(engine.name, name)
    if model is None or store.path_of(model) is None:
        return
    if bad := store.verify(model):
        raise damaged(model, bad)


def damaged(model: Model, files: tuple[str, ...]) -> Unavailable:
    """What to say of a model whose files are not what they were."""
    return Unavailable(
        "model_damaged",
        f"The model {model.folder} is damaged on this runner: {', '.join(files)}.",
        hint=f"`rhapsode models pull {model.folder}` gets it again.",
    )


def _mend(store: ModelStore, model: Model, settings: ChildSettings) -> None:
    """Reads the files again, once a process; damaged ones are fetched anew or told of."""
    if store.path_of(model) is None or model.folder in _verified:
        return
    bad = store.verify(model)
    if bad and not settings.pull:
        raise damaged(model, bad)
    if bad:
        log.warning("model is damaged, and fetched again", model=model.folder, files=bad)
    _verified.add(model.folder)


def model_folder(
    store: ModelStore, engine: Engine, name: str, settings: ChildSettings, watcher: Watcher
) -> Path:
    """The verified folder of a model; NotFound where it is unknown or may not be fetched."""
    if name in own_models(engine):
        return settings.models_folder / engine.name / name
    model = find_model(engine.name, name)
    if model is None:
        raise NotFound("unknown_model", f"This runner knows no model {engine.name}/{name}.")
    if settings.careful:
        _mend(store, model, settings)
    return fetched(store, model, settings, watcher)


def fetched(store: ModelStore, model: Model, settings: ChildSettings, watcher: Watcher) -> Path:
    """The verified folder of these weights; NotFound where they may not be fetched."""
    if (installed := store.path_of(model)) is not None:
        return installed
    if not settings.pull:
        raise NotFound("model_missing", f"{model.folder} is not installed on this runner.")

    def report(done: int, total: int) -> None:
        watcher.check()
        watcher.report(Progress(FETCHING_MODEL, min(1.0, done / total) if total else 0.0))

    watcher.report(Progress(FETCHING_MODEL, 0.0))
    return store.pull(model, report)
