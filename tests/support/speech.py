"""Real models and real speech, fetched once through the catalogue into a shared folder.

RHAPSODE_TEST_CACHE names that folder; without it, .cache/test of the checkout.
"""

import os
import re
from functools import cache
from pathlib import Path

from rhapsode.catalogue.entries import FASTER_WHISPER, find_model, find_sample
from rhapsode.catalogue.kinds import Entry, Sample
from rhapsode.catalogue.store import ModelStore
from rhapsode.engines.base import LoadSettings, Transcriber
from rhapsode.engines.faster_whisper import ENGINE

_CHECKOUT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    return Path(os.environ.get("RHAPSODE_TEST_CACHE", _CHECKOUT / ".cache" / "test"))


def models_folder() -> Path:
    """A folder fit for the setting `models.folder`."""
    return cache_folder() / "models"


def _pulled(entry: Entry | None) -> Path:
    assert entry is not None
    return ModelStore(models_folder()).pull(entry)


@cache
def model_path(name: str) -> Path:
    """The folder of a faster-whisper model of the catalogue."""
    return engine_model(FASTER_WHISPER, name)


@cache
def engine_model(engine: str, name: str) -> Path:
    """The folder of any engine's model of the catalogue."""
    return _pulled(find_model(engine, name))


@cache
def sample(name: str) -> Path:
    """The recording of a sample of the catalogue."""
    found = find_sample(name)
    folder = _pulled(found)
    assert found is not None
    return folder / next(file.path for file in found.files if file.path.endswith(".wav"))


def sample_text(name: str) -> str:
    """What is said in a sample."""
    found = find_sample(name)
    assert isinstance(found, Sample)
    assert found.text is not None
    return found.text


@cache
def loaded(name: str) -> Transcriber:
    """A model in memory, shared by the tests of a process."""
    return ENGINE.load(model_path(name), LoadSettings(device="cpu", threads=2))


def plain(text: str) -> str:
    """Words in lower case without punctuation, as word error rates compare them."""
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower().replace("-", " ")).split())
