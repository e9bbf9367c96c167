"""The tables as this version of the program expects them.

`migrations/` creates them; a test compares its result with what stands here. `events` is the log;
everything else is a fold of it (one table per `TABLES` entry, and `order_events`), a bookmark
(`checkpoints`, `segments`) or a claim of a running daemon (`leases`).

That `events` takes no update, no delete and no gap is the work of triggers, which only the
migrations spell out; what all of them must add up to, word for word, stands in `layout.json`. One
update passes: texts go that a segment of an archive has (`archived`).

Times are text in one zone and one format, so that they sort; booleans are 0 and 1, so that both
databases store them alike; payload and wire stand last, so that a narrow read of a SQLite row never
touches their pages.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

from oms.core.fold.records import TABLES, ColumnType, TableSpec

METADATA: Final = MetaData()

#: SQLite's row number is an alias of INTEGER PRIMARY KEY only; PostgreSQL's INTEGER ends at 2^31.
Number: Final[TypeEngine[int]] = BigInteger().with_variant(Integer, "sqlite")

#: A projection's key, which pages of a comparison follow: sorted byte for byte everywhere.
Key: Final[TypeEngine[str]] = Text().with_variant(Text(collation="C"), "postgresql")

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("recorded_at", Text, nullable=False),
    Column("occurred_at", Text),
    Column("lease_epoch", Integer, nullable=False),
    Column("session_epoch", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("correlation_id", Text),
    Column("causation_sequence", Number),
    Column("natural_key", Text),
    Column("hash", LargeBinary(32), nullable=False),
    Column("payload", Text, nullable=False),
    Column("wire", Text),
)
EVENT_COLUMNS: Final = tuple(column.name for column in EVENTS.columns)

# Both are partial: most events have neither key, and an index entry for every NULL would cost a
# twentieth of the write rate.
Index(
    "events_natural_key",
    EVENTS.c.natural_key,
    unique=True,
    sqlite_where=text("natural_key IS NOT NULL"),
    postgresql_where=text("natural_key IS NOT NULL"),
)
Index(
    "events_correlation_id",
    EVENTS.c.correlation_id,
    sqlite_where=text("correlation_id IS NOT NULL"),
    postgresql_where=text("correlation_id IS NOT NULL"),
)

#: One row per claim. A released lease keeps its row, because its epoch must never be used again.
LEASES: Final = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    #: How long a heartbeat counts as fresh.
    Column("seconds", Float, nullable=False),
    #: NULL once it was released.
    Column("heartbeat_at", Text),
    # The log's time at the heartbeat; NULL from a version that did not write it.
    Column("log_time_at", Text),
    #: What waited for the disk since the heartbeat before; NULL from an earlier version.
    Column("waiting", Integer),
    Column("oldest_seconds", Float),
    Column("append_seconds", Float),
    # Who watches the lease to take it; NULL again with each heartbeat.
    Column("claim", Text),
    # Where its daemon answers other programs.
    Column("address", Text),
)

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("sequence", Number, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    # What the rows of the projections add up to, all of them and the live ones, where the
    # checkpoint is theirs; NULL until they were folded for the first time (`rows.Sums`).
    Column("row_sum", LargeBinary(16)),
    Column("live_row_sum", LargeBinary(16)),
)
#: The checkpoint of every appender: where the chain ended. A log that ends earlier was cut.
LOG_CHECKPOINT: Final = "log"
#: The checkpoint of the projector: the sequence that the projection rows have reached.
BOOKS_CHECKPOINT: Final = "books"
#: The checkpoint of the check beside a daemon: the sequence that it has verified last.
VERIFIED_CHECKPOINT: Final = "verified"
#: Is there from the commit of new tables until the rows are folded anew, which is another one.
UPGRADE_CHECKPOINT: Final = "upgrade"

#: Segments of an archive that alone have texts of their events, as the facts `TextsRemoved` say.
SEGMENTS: Final = Table(
    "segments",
    METADATA,
    Column("first", Number, primary_key=True, autoincrement=False),
    Column("last", Number, nullable=False),
    #: Of its manifest, in hexadecimal.
    Column("digest", Text, nullable=False),
    Column("folder", Text, nullable=False),
)

ORDER_EVENTS: Final = Table(
    "order_events",
    METADATA,
    Column("order_id", Key, primary_key=True),
    Column("sequence", Number, primary_key=True, autoincrement=False),
    # The primary key is the whole row: one tree instead of two.
    sqlite_with_rowid=False,
)
# Which orders an event is about. Events come in order, so it grows at its end alone.
Index("order_events_sequence", ORDER_EVENTS.c.sequence)

_COLUMN_TYPES: Final[dict[ColumnType, TypeEngine[str] | TypeEngine[int]]] = {
    "text": Text(),
    "integer": Number,
    "boolean": Integer(),
}


#: Columns that readers and folds search long tables by. The others are looked for among the live
#: rows or in short tables: an index is one more page to write for every row that changes, and with
#: one on every column a burst was written a tenth slower.
INDEXED: Final[dict[str, tuple[str, ...]]] = {
    "orders": ("state", "perm_id", "broker_key", "parent_order_id", "order_ref"),
    "fills": ("exec_id", "order_id", "position_key", "perm_id", "booked_sequence"),
    "breaks": ("status", "order_id"),
    "runs": ("sequence",),
    "anomalies": ("order_id",),
}
#: Indexed columns in which few rows have a value; the others need no entry.
_SPARSE: Final = frozenset({("orders", "order_ref")})


def _projection(spec: TableSpec) -> Table:
    table = Table(
        spec.name,
        METADATA,
        Column(spec.key_name, Key, primary_key=True),
        *(Column(name, _COLUMN_TYPES[kind]) for name, kind in spec.columns.items()),
        Column("live", Integer, nullable=False),
        Column("body", Text, nullable=False),
        # Of all other columns. NULL in a row of an earlier version, until it is folded anew.
        Column("digest", LargeBinary(16)),
    )
    for name in INDEXED.get(spec.name, ()):
        here = text(f"{name} IS NOT NULL") if (spec.name, name) in _SPARSE else None
        Index(f"{spec.name}_{name}", table.c[name], sqlite_where=here, postgresql_where=here)
    # Start-up reads the live rows only; the ended ones are many and need no entry.
    Index(
        f"{spec.name}_live",
        table.c[spec.key_name],
        sqlite_where=text("live = 1"),
        postgresql_where=text("live = 1"),
    )
    return table


#: The projections, by name, in the order in which reports list them.
PROJECTIONS: Final[dict[str, Table]] = {name: _projection(s) for name, s in TABLES.items()}
