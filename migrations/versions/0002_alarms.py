"""The alarms: what has lasted too long, as the watchman saw it begin and end.

Revision: 0002, after 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alarms",
        sa.Column("alarm_id", KEY, primary_key=True),
        sa.Column("kind", sa.Text),
        sa.Column("account", sa.Text),
        sa.Column("live", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    where = sa.text("live = 1")
    op.create_index(
        "alarms_live", "alarms", ["alarm_id"], sqlite_where=where, postgresql_where=where
    )
