"""The runner's diariser: which one it is, and when it is loaded."""

from pathlib import Path

from rhapsode.catalogue.diarisers import find_diariser_model
from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.jobs import Progress
from rhapsode.engines.base import LoadSettings
from rhapsode.engines.diarisers import Diariser, DiariserEngine, available, loaded
from rhapsode.runner.config import ChildSettings
from rhapsode.runner.messages import LOADING
from rhapsode.runner.models import Watcher, fetched


def usable(settings: ChildSettings, store: ModelStore) -> list[DiariserEngine]:
    """The diarisers of this machine whose weights are there or may be fetched, best first."""
    return [engine for engine in available() if _can_load(engine, settings, store)]


def _can_load(engine: DiariserEngine, settings: ChildSettings, store: ModelStore) -> bool:
    if engine.model is None or settings.pull:
        return True
    model = find_diariser_model(engine.name, engine.model)
    return model is None or store.path_of(model) is not None


class DiariserShelf:
    """Holds the diariser once it is loaded; a first choice that fails makes way for a next."""

    def __init__(self, settings: ChildSettings, store: ModelStore) -> None:
        self._settings, self._store = settings, store
        self._held: Diariser | None = None

    def diariser(self, load_settings: LoadSettings, watcher: Watcher) -> Diariser:
        """The diariser, loaded; Unavailable where this machine has none that works."""
        if self._held is None:
            self._held = self._loaded(load_settings, watcher)
        watcher.check()
        return self._held

    def close(self) -> None:
        """Frees it; it is loaded again when it is wanted again."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _loaded(self, load_settings: LoadSettings, watcher: Watcher) -> Diariser:
        def folder_of(engine: DiariserEngine) -> Path:
            model = find_diariser_model(engine.name, engine.model) if engine.model else None
            if model is None:
                return self._settings.models_folder / engine.name
            folder = fetched(self._store, model, self._settings, watcher)
            watcher.report(Progress(LOADING, 0.0))
            return folder

        return loaded(folder_of, load_settings, usable(self._settings, self._store))
