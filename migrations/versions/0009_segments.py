"""Lets texts of the broker's messages leave the log where an archive has them.

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
#: All but the two texts.
KEPT = (
    "sequence",
    "type",
    "version",
    "recorded_at",
    "occurred_at",
    "lease_epoch",
    "session_epoch",
    "actor",
    "correlation_id",
    "causation_sequence",
    "natural_key",
    "hash",
)
OLD = ", ".join(f"OLD.{name}" for name in KEPT)
NEW = ", ".join(f"NEW.{name}" for name in KEPT)
#: What alone may change in a row: its texts go, where the log says that a segment has them. The
#: payload of a fact with a natural key stays, so that the same fact again is told from another.
REMOVAL = """OLD.wire <> '' AND NEW.wire = ''
  AND NEW.payload = CASE WHEN OLD.natural_key IS NULL THEN '' ELSE OLD.payload END
  AND EXISTS (
    SELECT 1 FROM segments JOIN events AS told ON told.natural_key = 'segment:' || segments.digest
    WHERE OLD.sequence BETWEEN segments.first AND segments.last
  )"""
SQLITE_GUARDS = (
    "DROP TRIGGER events_refuse_update",
    f"""CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
WHEN ({REMOVAL}
  AND ({NEW}) IS ({OLD})) IS NOT 1
BEGIN SELECT RAISE(ABORT, 'the log is append-only: events are never updated'); END""",
)
#: The condition is in brackets: the THEN of its CASE would end it.
POSTGRESQL_GUARDS = (
    f"""CREATE OR REPLACE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF ({REMOVAL}
      AND ({NEW}) IS NOT DISTINCT FROM ({OLD})) THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'the log is append-only: % is refused', lower(TG_OP);
END $$""",
)


def upgrade() -> None:
    op.create_table(
        "segments",
        sa.Column("first", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("last", NUMBER, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_GUARDS if sqlite else POSTGRESQL_GUARDS:
        op.execute(sa.DDL(statement.replace("%", "%%")))
