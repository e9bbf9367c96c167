"""Folds the log again from its first event, and compares or replaces the stored projections.

The live books, written event by event over months, must equal a fold of the whole log in one go;
that they do is what makes them projections and not a second truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Final

from oms.clock import Clock, SystemClock
from oms.core.events import Context, Pending, ProjectionsRebuilt
from oms.core.fold.records import TABLES
from oms.errors import StoreUnavailable
from oms.store import schema
from oms.store.audit import Progress
from oms.store.backend import Connection, connect, parse_url
from oms.store.chain import Chain
from oms.store.differences import LAYOUTS, Comparison, Difference, Layout, Row, RowKey, compare
from oms.store.envelopes import draft
from oms.store.mend import refuse_beside_daemon
from oms.store.shadow import SHADOW_RECORDS_MAX, Shadow
from oms.store.tables import BOOKS_CHECKPOINT, UPGRADE_CHECKPOINT
from oms.store.unfinished import KEPT_EVENTS, shadow_of

#: Rows that are replaced at a time.
PAGE_ROWS: Final = 1_000
#: Rows that are swapped beside a daemon: more would hold up its append longer than it waits.
SWAP_ROWS_MAX: Final = 50_000
#: How often rows may differ again because a daemon wrote from wrong books in between.
SWAPS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """What a rebuild found."""

    equal: bool
    #: How many events were folded: the sequence that both sides have reached.
    events: int
    #: Rows compared, by table.
    tables: dict[str, int]
    differences: int
    first_difference: Difference | None
    seconds: float


def rebuild_check(
    url: str,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
    resident_records_max: int = SHADOW_RECORDS_MAX,
    kept_events: int = KEPT_EVENTS,
) -> RebuildResult:
    """Fold the log from zero up to where the projections stand, and compare row for row.

    Changes nothing and may run beside the daemon; blocks the caller. One that did not end is gone
    on with (`unfinished`); `progress` hears of how many events are folded, and of how many.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    with closing(connect(parse_url(url), "read")) as source:
        schema.check_connection(source)
        chain = Chain(source, time)
        # In one state: a daemon beside us goes on appending.
        with source.reading():
            chain.checked_end()
            chain.check_folded()
        with _shadow(url, source, chain, resident_records_max, kept_events) as rebuilt:
            rebuilt.follow(source, _reached(chain), progress)
            # The daemon has gone on since: what is left is small.
            compared = _compare(source, chain, rebuilt)
        return _result(compared, rebuilt.sequence, time.monotonic() - started)


def rebuild(
    url: str,
    progress: Progress | None = None,
    *,
    clock: Clock | None = None,
    resident_records_max: int = SHADOW_RECORDS_MAX,
    kept_events: int = KEPT_EVENTS,
    mended: tuple[str, ...] = (),
) -> RebuildResult:
    """Fold the log into a shadow, and swap the rows that differ, while readers and a daemon go on.

    The fold and the comparison hold no writer up. The swap is one transaction: readers see the rows
    before it or after it, a writer waits for it, and `ProjectionsRebuilt` in it makes a daemon load
    its books again from the rows. Then both are compared once more, because the daemon may have
    written from wrong books between the comparison and the swap.

    One that did not end is gone on with (`unfinished`). Returns what differed at first; what was
    mended before (`mend`) is written down with it. Raises
    `LeaseHeld`, and changes nothing, where a daemon is at work and more rows differ than its append
    can wait for, and `ChainBroken` where the end of the log is missing.
    """
    time = clock if clock is not None else SystemClock()
    started = time.monotonic()
    with closing(connect(parse_url(url))) as target:
        schema.check_connection(target)
        chain = Chain(target, time)
        with target.reading():
            chain.checked_end()
        with _shadow(url, target, chain, resident_records_max, kept_events) as rebuilt:
            rebuilt.follow(target, _reached(chain), progress)
            compared = first = _compare(target, chain, rebuilt)
            for _ in range(SWAPS_MAX):
                if not compared.differing and compared.written_down and not mended:
                    break
                if len(compared.differing) > SWAP_ROWS_MAX:
                    refuse_beside_daemon(target, time)
                _swap(target, rebuilt, compared.differing, time, mended)
                mended = ()
                compared = _compare(target, chain, rebuilt)
            else:
                raise StoreUnavailable(
                    f"rows differ from the log again after {SWAPS_MAX} swaps",
                    hint="stop the daemon, rebuild, and start it again",
                )
        return _result(first, rebuilt.sequence, time.monotonic() - started)


