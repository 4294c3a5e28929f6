"""Settings from environment variables and from a folder of secret files."""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from rhapsode.settings.values import (
    LEAVES,
    Given,
    Key,
    Origin,
    Problem,
    read_secret,
    suggestion,
    why_unreadable,
)

PREFIX = "RHAPSODE_"
DELIMITER = "__"
SECRETS_DIR = "RHAPSODE_SECRETS_DIR"
CONFIG = "RHAPSODE_CONFIG"
# Variables of the command line: a machine that has them for one command runs others too.
OTHERS = {
    CONFIG: "path of the settings file",
    SECRETS_DIR: "folder of secret files, each named as its key, as in `admin__password`",
    "RHAPSODE_SERVER": "URL of the server, for the commands that talk to one",
    "RHAPSODE_API_KEY": "API key for those commands",
    **{
        f"RHAPSODE_RUNNER_{name}": "an option of `rhapsode runner`"
        for name in (
            *("TOKEN", "TOKEN_FILE", "NAME", "DEVICE", "COMPUTE_TYPE", "THREADS", "PULL"),
            *("MODELS_DIR", "MIRROR_DIR", "SCRATCH_DIR", "DRAIN_SECONDS", "HANG_SECONDS"),
            *("ALLOW_NETWORKS", "MEMORY_BUDGET", "IDLE_SECONDS"),
        )
    },
    "RHAPSODE_LOG_LEVEL": "an option of `rhapsode runner`",
    "RHAPSODE_LOG_FORMAT": "an option of `rhapsode runner`",
}
_FOR_TESTS = "RHAPSODE_TEST_"
_KUBERNETES = re.compile(
    r"RHAPSODE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)"
)


def variable_of(key: Key) -> str:
    """The environment variable that sets a key."""
    return PREFIX + DELIMITER.join(key).upper()


def from_environment(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Given]:
    """Every setting that the environment gives; unknown variables become problems."""
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or _not_a_setting(name, text):
            continue
        key = tuple(name.removeprefix(PREFIX).lower().split(DELIMITER))
        if is_known(key):
            yield Given(key, decoded(key, text), Origin(name))
        else:
            problems.append(Problem(name, "", "is no setting.", _near_variable(name, key)))


def _not_a_setting(name: str, text: str) -> bool:
    """Other variables of ours, and those that Kubernetes makes for a service of our name."""
    if name in OTHERS or name.startswith(_FOR_TESTS) or _KUBERNETES.fullmatch(name):
        return True
    return name.endswith("_PORT") and text.startswith(("tcp://", "udp://"))


def is_known(key: Key) -> bool:
    """Whether a key holds a value, or names a file that does."""
    return key in LEAVES or without_file(key) in LEAVES


def without_file(key: Key) -> Key:
    """`admin.password` for `admin.password_file`; the key itself without that ending."""
    return (*key[:-1], key[-1].removesuffix("_file"))


def decoded(key: Key, text: str) -> Any:
    """The text, or a list where the setting is one: JSON, or separated by commas."""
    field = LEAVES.get(key)
    if field is None or get_origin(field.annotation) is not list:
        return text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [item.strip() for item in text.split(",") if item.strip()]


def _near_variable(name: str, key: Key) -> str | None:
    # One underscore where two are needed is the commonest mistake, so compare without them.
    flat = {variable_of(known).replace("_", ""): variable_of(known) for known in LEAVES}
    same = flat.get(name.replace("_", ""))
    near = [same] if same else get_close_matches(name, [*flat.values(), *OTHERS], n=1)
    if near:
        return f"did you mean {near[0]}?"
    hint = suggestion(key)
    return f"as a key, {hint}" if hint else None


def from_secrets(folder: Path, problems: list[Problem]) -> Iterator[Given]:
    """The settings in a folder of files, each named as its key, with or without prefix."""
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(Problem(SECRETS_DIR, "", f"{folder}: {error.strerror}."))
        return
    for path in files:
        name = path.name.lower().removeprefix(PREFIX.lower())
        key = tuple(name.split(DELIMITER if DELIMITER in name else "."))
        if key not in LEAVES:
            problems.append(Problem(str(path), "", "is named as no setting.", suggestion(key)))
            continue
        try:
            yield Given(key, decoded(key, read_secret(path)), Origin(str(path)))
        except (OSError, UnicodeError) as error:
            reason = why_unreadable(error)
            problems.append(Problem(str(path), "", f"cannot be read: {reason}."))
