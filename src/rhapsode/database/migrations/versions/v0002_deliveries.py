"""Deliveries: recordings by URL, artifacts PUT to URLs, webhooks, uploads in pieces."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

TIME = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, each after those that it refers to, and widen `jobs`."""
    _audit_events()
    _flags()
    _webhook_endpoints()
    _uploads()
    _partial_segments()
    _deliveries()
    _transcription_requests()
    _upload_parts()
    _jobs_columns()


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject_kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=64), nullable=False),
        sa.Column("detail", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_action_id", "audit_events", ["action", "id"], unique=False)
    op.create_index(
        "ix_audit_events_subject_id_id", "audit_events", ["subject_id", "id"], unique=False
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"], unique=False)


def _flags() -> None:
    op.create_table(
        "flags",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", DOCUMENT, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_flags")),
    )


def _webhook_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("events", DOCUMENT, nullable=False),
        sa.Column("secrets", DOCUMENT, nullable=False),
        sa.Column("disabled_reason", sa.String(length=200), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_webhook_endpoints_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(
        "ix_webhook_endpoints_user_id_id", "webhook_endpoints", ["user_id", "id"], unique=False
    )


def _partial_segments() -> None:
    op.create_table(
        "partial_segments",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_partial_segments_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "job_id", "attempt", "number", name=op.f("pk_partial_segments")
        ),
    )


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("metadata", DOCUMENT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("media_id", sa.Uuid(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_hint", sa.Text(), nullable=True),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column("held_until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["media_id"], ["media.id"], name=op.f("fk_uploads_media_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_uploads_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_index(op.f("ix_uploads_media_id"), "uploads", ["media_id"], unique=False)
    op.create_index("ix_uploads_user_id_id", "uploads", ["user_id", "id"], unique=False)


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("destination", sa.String(length=255), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("payload", DOCUMENT, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("claimed_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("settled_at", TIME, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("latency", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_deliveries_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_deliveries_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_deliveries_dead",
        "deliveries",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'dead'"),
        sqlite_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_deliveries_endpoint_id_id", "deliveries", ["endpoint_id", "id"], unique=False
    )
    op.create_index(op.f("ix_deliveries_job_id"), "deliveries", ["job_id"], unique=False)
    op.create_index("ix_deliveries_user_id_id", "deliveries", ["user_id", "id"], unique=False)


def _transcription_requests() -> None:
    op.create_table(
        "transcription_requests",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("notification_type", sa.String(length=16), nullable=False),
        sa.Column("expiration_seconds", sa.Float(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("read_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name=op.f("fk_transcription_requests_job_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_transcription_requests_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_transcription_requests")),
        sa.UniqueConstraint("job_id", name=op.f("uq_transcription_requests_job_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_transcription_requests_user_id_number",
        "transcription_requests",
        ["user_id", "number"],
        unique=False,
    )


def _upload_parts() -> None:
    op.create_table(
        "upload_parts",
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("object_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"],
            ["uploads.id"],
            name=op.f("fk_upload_parts_upload_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("upload_id", "start", name=op.f("pk_upload_parts")),
    )


def _jobs_columns() -> None:
    op.add_column("jobs", sa.Column("source_url", sa.Text(), nullable=True))
    op.add_column(
        "jobs", sa.Column("keep_media", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("jobs", sa.Column("outputs", DOCUMENT, nullable=True))
    op.add_column("jobs", sa.Column("notify", DOCUMENT, nullable=True))
    op.add_column("jobs", sa.Column("retention", DOCUMENT, nullable=True))
    op.add_column("jobs", sa.Column("transcribed_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("media_expires_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("transcript_expires_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("transcript_deleted_at", TIME, nullable=True))
    op.create_index(
        "ix_jobs_media_expires_at",
        "jobs",
        ["media_expires_at"],
        unique=False,
        postgresql_where=sa.text("media_expires_at IS NOT NULL"),
        sqlite_where=sa.text("media_expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_transcript_expires_at",
        "jobs",
        ["transcript_expires_at"],
        unique=False,
        postgresql_where=sa.text("transcript_expires_at IS NOT NULL"),
        sqlite_where=sa.text("transcript_expires_at IS NOT NULL"),
    )
    for name, where in _BY_POLICY.items():
        op.create_index(
            name,
            "jobs",
            ["finished_at"],
            unique=False,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )
    # What is there already was transcribed when it finished.
    op.execute(
        "UPDATE jobs SET transcribed_at = finished_at "
        "WHERE id IN (SELECT job_id FROM transcripts)"
    )


def downgrade() -> None:
    """Drop what was added, dependants first."""
    # Nobody is left to deliver them; each has its transcript, which is what finished means.
    op.execute(
        "UPDATE jobs SET state = 'finished', finished_at = transcribed_at "
        "WHERE state = 'delivering'"
    )
    for name in _BY_POLICY:
        op.drop_index(name, table_name="jobs")
    for name in ("transcript_expires_at", "media_expires_at"):
        op.drop_index(f"ix_jobs_{name}", table_name="jobs")
    with op.batch_alter_table("jobs") as jobs:
        for name in _JOB_COLUMNS:
            jobs.drop_column(name)
    for table in (
        "partial_segments",
        "upload_parts",
        "transcription_requests",
        "deliveries",
        "uploads",
        "webhook_endpoints",
        "flags",
        "audit_events",
    ):
        op.drop_table(table)


_JOB_COLUMNS = (
    "source_url",
    "keep_media",
    "outputs",
    "notify",
    "retention",
    "transcribed_at",
    "media_expires_at",
    "transcript_expires_at",
    "transcript_deleted_at",
)

_BY_POLICY = {
    "ix_jobs_media_policy": "media_id IS NOT NULL AND media_expires_at IS NULL",
    "ix_jobs_transcript_policy": "transcribed_at IS NOT NULL AND transcript_expires_at IS NULL "
    "AND transcript_deleted_at IS NULL",
}
