import re

import pytest

from rhapsode.catalogue.entries import MODELS, SAMPLES, find_model, find_sample, models_of
from rhapsode.catalogue.kinds import Entry, PackageSource
from rhapsode.domain.jobs import DEFAULT_ENGINE, DEFAULT_MODEL

EVERYTHING: list[Entry] = [*MODELS, *SAMPLES]


def test_the_default_model_is_pinned() -> None:
    model = find_model(DEFAULT_ENGINE, DEFAULT_MODEL)
    assert model is not None
    assert model.files
    assert (len(model.languages), model.size_bytes) == (99, 147_882_941)


def test_names_are_unique() -> None:
    folders = [entry.folder for entry in EVERYTHING]
    assert len(folders) == len(set(folders))


def test_an_unknown_model_is_none() -> None:
    assert find_model("faster-whisper", "enormous") is None
    assert find_model("slower-whisper", "base") is None
    assert find_sample("silence") is None


def test_models_come_smallest_first() -> None:
    sizes = [model.size_bytes for model in models_of("faster-whisper")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("entry", EVERYTHING, ids=lambda entry: entry.folder)
def test_digests_are_digests_and_packages_cover_every_file(entry: Entry) -> None:
    assert entry.sources
    for file in entry.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size > 0
    for source in entry.sources:
        if isinstance(source, PackageSource):
            assert set(source.members) == {file.path for file in entry.files}
