"""Settings come from four places, in order, and each value knows which one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rhapsode.settings import LEAVES, Loaded, Settings, find_file, load, variable_of

SECRET = "correct horse battery"


def loaded(folder: Path, text: str = "", **environ: str) -> Loaded:
    file = folder / "config.yml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ=environ)


def test_nothing_given_is_a_laptop() -> None:
    settings = load(Path("/dev/null"), environ={}).settings
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.server.max_upload_bytes == 64 * 1024**3
    assert settings.database_url == f"sqlite+aiosqlite:///{settings.data}/rhapsode.db"
    assert settings.storage_folder == settings.data / "objects"


def test_command_line_beats_environment_beats_secrets_beat_file(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "server__port").write_text("2\n")
    (secrets / "rhapsode_server__host").write_text("2.2.2.2\n")
    (secrets / "..data").write_text("Kubernetes puts such a thing there")
    file = tmp_path / "config.yml"
    file.write_text("server: {port: 1, host: 1.1.1.1, max_upload_bytes: 1}\ndatabase:\n")
    environ = {
        "RHAPSODE_SECRETS_DIR": str(secrets),
        "RHAPSODE_SERVER__PORT": "3",
        "RHAPSODE_QUEUE__MAX_ATTEMPTS": "3",
    }
    overrides = {"queue.max_attempts": 4, "server.port": None}
    result = load(file, overrides=overrides, environ=environ)
    found = {
        ".".join(key): (value, result.origin(key).text)
        for key, value in {
            ("server", "max_upload_bytes"): int(result.settings.server.max_upload_bytes),
            ("server", "host"): result.settings.server.host,
            ("server", "port"): result.settings.server.port,
            ("queue", "max_attempts"): result.settings.queue.max_attempts,
            ("queue", "sweep_seconds"): result.settings.queue.sweep_seconds,
        }.items()
    }
    assert found == {
        "server.max_upload_bytes": (1, f"{file}:1"),
        "server.host": ("2.2.2.2", f"{secrets}/rhapsode_server__host"),
        "server.port": (3, "RHAPSODE_SERVER__PORT"),
        "queue.max_attempts": (4, "command line"),
        "queue.sweep_seconds": (10.0, "default"),
    }


@pytest.mark.parametrize(
    ("text", "environ", "host"),
    [
        ("!ENV ${HOST}", {"HOST": "a"}, "a"),
        ("!ENV '${HOST}'", {"HOST": "a"}, "a"),
        ("!ENV ${HOST:b}", {"HOST": "a"}, "a"),
        ("!ENV ${HOST:b}", {}, "b"),
        ("!ENV '${HOST:http://x:1}'", {}, "http://x:1"),
        ("!ENV ${A}.${B:b}.${C:c}:80", {"A": "a", "C": "z"}, "a.b.z:80"),
        ("!ENV tag:yaml.org,2002:str ${HOST:b}", {}, "b"),
        ("'${HOST}'", {"HOST": "a"}, "${HOST}"),
    ],
)
def test_env_tags_interpolate(
    tmp_path: Path, text: str, environ: Mapping[str, str], host: str
) -> None:
    result = loaded(tmp_path, f"server:\n  host: {text}\n", **environ)
    assert result.settings.server.host == host


@pytest.mark.parametrize("text", ["!ENV ${ON}", "!ENV ${MISSING:false}", "no", "false"])
def test_interpolated_text_takes_the_type_of_its_key(tmp_path: Path, text: str) -> None:
    assert not loaded(tmp_path, f"runner:\n  enabled: {text}", ON="0").settings.runner.enabled


def test_an_empty_text_means_not_set(tmp_path: Path) -> None:
    result = loaded(tmp_path, "admin: {password: !ENV '${PW:}'}", RHAPSODE_STORAGE__REGION="")
    assert (result.settings.admin.password, result.settings.storage.region) == (None, None)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("admin: {password: !FILE pw.txt}", {}),
        ("admin: {password_file: pw.txt}", {}),
        ("admin: {password: !ENV '${PW}'}", {"PW": SECRET}),
        ("", {"RHAPSODE_ADMIN__PASSWORD_FILE": "{folder}/pw.txt"}),
        ("", {"RHAPSODE_ADMIN__PASSWORD": SECRET}),
        ("", {"RHAPSODE_SECRETS_DIR": "{folder}/secrets"}),
    ],
)
def test_secrets_come_from_files_or_environment_and_stay_hidden(
    tmp_path: Path, text: str, environ: Mapping[str, str]
) -> None:
    (tmp_path / "pw.txt").write_text(f"{SECRET}\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "admin.password").write_text(f"{SECRET}\r\n")
    given = {key: value.format(folder=tmp_path) for key, value in environ.items()}
    result = loaded(tmp_path, text, **given)
    assert result.settings.admin.password
    assert result.settings.admin.password.get_secret_value() == SECRET
    assert SECRET not in repr(result) + result.settings.model_dump_json()


def test_paths_of_a_file_count_from_the_file(tmp_path: Path) -> None:
    text = "data: kept\nstorage: {url: objects}\nmodels: {mirror_folder: /mnt/models}\n"
    settings = loaded(tmp_path, text).settings
    assert settings.data == tmp_path / "kept"
    assert settings.storage_folder == tmp_path / "objects"
    assert settings.models.mirror_folder == Path("/mnt/models")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgresql://me:pw@db/x?ssl=1", "postgresql+asyncpg://me:pw@db/x?ssl=1"),
        ("postgres://db/x", "postgresql+asyncpg://db/x"),
        ("sqlite:////tmp/x.db", "sqlite+aiosqlite:////tmp/x.db"),
    ],
)
def test_database_urls_get_their_driver(given: str, url: str) -> None:
    settings = Settings.model_validate({"database": {"url": given}})
    assert settings.database_url == url
    assert "pw@" not in repr(settings)


def test_lists_come_by_yaml_commas_or_json(tmp_path: Path) -> None:
    expected = ["10.0.0.0/8", "::1"]
    text = "server: {trusted_proxies: [10.0.0.0/8, '::1']}"
    name = "RHAPSODE_SERVER__TRUSTED_PROXIES"
    results = [
        loaded(tmp_path, text),
        loaded(tmp_path, "", **{name: "10.0.0.0/8, ::1"}),
        loaded(tmp_path, text, **{name: '["10.0.0.0/8", "::1"]'}),
    ]
    assert [result.settings.server.trusted_proxies for result in results] == [expected] * 3


def test_yaml_anchors_and_merges_work(tmp_path: Path) -> None:
    text = "x: &x {port: 1}\nserver: {<<: *x, host: h}\n"
    with pytest.raises(Exception, match=r"config\.yml:1: x: is an unknown key"):
        loaded(tmp_path, text)
    text = "queue: &q {max_attempts: 2}\nserver:\n  host: &h 1.1.1.1\nadmin: {email: a@b}\n"
    assert loaded(tmp_path, text).settings.queue.max_attempts == 2


def test_the_file_is_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path}/none:{tmp_path}/site")
    named, user, site = (
        tmp_path / "named.yml",
        tmp_path / "user" / "rhapsode" / "config.yml",
        tmp_path / "site" / "rhapsode" / "config.yaml",
    )
    for file in (named, user, site):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    environ = {"RHAPSODE_CONFIG": str(named)}
    assert find_file(tmp_path / "x.yml", environ) == tmp_path / "x.yml"
    assert find_file(None, environ) == named
    assert find_file(None, {}) == user
    user.unlink()
    assert find_file(None, {}) == site
    site.unlink()
    assert find_file(None, {}) is None


def test_every_setting_says_what_it_means_and_has_a_variable() -> None:
    assert [key for key, field in LEAVES.items() if not field.description] == []
    assert len({variable_of(key) for key in LEAVES}) == len(LEAVES)
