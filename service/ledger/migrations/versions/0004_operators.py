"""For the person on call: lists that are searched and sorted, what went wrong, what was done, and notices."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add, so that processes of the version before can go on."""
    for table, column, kind in (
        ("artifacts", "cancelled_at", sa.Double),
        ("artifacts", "renew_at", sa.Double),
        ("copies", "verify_at", sa.Double),
        ("copies", "verified_at", sa.Double),
        ("copies", "fault", sa.Text),
    ):
        op.add_column(table, sa.Column(column, kind))
    op.create_table(
        "failures",
        sa.Column("artifact_id", sa.Text, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("mend", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "storage", "error", name="failures_pk"),
    )
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "audit",
        sa.Column("number", number, nullable=False, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("artifact_id", sa.Text),
        sa.PrimaryKeyConstraint("number", name="audit_pk"),
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("artifact_id", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("taken_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="notices_pk"),
    )
    for name, table, columns in (
        ("deliveries_recording", "deliveries", ["recording_id"]),
        ("recordings_seen", "recordings", ["seen_at", "id"]),
        ("recordings_meeting", "recordings", ["meeting_id"]),
        ("recordings_session", "recordings", ["session_id"]),
        ("audit_recording", "audit", ["recording_id"]),
        ("notices_recording", "notices", ["recording_id"]),
        ("notices_made", "notices", ["made_at"]),
    ):
        op.create_index(name, table, columns)
    for name, table, columns in (
        ("copies_verify", "copies", ["verify_at"]),
        ("notices_due", "notices", ["type", "due_at"]),
    ):
        where = sa.text(f"{columns[-1]} IS NOT NULL")
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
