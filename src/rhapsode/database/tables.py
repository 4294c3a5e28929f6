"""The tables. Alembic's migrations must lead to exactly these; a test compares them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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
    false,
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


# No document is SQL's null, not the document `null`: queries ask for it.
Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

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
_MEDIA_BY_POLICY = text("media_id IS NOT NULL AND media_expires_at IS NULL")
_TRANSCRIPT_BY_POLICY = text(
    "transcribed_at IS NOT NULL AND transcript_expires_at IS NULL "
    "AND transcript_deleted_at IS NULL"
)

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
    # A recording that is fetched by URL, where it is not stored. It may carry secrets.
    Column("source_url", Text),
    Column("keep_media", Boolean, nullable=False, server_default=false()),
    # Artifact name → URL to PUT it to; they may carry secrets.
    Column("outputs", Document),
    Column("notify", Document),
    Column("retention", Document),
    Column("transcribed_at", UtcDateTime),
    # When retention ends; null: never, or done.
    Column("media_expires_at", UtcDateTime),
    Column("transcript_expires_at", UtcDateTime),
    Column("transcript_deleted_at", UtcDateTime),
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
    Index(
        "ix_jobs_media_expires_at",
        "media_expires_at",
        postgresql_where=text("media_expires_at IS NOT NULL"),
        sqlite_where=text("media_expires_at IS NOT NULL"),
    ),
    Index(
        "ix_jobs_transcript_expires_at",
        "transcript_expires_at",
        postgresql_where=text("transcript_expires_at IS NOT NULL"),
        sqlite_where=text("transcript_expires_at IS NOT NULL"),
    ),
    # What the policy decides on: jobs that say nothing themselves and still have something.
    Index(
        "ix_jobs_media_policy",
        "finished_at",
        postgresql_where=_MEDIA_BY_POLICY,
        sqlite_where=_MEDIA_BY_POLICY,
    ),
    Index(
        "ix_jobs_transcript_policy",
        "finished_at",
        postgresql_where=_TRANSCRIPT_BY_POLICY,
        sqlite_where=_TRANSCRIPT_BY_POLICY,
    ),
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

partial_segments = Table(
    "partial_segments",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    # How many segments of this run were told of before it.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("document", Document, nullable=False),
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


def _owner() -> Column[Any]:
    return Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


voices = Table(
    "voices",
    metadata,
    Column("id", Uuid, primary_key=True),
    _owner(),
    Column("name", String(100), nullable=False),
    # The network that made the vector: those of another cannot be compared with it.
    Column("model", String(100), nullable=False),
    Column("vector", Document, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_voices_user_id_name", "user_id", "name"),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    _owner(),
    Column("url", Text, nullable=False),
    Column("description", String(200), nullable=False),
    Column("events", Document, nullable=False),
    # A signature needs the key itself, so a hash would not do.
    Column("secrets", Document, nullable=False),
    Column("disabled_reason", String(200)),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_webhook_endpoints_user_id_id", "user_id", "id"),
)

_PENDING = text("state = 'pending'")

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True),
    _owner(),
    # A webhook outlives its job: whoever is told of a job's end may well delete it then.
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
    Column("endpoint_id", Uuid, ForeignKey("webhook_endpoints.id", ondelete="CASCADE")),
    Column("kind", String(16), nullable=False),
    Column("subject", String(40), nullable=False),
    # host:port, so that one slow receiver does not hold up the others.
    Column("destination", String(255), nullable=False),
    Column("url", Text),
    Column("payload", Document),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # While one is being sent, when another sender may take it for lost.
    Column("next_at", UtcDateTime, nullable=False),
    # Whose it is while it is being sent: only that sender may say what came of it.
    Column("claimed_by", Uuid),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("status", Integer),
    Column("latency", Float),
    Column("error", Text),
    Column("response", Text),
    Index("ix_deliveries_due", "next_at", postgresql_where=_PENDING, sqlite_where=_PENDING),
    Index(
        "ix_deliveries_dead",
        "id",
        postgresql_where=text("state = 'dead'"),
        sqlite_where=text("state = 'dead'"),
    ),
    Index("ix_deliveries_endpoint_id_id", "endpoint_id", "id"),
    Index("ix_deliveries_user_id_id", "user_id", "id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    _owner(),
    Column("name", String(200), nullable=False),
    Column("metadata", Document, nullable=False),
    # Null while the client has not said how long it will be.
    Column("size", BigInteger),
    Column("received", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("media_id", Uuid, ForeignKey("media.id", ondelete="SET NULL"), index=True),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("error_hint", Text),
    # Whose bytes count: the request that appends, or the process that assembles.
    Column("holder", Uuid),
    # When an assembly counts as lost, so that another process takes it up.
    Column("held_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Index("ix_uploads_user_id_id", "user_id", "id"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", Uuid, ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    # Where in the recording it begins, in bytes.
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    # Its object's name: two requests may store different bytes for the same place.
    Column("object_id", Uuid, nullable=False),
    Column("digest", String(64), nullable=False),
)

transcription_requests = Table(
    "transcription_requests",
    metadata,
    # The integer by which seed 001's clients know the job; it never comes again.
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column(
        "job_id",
        Uuid,
        ForeignKey("jobs.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    _owner(),
    Column("request", Text, nullable=False),
    Column("notification_type", String(16), nullable=False),
    Column("expiration_seconds", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # When a client had read the job's end to the last byte.
    Column("read_at", UtcDateTime),
    Index("ix_transcription_requests_user_id_number", "user_id", "number"),
    sqlite_autoincrement=True,
)

flags = Table(
    "flags",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Document, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    # No foreign key: the trail outlives the account. Null: the server itself.
    Column("actor_id", Uuid),
    Column("action", String(64), nullable=False),
    Column("subject_kind", String(32), nullable=False),
    Column("subject_id", String(64), nullable=False),
    Column("detail", Document, nullable=False),
    Index("ix_audit_events_action_id", "action", "id"),
    Index("ix_audit_events_subject_id_id", "subject_id", "id"),
)
