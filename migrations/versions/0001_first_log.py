"""The log, its guards, the projections, checkpoints and leases.

Revision: 0001, after nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TYPES = {"text": sa.Text(), "integer": NUMBER, "boolean": sa.Integer()}

#: The insert trigger is needed as well: without it `INSERT OR REPLACE` removes a row without firing
#: a delete trigger. It costs 15 % of raw SQLite's bulk rate, a twentieth of ours.
SQLITE_GUARDS = (
    """CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: events are never updated'); END""",
    """CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: events are never deleted'); END""",
    """CREATE TRIGGER events_refuse_gap BEFORE INSERT ON events
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM events)
  OR EXISTS (SELECT 1 FROM events WHERE natural_key = NEW.natural_key)
BEGIN SELECT RAISE(ABORT, 'the log is append-only: the next event follows the last one'); END""",
)
POSTGRESQL_GUARDS = (
    """CREATE FUNCTION events_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the log is append-only: % is refused', lower(TG_OP); END $$""",
    """CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE ON events
FOR EACH ROW EXECUTE FUNCTION events_refuse()""",
    """CREATE TRIGGER events_refuse_truncate BEFORE TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION events_refuse()""",
)


def upgrade() -> None:
    log()
    bookmarks()
    projection(
        "orders",
        "order_id",
        ("state", "perm_id", "broker_key", "parent_order_id"),
        account="text",
        con_id="integer",
        symbol="text",
        state="text",
        origin="text",
        perm_id="integer",
        broker_key="text",
        parent_order_id="text",
    )
    projection(
        "fills",
        "fill_key",
        ("exec_id", "order_id", "position_key", "booked_sequence"),
        exec_id="text",
        order_id="text",
        account="text",
        symbol="text",
        position_key="text",
        perm_id="integer",
        booked_sequence="integer",
    )
    projection("early_commissions", "exec_id")
    projection("positions", "position_key", account="text", con_id="integer", symbol="text")
    projection("sessions", "epoch")
    projection(
        "breaks",
        "break_id",
        ("status", "order_id"),
        status="text",
        account="text",
        con_id="integer",
        order_id="text",
        severity="text",
        finding_key="text",
    )
    projection("runs", "run_id", ("sequence",), verdict="text", sequence="integer")
    projection("anomalies", "anomaly_key", ("order_id",), kind="text", order_id="text")
    projection("account_values", "value_key", account="text", name="text")
    projection("system", "system_key")


def log() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sa.Column("occurred_at", sa.Text),
        sa.Column("lease_epoch", sa.Integer, nullable=False),
        sa.Column("session_epoch", sa.Integer, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Text),
        sa.Column("causation_sequence", NUMBER),
        sa.Column("natural_key", sa.Text),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("wire", sa.Text),
    )
    partial_index("events_natural_key", "events", "natural_key", "natural_key IS NOT NULL", True)
    partial_index("events_correlation_id", "events", "correlation_id", "correlation_id IS NOT NULL")
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_GUARDS if sqlite else POSTGRESQL_GUARDS:
        op.execute(sa.DDL(statement.replace("%", "%%")))


def bookmarks() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process_id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("heartbeat_at", sa.Text),
    )
    op.create_table(
        "checkpoints",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", KEY, primary_key=True),
        sa.Column("sequence", NUMBER, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )


def projection(table: str, key: str, indexed: tuple[str, ...] = (), **columns: str) -> None:
    """Create one fold's table: its key, the columns that readers search by, and the record."""
    op.create_table(
        table,
        sa.Column(key, KEY, primary_key=True),
        *(sa.Column(name, TYPES[kind]) for name, kind in columns.items()),
        sa.Column("live", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    for name in indexed:
        op.create_index(f"{table}_{name}", table, [name])
    partial_index(f"{table}_live", table, key, "live = 1")


def partial_index(name: str, table: str, column: str, where: str, unique: bool = False) -> None:
    op.create_index(
        name,
        table,
        [column],
        unique=unique,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
