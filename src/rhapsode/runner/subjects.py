"""What is calibrated: the models asked for, or those that are installed; and with what."""

from collections.abc import Iterator, Sequence

from rhapsode.catalogue.entries import SAMPLES, find_model, models_of
from rhapsode.catalogue.store import ModelStore
from rhapsode.domain.errors import NotFound, Unavailable
from rhapsode.engines import registry
from rhapsode.engines.base import Engine, own_models
from rhapsode.runner.calibrating import Sample, Subject
from rhapsode.runner.config import key_of

SAMPLE = "jfk"


def subjects(store: ModelStore, names: Sequence[str]) -> tuple[Subject, ...]:
    """The models of these names (`base`, `whisper.cpp/tiny`); without one, all that are there.

    NotFound (`model_missing`) for one that is not installed, or where none is.
    """
    found = tuple(_named(store, name) for name in names) if names else tuple(_all(store))
    if not found:
        raise NotFound(
            "model_missing",
            f"No model is installed in {store.folder}.",
            hint="`rhapsode models pull base` brings one.",
        )
    return found


def sample(store: ModelStore, *, pull: bool = True) -> Sample:
    """The recording that is read for it, fetched where it is missing."""
    entry = next(entry for entry in SAMPLES if entry.name == SAMPLE)
    folder = store.path_of(entry)
    if folder is None and not pull:
        raise Unavailable(
            "model_missing",
            "The recording that a calibration reads is not installed.",
            hint=f"`rhapsode models pull samples/{SAMPLE}` brings it.",
        )
    folder = folder or store.pull(entry)
    name = next(file.path for file in entry.files if file.path.endswith(".wav"))
    return Sample(folder / name, entry.text or "")


def _all(store: ModelStore) -> Iterator[Subject]:
    for engine in registry.discover().values():
        if registry.probed(engine).available:
            names = own_models(engine) or tuple(
                model.name for model in models_of(engine.name) if store.path_of(model)
            )
            yield from (_subject(store, engine, name) for name in names)


def _named(store: ModelStore, name: str) -> Subject:
    engine, model = key_of(name)
    return _subject(store, registry.ready(engine), model)


def _subject(store: ModelStore, engine: Engine, name: str) -> Subject:
    version = registry.probed(engine).detail
    if name in own_models(engine):
        return Subject(engine.name, version, name, store.folder / engine.name / name)
    model = find_model(engine.name, name)
    folder = store.path_of(model) if model else None
    if model is None or folder is None:
        raise NotFound(
            "model_missing",
            f"{engine.name}/{name} is not installed here.",
            hint="`rhapsode models list` tells what there is, `rhapsode models pull` fetches.",
        )
    return Subject(engine.name, version, name, folder, tuple(model.languages))