def _shadow(
    url: str, source: Connection, chain: Chain, resident_records_max: int, kept_events: int
) -> AbstractContextManager[Shadow]:
    return shadow_of(
        parse_url(url),
        source,
        _reached(chain),
        resident_records_max=resident_records_max,
        kept_events=kept_events,
    )


def _result(compared: _Compared, events: int, seconds: float) -> RebuildResult:
    found = compared.found
    differences, first = found.differences, found.first
    if not differences and not compared.written_down:
        differences = 1
        first = Difference("checkpoints", BOOKS_CHECKPOINT, None, None, ("row_sum",))
    return RebuildResult(
        equal=differences == 0,
        events=events,
        tables=found.counts,
        differences=differences,
        first_difference=first,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    found: Comparison
    differing: list[RowKey]
    #: The checkpoint says which sequence the rows have reached and what they add up to.
    written_down: bool


def _compare(ours: Connection, chain: Chain, rebuilt: Shadow) -> _Compared:
    """Compare both sides in one snapshot, where the stored rows have come to in it: what was
    appended since, while no daemon ran, is no difference.
    """
    differing: list[RowKey] = []
    with ours.reading():
        rebuilt.follow(ours, _reached(chain))
        reached = (chain.checkpoint(BOOKS_CHECKPOINT), chain.row_sums())
        found = compare(ours, rebuilt.connection, differing)
    as_written = reached == (rebuilt.sequence, rebuilt.sums)
    return _Compared(found, differing, as_written and not chain.is_due())


def _reached(chain: Chain) -> int:
    """Return how far the stored rows have come, at most to the end of the log; to its end where
    that is not written down any more.
    """
    end = chain.end().sequence
    return end if chain.lacks_books_mark() else min(chain.checkpoint(BOOKS_CHECKPOINT), end)


def _swap(
    target: Connection,
    rebuilt: Shadow,
    differing: Sequence[RowKey],
    clock: Clock,
    mended: tuple[str, ...],
) -> None:
    """Put the shadow's rows in place of those that differ, and say so in the log: a daemon that
    follows it finds the rows ahead of its books, and loads them again.
    """
    with target.writing():
        chain = Chain(target, clock)
        chain.head = chain.checked_end()
        since = rebuilt.sequence
        keys = set(differing)
        rebuilt.follow(target, chain.head.sequence, touched=keys)
        for table, layout in LAYOUTS.items():
            if table in TABLES:
                found = [key for name, key in keys if name == table]
                _replace(target, rebuilt.connection, layout, found)
        _replace_links(target, rebuilt.connection, since, differing)
        event = ProjectionsRebuilt(
            up_to_sequence=rebuilt.sequence, differences=len(differing), mended=mended
        )
        chain.append([[draft(Pending(event, Context(actor="rebuild")))]])
        chain.write_checkpoint(BOOKS_CHECKPOINT, rebuilt.sums)
        target.execute("DELETE FROM checkpoints WHERE name = ?", (UPGRADE_CHECKPOINT,))


def _replace(target: Connection, rebuilt: Connection, layout: Layout, keys: Sequence[Row]) -> None:
    table, columns, _ = layout
    for start in range(0, len(keys), PAGE_ROWS):
        part = [key[0] for key in keys[start : start + PAGE_ROWS]]
        members = (target.members(part),)
        target.execute(f"DELETE FROM {table} WHERE {columns[0]} {target.membership}", members)
        rows = rebuilt.among(f"SELECT {', '.join(columns)} FROM {table}", columns[0], part)
        if rows:
            target.insert(f"INSERT INTO {table} ({', '.join(columns)})", rows)


def _replace_links(
    target: Connection, rebuilt: Connection, since: int, differing: Sequence[RowKey]
) -> None:
    """Replace the links of orders that differ, and all that came after the comparison."""
    orders = sorted({key[0] for table, key in differing if table == "order_events"})
    for start in range(0, len(orders), PAGE_ROWS):
        part = orders[start : start + PAGE_ROWS]
        members = (target.members(part),)
        target.execute(f"DELETE FROM order_events WHERE order_id {target.membership}", members)
        _insert_links(target, rebuilt.among(_SELECT_LINKS, "order_id", part))
    target.execute("DELETE FROM order_events WHERE sequence > ?", (since,))
    _insert_links(target, rebuilt.rows(f"{_SELECT_LINKS} WHERE sequence > ?", (since,)))


_SELECT_LINKS: Final = "SELECT order_id, sequence FROM order_events"


def _insert_links(target: Connection, rows: Sequence[Row]) -> None:
    if rows:
        head = "INSERT INTO order_events (order_id, sequence)"
        target.insert(head, rows, "ON CONFLICT DO NOTHING")
