"""`pip install` of the built wheel gives the command, with the web page inside."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.fleet import fleet_in
from tests.support.ports import free_port, until
from tests.support.speech import model_path, models_folder, plain, sample, sample_text

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel; its dependencies are borrowed."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    (wheel,) = built.glob("*.whl")
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import rhapsode; print(rhapsode.__file__)", cwd=folder)
    assert where.strip() == str(site / "rhapsode" / "__init__.py")
    return folder / "bin"


def run(*command: object, cwd: Path) -> str:
    """What a command prints; nothing of this checkout helps it."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean(cwd), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def clean(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TESTS_FLEET") if name in os.environ}
    return {**kept, "HOME": str(home), "RHAPSODE_MODELS__FOLDER": str(models_folder())}


def test_wheel_holds_what_a_server_needs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= {
        "rhapsode/py.typed",
        "rhapsode/api/static/index.html",
        "rhapsode/api/static/docs/index.html",
        "rhapsode/database/migrations/env.py",
        "rhapsode/database/migrations/versions/v0001_spine.py",
        "rhapsode-0.1.0.dist-info/entry_points.txt",
        "rhapsode-0.1.0.dist-info/licenses/LICENSE",
    }
    assert {name.split("/")[0] for name in names} == {"rhapsode", "rhapsode-0.1.0.dist-info"}
    assert [name for name in names if name.endswith((".pyc", ".map", ".db"))] == []
    modules = {
        str(path.relative_to(CHECKOUT / "src")) for path in (CHECKOUT / "src").rglob("*.py")
    }
    assert modules <= names


def test_source_archive_can_make_the_wheel_again(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    assert names >= {
        "pyproject.toml",
        "hatch_build.py",
        "scripts/build_web.py",
        "web/package.json",
        "web/package-lock.json",
        "src/rhapsode/py.typed",
        "README.md",
        "LICENSE",
    }
    strange = re.compile(r"node_modules|\.venv|\.cache|api/static|\.pyc$|^tests/")
    assert [name for name in names if strange.search(name)] == []


def test_command_is_installed(programs: Path, tmp_path: Path) -> None:
    assert "transcribe" in run(programs / "rhapsode", "--help", cwd=tmp_path)
    assert run(programs / "rhapsode", "version", cwd=tmp_path) == "0.1.0\n"


def test_transcribe_needs_no_server(programs: Path, tmp_path: Path) -> None:
    model_path("tiny.en")
    command = ("transcribe", sample("jfk"), "--model", "tiny.en", "--format", "txt")
    said = run(programs / "rhapsode", *command, cwd=tmp_path)
    assert plain(said) == plain(sample_text("jfk"))


def test_serve_has_the_page(programs: Path, tmp_path: Path) -> None:
    with serving(programs, tmp_path) as url:
        page = httpx.get(url)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        parts = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
        assert parts
        assert [httpx.get(url + part).status_code for part in parts] == [200] * len(parts)
        assert httpx.get(f"{url}/api/options").status_code == 401


@contextmanager
def serving(programs: Path, folder: Path) -> Iterator[str]:
    """`rhapsode serve` of the wheel, with nothing but a data folder and a port."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ("serve", "--data", folder / "data", "--port", port)

    def is_up() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            return httpx.get(f"{url}/healthz").is_success
        except httpx.TransportError:
            return False

    with fleet_in(folder), (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(part) for part in (programs / "rhapsode", *command)],
            cwd=folder,
            env=clean(folder),
            stdout=log,
            stderr=log,
        )
        until(is_up, 60, "the server answers")
        yield url
        process.terminate()
        assert process.wait(30) == 0
