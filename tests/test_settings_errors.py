"""What is wrong with the settings is named by file, line and key, with a hint, all at once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from rhapsode.settings import SettingsError, load


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    file = folder / "config.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file, environ=environ or {})
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


CASES = {
    "an unknown key, nearly right": (
        "server:\n  host: h\n  prot: 1\n",
        "config.yml:3: server.prot: is an unknown key. hint: did you mean server.port?",
    ),
    "an unknown section": (
        "sever:\n  port: 1\n",
        "config.yml:1: sever: is an unknown key. hint: did you mean server?",
    ),
    "a key of another section": (
        "\n\nport: 1\n",
        "config.yml:3: port: is an unknown key. hint: did you mean server.port or email.port?",
    ),
    "a wrong type": (
        "server:\n  port: many\n",
        (
            "config.yml:2: server.port: should be a valid integer, unable to parse string as "
            "an integer; it is 'many'."
        ),
    ),
    "out of range": (
        "server: {port: 70000}\n",
        "config.yml:1: server.port: should be less than or equal to 65535; it is '70000'.",
    ),
    "one of several": (
        "logging:\n  level: loud\n",
        (
            "config.yml:2: logging.level: should be 'debug', 'info', 'warning' or 'error'; "
            "it is 'loud'."
        ),
    ),
    "an item of a list": (
        "server:\n  trusted_proxies:\n    - 10.0.0.0/8\n    - proxy\n",
        (
            "config.yml:4: server.trusted_proxies.1: 'proxy' does not appear to be an IPv4 "
            "or IPv6 network; it is 'proxy'."
        ),
    ),
    "a value where a section belongs": (
        "admin: me\n",
        "config.yml:1: admin: should be a section of keys. hint: known here: email, password.",
    ),
    "a section where a value belongs": (
        "server:\n  port:\n    number: 1\n",
        "config.yml:3: server.port: should be a valid integer.",
    ),
    "a key twice": (
        "server:\n  port: 1\n  port: 2\n",
        "config.yml:3: server.port: is already on line 2.",
    ),
    "a key and its file": (
        "admin:\n  password: aaaaaaaaaaaa\n  password_file: config.yml\n",
        "config.yml:3 (file config.yml): admin.password: is already given at config.yml:2.",
    ),
    "a rule between keys": (
        "admin: {}\nqueue:\n  lease_seconds: 20\n",
        "config.yml:2: queue: lease_seconds should be at least twice heartbeat_seconds.",
    ),
    "a secret is not quoted": (
        "admin:\n  password: short\n",
        "config.yml:2: admin.password: A password needs 12 to 1024 characters; this one has 5.",
    ),
    "an undefined variable": (
        "server:\n  host: !ENV ${NOWHERE}\n",
        (
            "config.yml:2: server.host: the environment variable NOWHERE is not defined. "
            "hint: define it, or give a default: ${NOWHERE:…}"
        ),
    ),
    "a missing secret by tag": (
        "admin:\n  password: !FILE pw.txt\n",
        (
            "config.yml:2: admin.password: the file pw.txt cannot be read: "
            "No such file or directory."
        ),
    ),
    "a missing secret by key": (
        "admin:\n\n  password_file: pw.txt\n",
        (
            "config.yml:3: admin.password_file: the file pw.txt cannot be read: "
            "No such file or directory."
        ),
    ),
    "an unknown tag": (
        "server:\n  host: !SECRET x\n",
        "config.yml:2: server.host: !SECRET is unknown; !ENV and !FILE are known.",
    ),
    "not YAML": (
        "server:\n  host: [a\n",
        "config.yml:3: is not YAML: expected ',' or ']', but got '<stream end>'.",
    ),
    "not a mapping": (
        "- server\n",
        "config.yml:1: should be keys and values, as in `server:`.",
    ),
    "a database that is not one": (
        "database:\n  url: mysql://me:pw@db/x\n",
        (
            "config.yml:2: database.url: should be sqlite:///PATH or "
            "postgresql://USER:PASSWORD@HOST/NAME."
        ),
    ),
    "half an access key": (
        "storage:\n  access_key_id: me\n",
        "config.yml:1: storage: access_key_id and secret_access_key need each other.",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, expected = CASES[name]
    assert problems(tmp_path, text) == [expected]


ENVIRONMENT = {
    "one underscore for two": (
        {"RHAPSODE_SERVER_PORT": "1"},
        "RHAPSODE_SERVER_PORT: is no setting. hint: did you mean RHAPSODE_SERVER__PORT?",
    ),
    "a misspelling": (
        {"RHAPSODE_SERVER__PRT": "1"},
        "RHAPSODE_SERVER__PRT: is no setting. hint: did you mean RHAPSODE_SERVER__PORT?",
    ),
    "a wrong type": (
        {"RHAPSODE_RUNNER__ENABLED": "perhaps"},
        (
            "RHAPSODE_RUNNER__ENABLED: runner.enabled: should be a valid boolean, unable to "
            "interpret input; it is 'perhaps'."
        ),
    ),
    "a missing file": (
        {"RHAPSODE_ADMIN__PASSWORD_FILE": "/nowhere/pw"},
        (
            "RHAPSODE_ADMIN__PASSWORD_FILE: admin.password_file: the file /nowhere/pw cannot "
            "be read: No such file or directory."
        ),
    ),
    "a missing folder of secrets": (
        {"RHAPSODE_SECRETS_DIR": "/nowhere"},
        "RHAPSODE_SECRETS_DIR: /nowhere: No such file or directory.",
    ),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_each_mistake_in_the_environment_names_its_variable(tmp_path: Path, name: str) -> None:
    environ, expected = ENVIRONMENT[name]
    assert problems(tmp_path, "", environ) == [expected]


def test_a_secret_file_with_an_unknown_name(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "admin__pasword").touch()
    environ = {"RHAPSODE_SECRETS_DIR": str(tmp_path / "secrets")}
    assert problems(tmp_path, "", environ) == [
        "secrets/admin__pasword: is named as no setting. hint: did you mean admin.password?"
    ]


def test_all_mistakes_come_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "server:\n  prot: 1\n  port: x\nadmin: 5\n" + "\n" * 8 + "logging: {level: x}\n"
    found = problems(tmp_path, text, {"RHAPSODE_X": "1"})
    assert [line.split(": ")[0] for line in found] == [
        "config.yml:2",
        "config.yml:3",
        "config.yml:4",
        "config.yml:13",
        "RHAPSODE_X",
    ]


def test_other_variables_of_ours_and_of_kubernetes_are_no_mistakes() -> None:
    environ = {
        "RHAPSODE_SERVER": "http://server:8080",
        "RHAPSODE_API_KEY": "rhk_x",
        "RHAPSODE_RUNNER_TOKEN": "rhr_x",
        "RHAPSODE_TEST_DATABASE": "x",
        "RHAPSODE_PORT": "tcp://10.0.0.1:8080",
        "RHAPSODE_SERVICE_HOST": "10.0.0.1",
        "RHAPSODE_SERVICE_PORT_HTTP": "8080",
        "RHAPSODE_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert load(Path("/dev/null"), environ=environ).settings.server.port == 8080


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.yml", "No such file or directory"), ("", "Is a directory")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / name, environ={})
    assert str(caught.value) == f"{tmp_path / name}: cannot be read: {reason}."
