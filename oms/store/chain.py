"""The end of the log: what is appended there, and how each event is tied to the one before.

The only code that puts events into the log. The caller holds the transaction, one that no other
writer can enter (`Connection.writing`), and what else is committed in it is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple, NoReturn

from oms.clock import Clock
from oms.core import codec
from oms.core.codec import GENESIS, Head, time_text
from oms.core.events import (
    CommissionReceived,
    Envelope,
    Event,
    EventSetAside,
    ExecutionReceived,
    NaturalKeyConflict,
    Pending,
)
from oms.core.fold.records import TABLES
from oms.core.receipt import Receipt
from oms.errors import ChainBroken, DatabaseDamaged, MigrationNeeded
from oms.store.archived import filled
from oms.store.backend import Connection, Value
from oms.store.envelopes import (
    HASH,
    INSERT_EVENTS,
    SELECT_EVENTS,
    SELECT_HEAD,
    SELECT_MARKS,
    Draft,
    chained,
    draft,
    envelope,
    follow,
    head_of,
    mark_of,
)
from oms.store.rows import Sums
from oms.store.tables import BOOKS_CHECKPOINT, LOG_CHECKPOINT, UPGRADE_CHECKPOINT

#: Facts with a natural key that the broker tells again when it is asked.
_FROM_BROKER: Final = frozenset({ExecutionReceived.__name__, CommissionReceived.__name__})
#: Events of other programs that are read at a time.
PAGE_ROWS: Final = 1_000
#: Events at the end that are checked before a daemon begins: a tenth of a second.
TAIL_EVENTS: Final = 5_000


class Chain:
    """The end of the log, and the place in it that the caller has reached.

    After a failure the object is void until it has gone back: its head may be ahead of what was
    committed.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        #: What the caller has appended, or read and verified, last.
        self.head = Head()
        #: Stands on every event that is appended; 0 without a lease.
        self.lease_epoch = 0
        #: Says of an event whether it was set aside and nobody has closed its break.
        self.is_set_aside: Callable[[int], bool] = lambda sequence: False
        #: Says whether the books would change with an event that comes after some others, which are
        #: new as well.
        self.is_news: Callable[[Sequence[Envelope], Envelope], bool] = lambda others, one: True
        self._connection = connection
        self._clock = clock
        self._end_written_down = 0

    # ── where it ends ────────────────────────────────────────────────────────────────────────────

    def end(self) -> Head:
        """Return where the log ends, with what other programs have appended."""
        rows = self._connection.rows(SELECT_HEAD)
        return head_of(rows[0]) if rows else Head()

    def checked_end(self) -> Head:
        """Do the same; raises `ChainBroken` where the log does not begin with its first event, ends
        elsewhere than the last append has written down, or has another event there, and
        `DatabaseDamaged` where nothing is written down.
        """
        head = self.end()
        appended = self.checkpoint(LOG_CHECKPOINT)
        if not head.sequence and not appended:
            table = self._filled_table()
            if table:
                text = f"the log has no events, but {table} has rows, which came from events"
                raise ChainBroken(text, sequence=1)
            return head
        check_end(head.sequence, appended or end_unknown())
        if not self._connection.rows("SELECT 1 FROM events WHERE sequence = 1"):
            raise ChainBroken("the log has no event 1", sequence=1)
        self._end_written_down = self.head_at(LOG_CHECKPOINT).sequence
        return head

    def books_end(self) -> Head:
        """Return the head that the rows have reached; raises as `head_at` and `check_folded`, and
        `DatabaseDamaged` where there are rows and it is not written down.
        """
        self.check_folded()
        if self.lacks_books_mark():
            raise DatabaseDamaged(
                "the checkpoint of the books is missing: the database does not say which event its"
                " rows have reached"
            )
        return self.head_at(BOOKS_CHECKPOINT)

    def check_folded(self) -> None:
        """Raise `MigrationNeeded` where the next start folds every event again."""
        if self.is_due() or self.is_unfolded():
            raise MigrationNeeded(
                "the rows of orders, fills and positions are still to be folded from the log",
                hint="`oms db upgrade` does it, and so does `oms run`; where one of them is at"
                " work, wait until it is done",
            )

    def is_due(self) -> bool:
        """Say whether the tables are new, and the rows are not folded anew yet."""
        return self._checkpoint(UPGRADE_CHECKPOINT) is not None

    def is_unfolded(self) -> bool:
        """Say whether a daemon wrote the log, and no row of it is here: a backup with the tables of
        an older revision has none.
        """
        return self.lacks_books_mark() and not self._filled_table()

    def lacks_books_mark(self) -> bool:
        """Say whether events were folded, and how far is not written down. The shell alone appends
        without folding.
        """
        if self.checkpoint(BOOKS_CHECKPOINT):
            return False
        from_daemon = "SELECT 1 FROM events WHERE lease_epoch > 0 LIMIT 1"
        return bool(self._filled_table() or self._connection.rows(from_daemon))

    def _filled_table(self) -> str:
        """Return a table of the books that has rows, "" for none."""
        tables = (*TABLES, "order_events")
        one_row = "SELECT 1 FROM {} LIMIT 1"
        return next((t for t in tables if self._connection.rows(one_row.format(t))), "")

    def check_tail(self) -> None:
        """Raise `ChainBroken` where one of the last events is not what was appended."""
        select = f"{SELECT_EVENTS} ORDER BY sequence DESC LIMIT {TAIL_EVENTS}"
        rows = filled(self._connection, self._connection.rows(select)[::-1])
        if not rows:
            return
        if rows[0][0] == 1:
            follow(GENESIS, 1, rows[0])
        digest = bytes(rows[0][HASH])
        for number, row in enumerate(rows[1:], rows[0][0] + 1):
            digest = follow(digest, number, row)

    def check_gapless(self, end: Head) -> None:
        """Raise `ChainBroken` where one of the last events before an end is not there."""
        first = max(end.sequence - TAIL_EVENTS, 0)
        count = self._connection.rows("SELECT count(*) FROM events WHERE sequence > ?", (first,))
        if count[0][0] != end.sequence - first:
            self.check_tail()

    def head_at(self, name: str) -> Head:
        """Return the head at which a checkpoint was made; raises `ChainBroken` where the log has
        another event there.
        """
        sequence, digest = self._checkpoint(name) or (0, b"")
        if sequence == 0:
            return Head()
        found = self._connection.rows(
            "SELECT sequence, hash, recorded_at FROM events WHERE sequence = ?", (sequence,)
        )
        if not found or bytes(found[0][1]) != digest:
            raise ChainBroken(
                f"event {sequence} is not the one that checkpoint {name!r} was made at",
                sequence=sequence,
            )
        return head_of(found[0])

    def checkpoint(self, name: str) -> int:
        """Return the sequence of a checkpoint, 0 for none."""
        found = self._checkpoint(name)
        return 0 if found is None else found[0]

    def write_checkpoint(self, name: str, sums: Sums | None = None) -> None:
        """Write down that what has this name has reached the head, and what its rows add up to."""
        stored = (None, None) if sums is None else sums.stored()
        self._connection.insert(
            "INSERT INTO checkpoints (name, sequence, hash, row_sum, live_row_sum)",
            [(name, self.head.sequence, self.head.hash, *stored)],
            "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash,"
            " row_sum = excluded.row_sum, live_row_sum = excluded.live_row_sum",
        )

    def has(self, head: Head) -> bool:
        """Say whether the log has a head, this event with this hash."""
        if not head.sequence:
            return True
        rows = self._connection.rows("SELECT hash FROM events WHERE sequence = ?", (head.sequence,))
        return bool(rows) and bytes(rows[0][0]) == bytes(head.hash)

    def go_back_to(self, head: Head) -> None:
        """Take a place again that was left for what did not become durable; raises `ChainBroken`
        where the log has it no more.
        """
        if not self.has(head):
            raise ChainBroken(
                f"event {head.sequence} was durable, and the database has it no more",
                sequence=head.sequence,
            )
        self.head = head
        self._end_written_down = self.checkpoint(LOG_CHECKPOINT)

    def row_sums(self) -> Sums:
        """Return what the rows of the projections add up to, as it was last written down."""
        rows = self._connection.rows(
            "SELECT row_sum, live_row_sum FROM checkpoints WHERE name = ?", (BOOKS_CHECKPOINT,)
        )
        return Sums.of(*rows[0]) if rows else Sums()

    def _checkpoint(self, name: str) -> tuple[int, bytes] | None:
        rows = self._connection.rows(f"{SELECT_MARKS} WHERE name = ?", (name,))
        return mark_of(rows[0]) if rows else None

    # ── events of others, and ours ───────────────────────────────────────────────────────────────

    def follow_page(self) -> list[Envelope]:
        """Read and verify the next events after the head, up to a page, and move the head there."""
        page = f"{SELECT_EVENTS} WHERE sequence > ? ORDER BY sequence LIMIT {PAGE_ROWS}"
        rows = filled(self._connection, self._connection.rows(page, (self.head.sequence,)))
        digest = self.head.hash
        for number, row in enumerate(rows, self.head.sequence + 1):
            digest = follow(digest, number, row)
        envelopes = [envelope(row) for row in rows]
        last = envelopes[-1]
        self.head = Head(last.sequence, digest, last.recorded_at)
        return envelopes

    def append(
        self, groups: Iterable[Sequence[Draft]]
    ) -> tuple[list[tuple[Receipt, ...]], list[Envelope]]:
        """Append every fact after the head, which must be the end of the log, and write the new end
        down. Return the receipts of each group, and the events that were stored.

        A fact whose natural key has a place already keeps that place.
        """
        receipts, envelopes, rows = self._assign(list(groups))
        if rows:
            self._connection.insert(INSERT_EVENTS, rows)
        if self.head.sequence != self._end_written_down:
            self.write_checkpoint(LOG_CHECKPOINT)
            self._end_written_down = self.head.sequence
        return receipts, envelopes

    def _assign(
        self, groups: Sequence[Sequence[Draft]]
    ) -> tuple[list[tuple[Receipt, ...]], list[Envelope], list[tuple[Value, ...]]]:
        stored = self._stored([d.natural_key for g in groups for d in g if d.natural_key])
        moment = self._moment()
        recorded_at, epoch = time_text(moment), self.lease_epoch
        sequence, digest = self.head.sequence, self.head.hash
        receipts: list[tuple[Receipt, ...]] = []
        envelopes: list[Envelope] = []
        rows: list[tuple[Value, ...]] = []
        for group in groups:
            given: list[Receipt] = []
            for fact in group:
                new, known = self._placed(fact, stored)
                if known is not None:
                    is_conflict = not codec.same_fact(known.event, fact.event)
                    given.append(Receipt(known.sequence, not is_conflict, is_conflict, known.text))
                    continue
                sequence += 1
                one = Envelope(sequence, new.event, new.context, moment, epoch, new.wire, new.stamp)
                if new.repeats and not self.is_news(envelopes, one):
                    sequence -= 1
                    given.append(Receipt(new.repeats, duplicate=True))
                    continue
                row, digest = chained(digest, new, sequence, recorded_at, epoch)
                rows.append(row)
                envelopes.append(one)
                if new.natural_key:
                    stored[new.natural_key] = _stored_as(sequence, new)
                is_conflict = isinstance(new.event, NaturalKeyConflict)
                text = (type(new.event).__name__, new.payload) if is_conflict else None
                given.append(Receipt(sequence, False, is_conflict, text))
            receipts.append(tuple(given))
        if rows:
            self.head = Head(sequence, digest, moment)
        return receipts, envelopes, rows

    def _placed(self, fact: Draft, stored: dict[str, _Stored]) -> tuple[Draft, _Stored | None]:
        """Return what is to be stored of a fact, and what is stored of it already.

        What the broker says again is stored a second time where the books lack the first one.
        """
        known = stored.get(fact.natural_key) if fact.natural_key else None
        if known is not None and self._is_left_out(known):
            assert fact.natural_key is not None
            again = replace(fact, natural_key=fact.natural_key + codec.AGAIN)
            fact, known = again, self._found(again, stored)
        if known is None or codec.same_fact(known.event, fact.event):
            return fact, known
        claim = _conflict(known, fact)
        return claim, self._found(claim, stored)

    def _is_left_out(self, known: _Stored) -> bool:
        """Say whether the books lack a fact of the broker's that is in the log. Of ours none is
        said again: an order id that was used stays used.
        """
        if known.type_name not in _FROM_BROKER:
            return False
        return isinstance(known.event, EventSetAside) or self.is_set_aside(known.sequence)

    def _found(self, fact: Draft, stored: dict[str, _Stored]) -> _Stored | None:
        assert fact.natural_key is not None
        if fact.natural_key not in stored:
            stored.update(self._stored([fact.natural_key]))
        return stored.get(fact.natural_key)

    def _stored(self, keys: list[str]) -> dict[str, _Stored]:
        if not keys:
            return {}
        select = "SELECT natural_key, sequence, type, version, payload FROM events"
        rows = self._connection.among(select, "natural_key", keys)
        return {
            row[0]: _Stored(row[1], row[2], codec.decode_stored(*row[2:]), row[4]) for row in rows
        }

    def _moment(self) -> datetime:
        """Return the time of this transaction; the log's time never goes back, whatever a clock
        does.
        """
        now = self._clock.now()
        last = self.head.recorded_at
        return now if last is None or now > last else last


