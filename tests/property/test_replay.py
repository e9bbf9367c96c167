"""However the books came to be, they are the same books.

Goal: folding everything equals folding half, storing the rows, reading them back and folding the
rest; evicting all that may leave memory after every event, and paging in only what `wanted` names,
gives the same rows; streams that have nothing in common can be interleaved in any way.
Method: random lives of two orders and a stranger's, compared row for row.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from oms.core.events import Envelope
from oms.core.fold.apply import apply, companions, initial, wanted
from oms.core.fold.books import Books
from oms.core.fold.records import TABLES, AnyRecord, decode_record, encode_record
from oms.core.fold.wants import Want
from tests import strategies
from tests.lives import Life

Rows = dict[str, dict[str, str]]


class Stored:
    """Projection rows in memory: what `store.projector` does, in a few lines."""

    def __init__(self) -> None:
        self.rows: Rows = {name: {} for name in TABLES}
        self.links: set[tuple[str, int]] = set()

    def write(self, books: Books) -> None:
        """Write what was touched."""
        for table, keys in books.touched().items():
            for key in keys:
                record = books.get(table, key)
                assert record is not None
                self.rows[table][key] = encode_record(record)
        self.links.update(books.links())
        books.clear_touched()

    def page_in(self, books: Books, envelope: Envelope) -> None:
        """Bring in what an event needs, and what must stand beside it."""
        wants = set(wanted(envelope, books))
        while wants:
            beside: set[Want] = set()
            for want in wants:
                if books.holds(want.table, want.column, want.value):
                    continue
                for record in self._matching(want):
                    books.restore(want.table, record)
                    beside.update(companions(record))
            wants = beside

    def restart(self, sequence: int) -> Books:
        """Return books that hold the live rows only."""
        books = initial()
        books.sequence = sequence
        for table in TABLES:
            for record in self._all(table):
                if record.live:
                    books.restore(table, record)
        return books

    def _matching(self, want: Want) -> list[AnyRecord]:
        return [
            r
            for r in self._all(want.table)
            if want.value == (r.columns()[want.column] if want.column else r.key)
        ]

    def _all(self, table: str) -> list[AnyRecord]:
        return [decode_record(table, body) for body in self.rows[table].values()]


def fold(envelopes: list[Envelope]) -> Stored:
    """Return the rows of a fold that keeps everything in memory."""
    books, stored = initial(), Stored()
    for envelope in envelopes:
        apply(books, envelope)
    stored.write(books)
    return stored


@given(strategies.lives(), st.integers(0, 30))
def test_two_halves_are_the_whole(rows: list[str], split: int) -> None:
    envelopes = Life().play("\n".join(rows)).envelopes
    stored, books = Stored(), initial()
    for n, envelope in enumerate(envelopes):
        if n == split % len(envelopes):
            stored.write(books)
            books = stored.restart(books.sequence)
        stored.page_in(books, envelope)
        apply(books, envelope)
    stored.write(books)
    whole = fold(envelopes)
    assert stored.rows == whole.rows
    assert stored.links == whole.links


#: A report that came before its execution, which is corrected; then the report again.
_REPEATED: Final = [
    *("session", "intent BUY 100 LMT 10", "commission y.1.01 1.5"),
    *("fill 11 @ 11.1 exec=y.1.01", "fill 12 @ 11.2 exec=y.1.02", "commission y.1.01 1.5"),
]


@settings(max_examples=200)
@given(strategies.lives())
@example(_REPEATED)
def test_eviction_changes_nothing(rows: list[str]) -> None:
    envelopes = Life().play("\n".join(rows)).envelopes
    stored, books = Stored(), initial()
    for envelope in envelopes:
        stored.page_in(books, envelope)
        apply(books, envelope)
        stored.write(books)
        for table, key in books.evictable():
            books.evict(table, key)
    whole = fold(envelopes)
    assert stored.rows == whole.rows
    assert stored.links == whole.links


@given(strategies.lives())
def test_folding_twice_gives_the_same_text(rows: list[str]) -> None:
    envelopes = Life().play("\n".join(rows)).envelopes
    assert fold(envelopes).rows == fold(envelopes).rows


@given(
    st.lists(strategies.messages, max_size=10),
    st.lists(strategies.messages, max_size=10),
    st.randoms(use_true_random=False),
)
def test_independent_streams_can_be_interleaved_in_any_way(
    first: list[str], second: list[str], random: Any
) -> None:
    mine = ["intent BUY 100 LMT 10", "sent", *first]
    other = ["B: intent SELL 50 LMT 12 con=2", "B: sent", *(_of_b(row) for row in second)]
    merged, waiting = [], [list(mine), list(other)]
    while any(waiting):
        merged.append(random.choice([w for w in waiting if w]).pop(0))
    assert _essence([*mine, *other]) == _essence(merged)


def _of_b(row: str) -> str:
    own = row.replace("exec=x.", "exec=y.").replace("commission x.", "commission y.")
    return f"B: {own} con=2"


def _essence(rows: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return orders, fills and positions without the places and times of their events."""
    life = Life().play("\n".join(["session", *rows]))
    return {
        (table, key): {
            name: getattr(record, name)
            for name in record.__struct_fields__
            if not name.endswith(("sequence", "sequences", "_at"))
        }
        for table in ("orders", "fills", "positions", "early_commissions")
        for key, record in life.books.tables[table].items()
    }
