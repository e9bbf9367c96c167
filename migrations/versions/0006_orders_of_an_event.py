"""Finds the orders that an event is about by the event.

Revision: 0006, after 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("order_events_sequence", "order_events", ["sequence"])
