import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from rhapsode.catalogue import download
from rhapsode.catalogue.download import Remote, client, disk_errors, fetch
from rhapsode.domain.errors import Limited, Unavailable
from tests.support.files_server import FilesServer, files_server

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def served() -> Iterator[FilesServer]:
    with files_server() as server:
        server.files["/model.bin"] = CONTENT
        yield server


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with client() as made:
        yield made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


def _remote(served: FilesServer, content: bytes = CONTENT) -> Remote:
    digest = hashlib.sha256(content).hexdigest()
    return Remote("model.bin", f"{served.url}/model.bin", len(content), digest)


def test_a_file_arrives_whole(served: FilesServer, http: httpx.Client, tmp_path: Path) -> None:
    counts: list[int] = []
    fetch(http, _remote(served), tmp_path / "model.bin", counts.append)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_broken_download_goes_on_where_it_stopped(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    served.breaks, served.break_after = 2, 1_000_000
    counts: list[int] = []
    fetch(http, _remote(served), tmp_path / "model.bin", counts.append)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)
    ranges = [asked for _, asked in served.requests]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_a_part_of_an_earlier_process_is_used(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "model.bin.part").write_bytes(CONTENT[:2_500_000])
    counts: list[int] = []
    fetch(http, _remote(served), tmp_path / "model.bin", counts.append)
    assert served.requests == [("/model.bin", "bytes=2500000-")]
    assert (counts[0], sum(counts)) == (2_500_000, len(CONTENT))


def test_a_server_without_ranges_starts_again(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    served.ranges = False
    (tmp_path / "model.bin.part").write_bytes(CONTENT[:2_500_000])
    counts: list[int] = []
    fetch(http, _remote(served), tmp_path / "model.bin", counts.append)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    assert sum(counts) == len(CONTENT)


def test_wrong_content_is_thrown_away(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    counts: list[int] = []
    with pytest.raises(Unavailable) as failure:
        fetch(http, _remote(served, CONTENT[::-1]), tmp_path / "model.bin", counts.append)
    assert failure.value.code == "download_corrupt"
    assert sum(counts) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_of_the_hub_is_checked_by_its_git_name(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    served.files["/config.json"] = b"{}\n"
    blob = hashlib.sha1(b"blob 3\0{}\n").hexdigest()
    good = Remote("config.json", f"{served.url}/config.json", 3, None, blob)
    fetch(http, good, tmp_path / "config.json", lambda _: None)
    bad = Remote("config.json", f"{served.url}/config.json", 3, None, "0" * 40)
    with pytest.raises(Unavailable, match="not the expected one"):
        fetch(http, bad, tmp_path / "other.json", lambda _: None)


def test_what_is_not_there_is_told_at_once(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    remote = Remote("a", f"{served.url}/a", 3, None)
    with pytest.raises(Unavailable, match="the server answered 404"):
        fetch(http, remote, tmp_path / "a", lambda _: None)
    assert len(served.requests) == 1


def test_a_server_that_brings_nothing_is_given_up(
    served: FilesServer, http: httpx.Client, tmp_path: Path
) -> None:
    served.breaks, served.break_after = 100, 0
    with pytest.raises(Unavailable) as failure:
        fetch(http, _remote(served), tmp_path / "model.bin", lambda _: None)
    assert failure.value.code == "download_failed"
    assert len(served.requests) == download.TRIES


def test_no_connection_is_told(http: httpx.Client, tmp_path: Path) -> None:
    remote = Remote("a", "http://127.0.0.1:9/a", 3, None)
    with pytest.raises(Unavailable, match="no connection"):
        fetch(http, remote, tmp_path / "a", lambda _: None)


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(Limited) as failure, disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert failure.value.code == "disk_full"
    assert str(tmp_path) in failure.value.message


def test_a_full_disk_really(served: FilesServer, http: httpx.Client) -> None:
    with pytest.raises(Limited):
        _fetch_to_full(http, _remote(served))


def _fetch_to_full(http: httpx.Client, remote: Remote) -> None:
    with disk_errors(Path("/dev")), Path("/dev/full").open("wb") as file:
        file.write(http.get(remote.url).content)
