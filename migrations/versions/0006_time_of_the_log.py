"""The log's time and a claim in the lease, and fills by permanent number.

Rows are folded anew: orders that our books do not have, and fills that no order has claimed, are
read back by name and number, and stay in memory no more.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leases", sa.Column("log_time_at", sa.Text()))
    op.add_column("leases", sa.Column("claim", sa.Text()))
    op.create_index("fills_perm_id", "fills", ["perm_id"])
