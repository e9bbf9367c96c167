"""What waits for the disk, in the lease.

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("waiting", sa.Integer()))
    op.add_column("leases", sa.Column("oldest_seconds", sa.Float()))
    op.add_column("leases", sa.Column("append_seconds", sa.Float()))
