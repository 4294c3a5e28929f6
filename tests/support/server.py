"""The real server: in this process for tests of the API, as a process for everything else."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from asgi_lifespan import LifespanManager

from rhapsode.bootstrap import asgi
from rhapsode.domain.users import Role, User
from rhapsode.services import runners, users
from rhapsode.services.context import Context
from rhapsode.settings import Settings
from rhapsode.storage.objects import StoreConfig
from tests.support.ports import free_port, until

EMAIL = "admin@example.org"
PASSWORD = "correct horse battery"


def settings_for(
    folder: Path,
    *,
    database_url: str | None = None,
    store: StoreConfig | None = None,
    **sections: dict[str, Any],
) -> Settings:
    """Settings of a server that keeps everything below `folder` and starts no runner."""
    storage = {} if store is None else _storage(store)
    tree: dict[str, Any] = {
        "data": folder / "data",
        "admin": {"email": EMAIL, "password": PASSWORD},
        "runner": {"enabled": False},
        "database": {"url": database_url},
        "storage": storage,
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return Settings.model_validate(tree)


def _storage(store: StoreConfig) -> dict[str, Any]:
    names = ("url", "endpoint", "region", "access_key_id", "secret_access_key", "allow_http")
    return {name: getattr(store, name) for name in names}


@dataclass
class App:
    """The application in this process, with the administrator's key and a runner's token."""

    context: Context
    client: httpx.AsyncClient
    admin: User
    key: str
    runner_token: str

    def as_runner(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.runner_token}"}

    async def key_of(self, email: str, role: Role = Role.MEMBER) -> str:
        """The API key of a new user."""
        made = await users.create(self.context, email, role, PASSWORD)
        return (await users.create_key(self.context, made.user, "tests")).secret


@contextlib.asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[App]:
    """The application with its lifespan, reached without a socket."""
    app, wrapped = asgi(settings)
    async with LifespanManager(wrapped, startup_timeout=60, shutdown_timeout=30):
        context: Context = app.state.context
        admin = await users.by_email(context, EMAIL)
        key = (await users.create_key(context, admin, "tests")).secret
        token = (await runners.create_token(context, "tests")).secret
        transport = httpx.ASGITransport(wrapped)
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as client:
            yield App(context, client, admin, key, token)


@dataclass
class Server:
    """`rhapsode serve` as a process. Each start is a new process over the same data."""

    settings: Settings
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> Self:
        self.launch()
        until(self._is_up, 60, f"the server answers; see {self.log}")
        return self

    def launch(self) -> None:
        """Start it without waiting for it to answer."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rhapsode", "serve", "--config", self._config()],
                stdout=log,
                stderr=log,
                env=_environment(),
            )

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz", timeout=2).is_success
        return False

    def secret(self, *arguments: str) -> str:
        """What `rhapsode token create` prints."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "rhapsode", "token", "create"),
                *(*arguments, "--config", self._config()),
            ],
            check=True,
            capture_output=True,
            text=True,
            env=_environment(),
        )
        return done.stdout.strip()

    def _config(self) -> str:
        """The settings as the YAML file of a real deployment."""
        path = self.folder / "rhapsode.yml"
        if not path.exists():
            path.write_text(_yaml(self.settings, self.port))
        return str(path)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("RHAPSODE_")}


def _yaml(settings: Settings, port: int) -> str:
    import yaml
    from pydantic import SecretStr

    from rhapsode.settings.tree import SecretUrl

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr | SecretUrl):
            return value.get_secret_value()
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return str(value) if isinstance(value, Path) else value

    tree = plain(settings.model_dump(exclude_defaults=True))
    tree["server"] = {**tree.get("server", {}), "port": port}
    return str(yaml.safe_dump(tree))


@contextlib.contextmanager
def running_server(settings: Settings, folder: Path) -> Iterator[Server]:
    """A real server process on a free port, stopped at the end."""
    server = Server(settings, free_port(), folder).start()
    try:
        yield server
    finally:
        server.stop()
