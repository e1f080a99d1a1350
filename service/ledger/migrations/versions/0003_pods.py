"""Many pods: work shared out fairly, and statements that cost the same however much was archived."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only add, so that processes of the version before can go on."""
    op.add_column("recordings", sa.Column("closed_at", sa.Double))
    op.add_column("artifacts", sa.Column("customer", sa.Text, nullable=False, server_default=""))
    for name, table, columns, where in (
        ("artifacts_claim", "artifacts", ["customer", "expires_at", "id"], "due_at IS NOT NULL"),
        ("artifacts_held", "artifacts", ["customer", "lease_until"], "lease_until IS NOT NULL"),
        ("artifacts_open", "artifacts", ["state", "expires_at"], "state <> 'archived'"),
        ("recordings_unoffered", "recordings", ["scope", "status", "seen_at"], "offered_at IS NULL"),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
