"""Finds the orders that an event is about by the event.

Revision: 0007, after 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("order_events_sequence", "order_events", ["sequence"])
