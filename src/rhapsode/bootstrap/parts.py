"""The parts: services over a database and a store, and the application over them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp

from rhapsode.api.app import AppConfig, create_app, observed
from rhapsode.bootstrap.outgoing import sending
from rhapsode.database.engine import Database, open_database
from rhapsode.database.migrate import is_downgrade
from rhapsode.database.migrate import migrate as migrate_database
from rhapsode.database.relay import Relay
from rhapsode.domain.errors import Unavailable
from rhapsode.domain.retention import RetentionPolicy
from rhapsode.outbound.guard import Policy
from rhapsode.outbound.smtp import SmtpConfig
from rhapsode.services import retention, sweeping, users
from rhapsode.services.context import Context, Rules
from rhapsode.services.probing import Prober
from rhapsode.services.recorder import Recorder
from rhapsode.services.users import NewUser
from rhapsode.services.waiting import ClaimQueue
from rhapsode.settings import Settings
from rhapsode.storage.inputs import InputBuckets
from rhapsode.storage.objects import StoreConfig, open_store
from rhapsode.telemetry import Metrics, create_metrics

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics | None = None
) -> AsyncIterator[Context]:
    """The services over the configured database and store, migrated, without a server."""
    async with AsyncExitStack() as stack:
        _make_folder(settings.data)
        database = open_database(settings.database_url, pool_size=settings.database.pool_size)
        stack.push_async_callback(database.close)
        await migrate_database(database)
        store_config = _store_config(settings)
        prober = Prober(store_config)
        stack.push_async_callback(prober.close)
        yield Context(
            database=database,
            store=open_store(store_config),
            probe=prober.probe,
            claims=ClaimQueue(database.signals),
            recorder=Recorder(metrics or create_metrics()),
            rules=_rules(settings),
            policy=Policy(allow_networks=tuple(settings.outbound.allow_networks)),
            input_buckets=_input_buckets(settings),
            smtp=_smtp(settings),
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            "data_folder",
            f"The data folder {folder} cannot be made: {error.strerror}.",
            hint="Choose another with --data or the setting `data`.",
        ) from error


def _store_config(settings: Settings) -> StoreConfig:
    wanted = settings.storage
    secret = wanted.secret_access_key
    return StoreConfig(
        url=settings.storage_url,
        endpoint=wanted.endpoint,
        region=wanted.region,
        access_key_id=wanted.access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        path_style=wanted.path_style,
        allow_http=wanted.allow_http,
    )


def _input_buckets(settings: Settings) -> InputBuckets | None:
    wanted = settings.s3_input
    if wanted.access_key_id is None or wanted.secret_access_key is None:
        return None
    return InputBuckets(
        endpoint=wanted.endpoint,
        region=wanted.region,
        access_key_id=wanted.access_key_id,
        secret_access_key=wanted.secret_access_key.get_secret_value(),
        path_style=wanted.path_style,
        buckets=frozenset(wanted.buckets),
    )


def _rules(settings: Settings) -> Rules:
    queue = settings.queue
    return Rules(
        lease_seconds=queue.lease_seconds,
        heartbeat_seconds=queue.heartbeat_seconds,
        sweep_seconds=queue.sweep_seconds,
        claim_wait_seconds=queue.claim_wait_seconds_max,
        abandoned_upload_seconds=queue.abandoned_upload_seconds,
        unfinished_upload_seconds=queue.unfinished_upload_seconds,
        max_attempts=queue.max_attempts,
        max_upload_bytes=settings.server.max_upload_bytes,
        presign_downloads=settings.storage.presign_downloads,
        transcription_stand_in=settings.transcription.stand_in,
        transcription_grace_seconds=settings.transcription.grace_seconds,
        public_url=settings.server.public_url,
        retention=RetentionPolicy(**settings.retention.model_dump()),
        fetch_by_server=settings.outbound.fetch_by == "server",
        connect_seconds=settings.outbound.connect_seconds,
        read_seconds=settings.outbound.read_seconds,
        max_redirects=settings.outbound.max_redirects,
        fetch_seconds=settings.outbound.fetch_seconds,
        least_url_seconds=settings.outbound.least_url_seconds,
        model_aliases=settings.openai.models,
    )


def _smtp(settings: Settings) -> SmtpConfig | None:
    wanted = settings.email
    if wanted.host is None or wanted.sender is None:
        return None
    return SmtpConfig(
        host=wanted.host,
        port=wanted.port,
        sender=wanted.sender,
        security=wanted.security,
        username=wanted.username,
        password=wanted.password.get_secret_value() if wanted.password else None,
        timeout_seconds=settings.deliveries.timeout_seconds,
    )


@asynccontextmanager
async def open_application(
    settings: Settings, metrics: Metrics | None = None
) -> AsyncIterator[Context]:
    """The services as a server runs them: with a first administrator, sweeping, relaying."""
    async with open_services(settings, metrics) as context:
        await greet(await ensure_admin(context, settings))
        async with _background(context), sending(context, settings):
            yield context


async def ensure_admin(context: Context, settings: Settings) -> NewUser | None:
    """Make the administrator if there is none."""
    wanted = settings.admin.password
    return await users.ensure_first_admin(
        context, settings.admin.email, wanted.get_secret_value() if wanted else None
    )


async def greet(admin: NewUser | None) -> None:
    """Tell, this once, how to sign in."""
    if admin is None:
        return
    from rich.console import Console

    password = admin.password or "as set in the settings (admin.password)"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("\n  This is the first start. Sign in with", style="bold")
    console.print(f"    e-mail    {admin.user.email}", markup=False)
    console.print(f"    password  {password}", markup=False)
    console.print("  It is shown this once; `rhapsode user password` sets another.\n")


@asynccontextmanager
async def _background(context: Context) -> AsyncIterator[None]:
    """What goes on beside the requests for as long as the application runs."""
    work = [sweeping.run(context), retention.run(context)]
    if not context.database.is_sqlite:
        work.append(Relay(context.database).run())
    tasks = [asyncio.create_task(item) for item in work]
    try:
        yield
    finally:
        context.closing.set()
        await context.tasks.close()
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def application(settings: Settings, metrics: Metrics | None = None) -> FastAPI:
    """The web application over these settings; everything opens with its lifespan."""
    used = metrics or create_metrics()
    config = AppConfig(
        secure_cookies=settings.server.secure_cookies, public_url=settings.server.public_url
    )
    return create_app(lambda: open_application(settings, used), config)


def asgi(settings: Settings) -> tuple[FastAPI, ASGIApp]:
    """The application, bare and with logs and metrics around it."""
    metrics = create_metrics()
    app = application(settings, metrics)
    return app, observed(app, metrics)


def openapi() -> dict[str, Any]:
    """The OpenAPI document; it depends on no setting."""
    return application(Settings()).openapi()


def migrate(settings: Settings, revision: str = "head") -> str:
    """Bring the configured database to a revision; returns the one reached."""
    return asyncio.run(_with_database(settings, lambda it: migrate_database(it, revision)))


def would_downgrade(settings: Settings, revision: str) -> bool:
    """Whether `migrate` would take tables away, with all that is in them."""
    return asyncio.run(_with_database(settings, lambda it: is_downgrade(it, revision)))


async def _with_database(
    settings: Settings, work: Callable[[Database], Awaitable[Result]]
) -> Result:
    _make_folder(settings.data)
    database = open_database(settings.database_url)
    try:
        return await work(database)
    finally:
        await database.close()