def end_unknown() -> NoReturn:
    """Raise `DatabaseDamaged`: where a log ended is not written down."""
    raise DatabaseDamaged(
        "the checkpoint of the log is missing: the database does not say where the log ended"
    )


def check_end(ends_at: int, appended: int) -> None:
    """Raise `ChainBroken` unless the log ends where the last append wrote down that it does."""
    if ends_at < appended:
        raise ChainBroken(
            f"the log ends at {ends_at}, but {appended} events were appended",
            sequence=ends_at + 1,
        )
    if ends_at > appended:
        raise ChainBroken(
            f"the log ends at {ends_at}, but only {appended} events were appended: what follows was"
            " put there by other means",
            sequence=appended + 1,
        )


class _Stored(NamedTuple):
    sequence: int
    type_name: str
    event: Event
    payload: str

    @property
    def text(self) -> tuple[str, str]:
        return self.type_name, self.payload


def _stored_as(sequence: int, fact: Draft) -> _Stored:
    return _Stored(sequence, type(fact.event).__name__, fact.event, fact.payload)


def _conflict(known: _Stored, fact: Draft) -> Draft:
    """Return what is stored in place of a fact whose natural key means something else already."""
    assert fact.natural_key is not None
    event = NaturalKeyConflict(
        key=fact.natural_key,
        stored_sequence=known.sequence,
        type_name=type(fact.event).__name__,
        payload=fact.payload,
    )
    return draft(Pending(event, fact.context, fact.wire, fact.stamp))
