"""Rows folded anew: alarms count from before, orders lost a field, earlier permanent numbers stay.

No table changes. A new revision is what makes `oms db upgrade` fold the rows again, so that those
of an earlier version are what `oms rebuild --check` expects.

Revision: 0003, after 0002
"""

from __future__ import annotations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
