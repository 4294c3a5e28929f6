"""The tables. Alembic's migrations must lead to exactly these; a test compares them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times on both databases; SQLite's own type forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; naive times are refused, since nobody knows what they mean."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time reached the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Back to an aware UTC time."""
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


Document = JSON().with_variant(JSONB(), "postgresql")

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text),
    Column("created_at", UtcDateTime, nullable=False),
)

logins = Table(
    "logins",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("name", String(100), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

runner_tokens = Table(
    "runner_tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

runners = Table(
    "runners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "token_id",
        Uuid,
        ForeignKey("runner_tokens.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("name", String(100), nullable=False),
    Column("version", String(40), nullable=False),
    Column("capabilities", Document, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False, index=True),
)

media = Table(
    "media",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64)),
    Column("probe", Document),
    Column("created_at", UtcDateTime, nullable=False),
    Column("touched_at", UtcDateTime, nullable=False),
    Index("ix_media_user_id_id", "user_id", "id"),
    Index("ix_media_user_id_digest", "user_id", "digest"),
    Index(
        "ix_media_unsettled",
        "touched_at",
        postgresql_where=text("state <> 'ready'"),
        sqlite_where=text("state <> 'ready'"),
    ),
)

_QUEUED = text("state = 'queued'")
_RUNNING = text("state = 'running'")

jobs = Table(
    "jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("media_id", Uuid, ForeignKey("media.id", ondelete="SET NULL"), index=True),
    Column("name", String(200), nullable=False),
    Column("spec", Document, nullable=False),
    Column("requirement", String(200), nullable=False),
    # The negative of the priority: (queue_rank, id) ascending is the order of the queue.
    Column("queue_rank", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("duration", Float),
    Column("language", String(16)),
    Column("stage", String(40)),
    Column("fraction", Float),
    Column("runner_id", Uuid),
    Column("runner_name", String(100)),
    Column("lease_expires_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    # When it last became free to claim; what a retry waits does not count from its creation.
    Column("queued_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("warnings", Document, nullable=False),
    # The queue: claims read it from its head, whatever else the table holds.
    Index(
        "ix_jobs_queue",
        "queue_rank",
        "id",
        postgresql_where=_QUEUED,
        sqlite_where=_QUEUED,
    ),
    Index(
        "ix_jobs_leases", "lease_expires_at", postgresql_where=_RUNNING, sqlite_where=_RUNNING
    ),
    Index("ix_jobs_runner", "runner_id", postgresql_where=_RUNNING, sqlite_where=_RUNNING),
    Index("ix_jobs_user_id_id", "user_id", "id"),
)

transcripts = Table(
    "transcripts",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, nullable=False),
    # The canonical document, as compressed JSON: words make it long, and it is read whole.
    Column("document", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource_id", Uuid, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)
