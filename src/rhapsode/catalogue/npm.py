"""npm's registry as a mirror: where an archive is, by this machine's own settings of npm."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from rhapsode.catalogue.kinds import Archive

_DEFAULT = "https://registry.npmjs.org/"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_LINE = re.compile(r"^\s*([@\w:.-]+)\s*=\s*(\S+)\s*$", re.MULTILINE)


def address(archive: Archive) -> str:
    """The address of a package's tarball at the registry that npm would ask."""
    scope, slash, name = archive.package.rpartition("/")
    base = _registry(scope).rstrip("/")
    return f"{base}/{scope}{slash}{quote(name)}/-/{quote(name)}-{archive.version}.tgz"


def certificates() -> str | None:
    """A file of certificate authorities that npm is told to trust, where there is one."""
    named = os.environ.get("NODE_EXTRA_CA_CERTS") or _settings().get("cafile")
    return named if named and Path(named).is_file() else None


def _registry(scope: str) -> str:
    """A scope can have a registry of its own; the environment's comes before the file's."""
    settings = _settings()
    if scope and (own := settings.get(f"{scope}:registry")):
        return own
    named = next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), None)
    return named or settings.get("registry") or _DEFAULT


def _settings() -> dict[str, str]:
    file = os.environ.get("NPM_CONFIG_USERCONFIG") or "~/.npmrc"
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: value.strip("\"'") for name, value in _LINE.findall(text)}
