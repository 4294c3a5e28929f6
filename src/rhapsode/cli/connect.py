"""Which server to talk to, and as whom."""

import json
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from rhapsode.domain.errors import Denied, Invalid, NotFound
from rhapsode.domain.jobs import Job, JobId

if TYPE_CHECKING:
    from rhapsode.client import Client

Result = TypeVar("Result")

DEFAULT_SERVER = "http://127.0.0.1:8080"
LEAST_ID_CHARACTERS = 4
_MOST_PAGES = 25
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Login:
    """A server, and the API key for it."""

    server: str
    api_key: str | None


def login_file() -> Path:
    """Where `rhapsode login` keeps the server's address and the key, mode 0600."""
    import platformdirs

    return platformdirs.user_config_path("rhapsode") / "login.json"


def uploads_folder() -> Path:
    """Where it is noted which uploads are under way."""
    import platformdirs

    return platformdirs.user_state_path("rhapsode") / "uploads"


def save_login(login: Login) -> Path:
    """Keep a login for the user's next commands; nobody else can read the file."""
    path = login_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # Created with its mode: a file that is opened first and closed off later leaks.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"server": login.server, "api_key": login.api_key}, file)
    draft.replace(path)
    return path


def saved_login() -> Login | None:
    """The login that was kept, None where there is none."""
    path = login_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Login(str(found["server"]), str(found["api_key"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(
            "login_file", f"{path} is damaged.", hint="`rhapsode login` writes it anew."
        ) from error


def resolve(server: str | None, api_key: str | None) -> Login:
    """The server and key to use; a saved key is only ever sent to its own server."""
    saved = None if server and api_key else saved_login()
    chosen = (server or (saved.server if saved else DEFAULT_SERVER)).rstrip("/")
    if api_key is None and saved and saved.server == chosen:
        api_key = saved.api_key
    return Login(chosen, api_key)


def connect(server: str | None, api_key: str | None) -> "Client":
    """A client of the server; Denied where there is no key to show it."""
    from rhapsode.client import Client

    login = resolve(server, api_key)
    if not login.api_key:
        raise Denied(
            "no_api_key",
            f"There is no API key for {login.server}.",
            hint="Make one on the page or by `rhapsode token create --api-key NAME`, then "
            "`rhapsode login`, or set RHAPSODE_API_KEY.",
        )
    return Client(login.server, login.api_key)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run asynchronous work to its end."""
    import asyncio

    return asyncio.run(work)


async def find_job(client: "Client", text: str) -> JobId:
    """The id that `text` abbreviates; NotFound or Invalid where that is not one job."""
    try:
        return JobId(UUID(text))
    except ValueError:
        found = await _abbreviated(client, text.strip().lower())
    if not found:
        raise NotFound("job_not_found", f"No job of yours has an id like '{text[:40]}'.")
    if len(found) > 1:
        ids = ", ".join(str(job.id) for job in found[:3])
        raise Invalid(
            "ambiguous_id", f"'{text}' fits {len(found)} jobs: {ids}.", hint="Give more of it."
        )
    return found[0].id


def ensure_long_enough(text: str) -> None:
    """Invalid where a piece of an id is so short that it would fit by accident."""
    if len(text) < LEAST_ID_CHARACTERS:
        raise Invalid(
            "short_id", f"'{text}' is too short for an id.", hint="Four characters or more."
        )


async def _abbreviated(client: "Client", text: str) -> list[Job]:
    ensure_long_enough(text)
    found, cursor = list[Job](), None
    for _ in range(_MOST_PAGES):
        page = await client.job_page(cursor=cursor, limit=_PAGE)
        found += [job for job in page.items if _fits(str(job.id), text)]
        cursor = page.next
        if cursor is None:
            break
    return found


def _fits(job_id: str, text: str) -> bool:
    return job_id.startswith(text) or job_id.endswith(text)
