"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "deliveries",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("delivery_id", sa.Text),
        sa.Column("webhook_id", sa.Text),
        sa.Column("event_name", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text),
        sa.Column("status", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="deliveries_pk"),
    )
    op.create_index("deliveries_received", "deliveries", ["received_at"])
    op.create_table(
        "recordings",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("status_rank", sa.Integer, nullable=False),
        sa.Column("organization_id", sa.Text),
        sa.Column("meeting_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("title", sa.Text),
        sa.Column("output_file_name", sa.Text),
        sa.Column("file_size", sa.BigInteger),
        sa.Column("started_at", sa.Double),
        sa.Column("stopped_at", sa.Double),
        sa.Column("duration_s", sa.Double),
        sa.Column("stop_reason", sa.Text),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="recordings_pk"),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("announced_size", sa.BigInteger),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("mend", sa.Text),
        sa.Column("part_size", sa.BigInteger),
        sa.Column("size", sa.BigInteger),
        sa.Column("source_etag", sa.Text),
        sa.Column("stored_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="artifacts_pk"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="artifacts_recording_id_fk"),
    )
    op.create_index("artifacts_recording", "artifacts", ["recording_id"])
    op.create_index("artifacts_stored", "artifacts", ["stored_at"])
    op.create_index(
        "artifacts_due",
        "artifacts",
        ["expires_at", "id"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "copies",
        sa.Column("artifact_id", sa.Text, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("mend", sa.Text),
        sa.Column("key", sa.Text),
        sa.Column("upload_id", sa.Text),
        sa.Column("part_size", sa.BigInteger),
        sa.Column("size", sa.BigInteger),
        sa.Column("etag", sa.Text),
        sa.Column("content_type", sa.Text),
        sa.Column("crc64nvme", sa.Text),
        sa.Column("crc32c", sa.Text),
        sa.Column("stored_at", sa.Double),
        sa.PrimaryKeyConstraint("artifact_id", "storage", name="copies_pk"),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="copies_artifact_id_fk"),
        sa.UniqueConstraint("storage", "key", name="copies_storage_key_uq"),
    )
    op.create_table(
        "parts",
        sa.Column("artifact_id", sa.Text, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("crc64nvme", sa.Text, nullable=False),
        sa.Column("crc32c", sa.Text, nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "storage", "number", name="parts_pk"),
        sa.ForeignKeyConstraint(
            ["artifact_id", "storage"], ["copies.artifact_id", "copies.storage"], name="parts_artifact_id_fk"
        ),
    )
    op.create_table(
        "manifests",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("written_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "storage", name="manifests_pk"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="manifests_recording_id_fk"),
    )
