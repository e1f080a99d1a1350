"""What the provider's API tells: apps, sessions, tracks, statuses; and duties of one process at a time."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add, so that processes of the version before can go on."""
    op.add_column("deliveries", sa.Column("app", sa.Text))
    op.add_column("recordings", sa.Column("scope", sa.Text, nullable=False, server_default="recording"))
    op.add_column("recordings", sa.Column("app", sa.Text, nullable=False, server_default="default"))
    op.add_column("recordings", sa.Column("invoked_at", sa.Double))
    op.add_column("recordings", sa.Column("storage_config", sa.Text))
    op.add_column("recordings", sa.Column("offered_at", sa.Double))
    op.execute(
        "UPDATE recordings SET offered_at = seen_at"
        " WHERE EXISTS (SELECT 1 FROM artifacts WHERE recording_id = recordings.id)"
    )
    op.add_column("recordings", sa.Column("ask_at", sa.Double))
    op.create_index("recordings_status", "recordings", ["scope", "status", "seen_at"])
    op.create_index(
        "recordings_ask",
        "recordings",
        ["ask_at"],
        sqlite_where=sa.text("ask_at IS NOT NULL"),
        postgresql_where=sa.text("ask_at IS NOT NULL"),
    )
    op.add_column("artifacts", sa.Column("track", sa.Text))
    op.add_column("artifacts", sa.Column("announced_at", sa.Double))
    op.create_table(
        "statuses",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "status", name="statuses_pk"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.id"], name="statuses_recording_id_fk"),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("done_at", sa.Double),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("name", name="duties_pk"),
    )
