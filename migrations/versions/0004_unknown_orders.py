"""Orders by the orderRef that others gave them, and the orders that IB names and our books lack.

Rows are folded anew: an order's number is taken back where IB shows another order under it.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("orders", sa.Column("order_ref", sa.Text))
    here = sa.text("order_ref IS NOT NULL")
    op.create_index(
        "orders_order_ref", "orders", ["order_ref"], sqlite_where=here, postgresql_where=here
    )
    op.create_table(
        "unknown_orders",
        sa.Column("order_name", KEY, primary_key=True),
        sa.Column("live", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    where = sa.text("live = 1")
    op.create_index(
        "unknown_orders_live",
        "unknown_orders",
        ["order_name"],
        sqlite_where=where,
        postgresql_where=where,
    )
