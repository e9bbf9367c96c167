"""Compares the projections of two databases, row for row, in the order of their keys."""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from itertools import zip_longest
from secrets import token_bytes
from typing import Any, Final, NamedTuple

from oms.core.fold.records import TABLES, decode_record, differing_fields
from oms.store.backend import Connection
from oms.store.rows import row_columns
from oms.store.tables import ORDER_EVENTS

PAGE_ROWS: Final = 1_000

Row = tuple[Any, ...]
#: A table and the key of a row in it.
RowKey = tuple[str, Row]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the two databases do not agree about."""

    table: str
    key: str
    #: The stored row's record as text, None where only the rebuilt one exists.
    ours: str | None
    rebuilt: str | None
    #: The fields in which the records differ; empty where one of them is missing.
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing all projections found."""

    #: Rows compared, by table.
    counts: dict[str, int]
    differences: int
    first: Difference | None


class Layout(NamedTuple):
    """How the rows of a table are read in the order of their keys."""

    table: str
    #: The key's first.
    columns: tuple[str, ...]
    key_width: int


LAYOUTS: Final = {
    **{name: Layout(name, row_columns(spec), 1) for name, spec in TABLES.items()},
    "order_events": Layout("order_events", ("order_id", "sequence"), 2),
}
#: Where the record stands in the row of a projection.
_BODY: Final = -2


def compare(
    ours: Connection, rebuilt: Connection, differing: list[RowKey] | None = None
) -> Comparison:
    """Compare every row of every projection; add the keys of those that differ to `differing`."""
    counts: dict[str, int] = {}
    number = 0
    first: Difference | None = None
    secret = token_bytes(32)
    for table, layout in LAYOUTS.items():
        if (found := _equal_as_they_lie(ours, rebuilt, layout, secret)) is not None:
            counts[table] = found
            continue
        counts[table] = 0
        for key, one, other in _pairs(ours, rebuilt, layout):
            counts[table] += 1
            if one != other:
                number += 1
                if differing is not None:
                    differing.append((table, key))
                first = first if first is not None else _difference(table, key, one, other)
    return Comparison(counts, number, first)


def _equal_as_they_lie(
    ours: Connection, rebuilt: Connection, layout: Layout, secret: bytes
) -> int | None:
    """Return how many rows both sides have where they are equal, read as they lie; None where that
    cannot be said.
    """
    if layout.table == ORDER_EVENTS.name:
        return _equal_links(ours, rebuilt)
    one, other = (_summed(side, layout, secret) for side in (ours, rebuilt))
    return one[0] if one == other else None


def _equal_links(ours: Connection, rebuilt: Connection) -> int | None:
    """Do so for the links of orders: on both sides a tree has all of them by their events."""
    count = 0
    select = "SELECT sequence, order_id FROM order_events ORDER BY sequence, order_id"
    left, right = (side.scanned(f"{select} {side.binary_order}") for side in (ours, rebuilt))
    with closing(left), closing(right):
        for one, other in zip_longest(left, right):
            if one != other:
                break
            count += len(one)
        else:
            return count
    # By orders, as the differences are named.
    rebuilt.execute(
        "CREATE INDEX IF NOT EXISTS links_by_order ON order_events (order_id, sequence)"
    )
    return None


def _summed(connection: Connection, layout: Layout, secret: bytes) -> tuple[int, int]:
    """Return how many rows a table has, and what they add up to.

    Nearly always both sides are equal, and rows in the order in which they lie are read twenty
    times as fast as by their keys. Nobody can write rows that add up to the same: what a row counts
    for depends on a secret of this comparison.
    """
    count = total = 0
    for page in connection.scanned(f"SELECT {', '.join(layout.columns)} FROM {layout.table}"):
        count += len(page)
        for row in page:
            # Version 2, in which equal rows have equal bytes; later ones say what is shared.
            digest = blake2b(marshal.dumps(row, 2), digest_size=16, key=secret).digest()
            total += int.from_bytes(digest)
    return count, total


def _pairs(
    ours: Connection, rebuilt: Connection, layout: Layout
) -> Iterator[tuple[Row, Row | None, Row | None]]:
    """Yield every key that either side has, with the row of each side."""
    key_width = layout.key_width
    left, right = _ordered(ours, layout), _ordered(rebuilt, layout)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one == other and one is not None:
            yield one[:key_width], one, other
            one, other = next(left, None), next(right, None)
        elif other is None or (one is not None and _key(one, key_width) < _key(other, key_width)):
            assert one is not None
            yield one[:key_width], one, None
            one = next(left, None)
        elif one is None or _key(other, key_width) < _key(one, key_width):
            yield other[:key_width], None, other
            other = next(right, None)
        else:
            yield one[:key_width], one, other
            one, other = next(left, None), next(right, None)


def _ordered(connection: Connection, layout: Layout) -> Iterator[Row]:
    """Yield the rows of a table in the order of their keys."""
    for page in pages(connection, layout, None):
        yield from page


def pages(connection: Connection, layout: Layout, after: Row | None) -> Iterator[list[Row]]:
    """Yield the rows above a key, by keys that are compared byte for byte as both databases can."""
    table, columns, key_width = layout
    keys = [f"{columns[0]} {connection.binary_order}", *columns[1:key_width]]
    # A row value comparison, so that a page begins after the last row of the page before.
    above = f"WHERE ({', '.join(keys)}) > ({', '.join('?' * key_width)})"
    page = f"SELECT {', '.join(columns)} FROM {table}"
    end = f"ORDER BY {', '.join(keys)} LIMIT {PAGE_ROWS}"
    while rows := connection.rows(f"{page} {above if after else ''} {end}", after or ()):
        yield rows
        after = rows[-1][:key_width]


def _key(row: Row, width: int) -> tuple[Any, ...]:
    # UTF-8 keeps the order of code points, so both databases and Python sort text alike.
    return tuple(v.encode() if isinstance(v, str) else v for v in row[:width])


def _difference(table: str, key: Row, one: Row | None, other: Row | None) -> Difference:
    if table not in TABLES:
        texts = [None if row is None else str(row[-1]) for row in (one, other)]
        return Difference(table, f"{key[0]} at {key[1]}", texts[0], texts[1])
    if one is None or other is None:
        return Difference(table, key[0], _text(one), _text(other))
    return Difference(table, key[0], _text(one), _text(other), _fields(table, one, other))


def _fields(table: str, one: Row, other: Row) -> tuple[str, ...]:
    """Return what differs between two rows of one key: fields of the record, else columns."""
    if one[_BODY] != other[_BODY]:
        try:
            fields = differing_fields(
                decode_record(table, one[_BODY]), decode_record(table, other[_BODY])
            )
        except ValueError:
            return ("body",)  # what stands there is no record of ours
        if fields:
            return fields
    pairs = zip(LAYOUTS[table].columns, one, other, strict=True)
    return tuple(name for name, left, right in pairs if left != right)


def _text(row: Row | None) -> str | None:
    return None if row is None else str(row[_BODY])
