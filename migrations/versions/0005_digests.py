"""Digests of rows, their sums, and the guard against gaps that PostgreSQL lacked.

Rows are folded anew, which gives each its digest.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PROJECTIONS = (
    "orders",
    "unknown_orders",
    "fills",
    "early_commissions",
    "positions",
    "sessions",
    "breaks",
    "runs",
    "anomalies",
    "alarms",
    "account_values",
    "system",
)

#: One look a statement, not one a row: in the log before there was no gap, so there is none where
#: what was added is consecutive, begins after an event, and ends the log.
POSTGRESQL_GUARDS = (
    """CREATE FUNCTION events_refuse_gap() RETURNS trigger LANGUAGE plpgsql AS
$$ DECLARE first bigint; last bigint; number bigint;
BEGIN
  SELECT min(sequence), max(sequence), count(*) INTO first, last, number FROM added;
  IF number > 0 AND (
    last - first + 1 <> number
    OR last <> (SELECT max(sequence) FROM events)
    OR first < 1
    OR (first > 1 AND NOT EXISTS (SELECT 1 FROM events WHERE sequence = first - 1))
  ) THEN
    RAISE EXCEPTION 'the log is append-only: the next event follows the last one';
  END IF;
  RETURN NULL;
END $$""",
    """CREATE TRIGGER events_refuse_gap AFTER INSERT ON events
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_gap()""",
)


def upgrade() -> None:
    for table in PROJECTIONS:
        op.add_column(table, sa.Column("digest", sa.LargeBinary(16)))
    op.add_column("checkpoints", sa.Column("row_sum", sa.LargeBinary(16)))
    op.add_column("checkpoints", sa.Column("live_row_sum", sa.LargeBinary(16)))
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL_GUARDS:
            op.execute(sa.DDL(statement.replace("%", "%%")))
