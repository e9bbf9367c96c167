"""Rows folded anew: a fill names every event about it, so that who claims it later has them all.

No table changes. A new revision is what makes `oms db upgrade` fold the rows again.

Revision: 0008, after 0007
"""

from __future__ import annotations

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
