"""The transaction of an append, as one thread runs it.

    BEGIN IMMEDIATE                 nobody else appends from here on
      anything new from elsewhere?  lease still ours? other programs' events: read, verify, fold
      natural keys                  the same fact again is not stored twice
      sequence, hash, insert
      fold, write touched rows
      checkpoints
    COMMIT                          only now does anybody hear of it

If the process dies before COMMIT returns, nothing of this happened and nobody was told; after it,
everything has. A failure is raised to the caller, who must not use the writer again: the books in
memory are ahead of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.engine import URL

from oms.clock import Clock
from oms.core import codec
from oms.core.codec import Head, time_text
from oms.core.events import Envelope, Event, NaturalKeyConflict, Pending
from oms.core.fold.apply import Books
from oms.core.receipt import Receipt
from oms.errors import ChainBroken, ConfigurationError, InvariantBroken, StoreError
from oms.store import lease as leases
from oms.store import schema
from oms.store.backend import Connection, Value, connect
from oms.store.envelopes import (
    INSERT_EVENTS,
    SELECT_EVENTS,
    SELECT_HEAD,
    Draft,
    chained,
    draft,
    envelope,
    follow,
    head_of,
)
from oms.store.lease import LeaseRequest
from oms.store.projector import RESIDENT_RECORDS_MAX, Changes, Projector
from oms.store.tables import BOOKS_CHECKPOINT, LOG_CHECKPOINT
from oms.telemetry import get_logger

#: Events of other programs that are read and folded at a time.
PAGE_ROWS: Final = 1_000

logger = get_logger("store")


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction made durable."""

    #: In order of sequence, other programs' events included.
    envelopes: tuple[Envelope, ...]
    #: Every projection record that changed, by table and key. Empty without a projector.
    changes: Changes


class Writer:
    """One connection that appends. Not thread-safe: it belongs to the thread that opens it."""

    def __init__(
        self,
        url: URL,
        *,
        clock: Clock,
        lease: LeaseRequest | None = None,
        projector: bool = False,
        resident_records_max: int = RESIDENT_RECORDS_MAX,
        guard: Callable[[Connection], None] | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._lease = lease
        #: Runs inside each transaction and raises where nothing may be appended.
        self._guard = guard
        self.lease_epoch = 0
        self.head = Head()
        self._beat_at = 0.0
        #: A change elsewhere was seen outside a transaction and has not been read yet.
        self._look_again = True
        self._resident_records_max = resident_records_max
        self._has_projector = projector
        self._connection: Connection
        self._projector: Projector | None = None

    @property
    def books(self) -> Books:
        """Return the live fold."""
        if self._projector is None:
            raise InvariantBroken("this log was opened without a projector")
        return self._projector.books

    def open(self) -> None:
        """Take the lease, check where the chain ends, load the books, fold what they lack.

        The time it takes does not depend on the length of the log. Raises `MigrationNeeded`,
        `LeaseHeld`, `ChainBroken`; nothing is held then.
        """
        # Here and not in the constructor: a SQLite connection belongs to the thread that opens it.
        self._connection = connect(self._url)
        try:
            schema.check_connection(self._connection)
            if self._has_projector:
                self._projector = Projector(
                    self._connection, resident_records_max=self._resident_records_max
                )
            if self._lease is not None:
                self._take_lease(self._lease)
            try:
                self._load()
            except BaseException:
                self._release()
                raise
        except BaseException:
            self._connection.close()
            raise

    def write(
        self, groups: Iterable[Sequence[Draft]]
    ) -> tuple[list[tuple[Receipt, ...]], Committed]:
        """Append every group, all or nothing, with whatever other programs appended before.

        Returns the receipts of each group in order.
        """
        connection = self._connection
        connection.begin_write()
        try:
            foreign = self._look_around()
            receipts, own, rows = self._assign(groups)
            if rows:
                connection.insert(INSERT_EVENTS, rows)
            envelopes = [*foreign.envelopes, *own]
            changes, failure = self._project(own, foreign.changes)
            if envelopes:
                self._checkpoint(LOG_CHECKPOINT)
            if failure is None:
                self._write_rows()
            self._beat_if_due()
            logger.debug("batch_written", rows=len(rows))
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        if failure is not None:
            raise failure
        return receipts, Committed(tuple(envelopes), changes)

    def poll(self) -> Committed | None:
        """Notice what others did while there was nothing to append, and show a sign of life.

        Raises `LeaseLost` where the lease is gone.
        """
        connection = self._connection
        if connection.changed_elsewhere():
            if self._lease is not None:
                leases.check(connection, self._lease, self.lease_epoch)
            if self._read_head().sequence != self.head.sequence:
                self._look_again = True
        if self._look_again or self._beat_is_due():
            return self.write(())[1]
        return None

    def close(self) -> None:
        """Release the lease and close the connection."""
        try:
            self._release()
        finally:
            self._connection.close()

    # ── start ────────────────────────────────────────────────────────────────────────────────────

    def _take_lease(self, request: LeaseRequest) -> None:
        self._connection.begin_write()
        try:
            self.lease_epoch = leases.take(self._connection, request, self._clock.now())
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        self._beat_at = self._clock.monotonic()

    def _release(self) -> None:
        if self._lease is not None:
            leases.release(self._connection, self._lease, self.lease_epoch)

    def _load(self) -> None:
        self._connection.begin_write()
        try:
            head = self._read_head()
            self._check_end(head)
            if self._projector is None:
                self.head = head
            else:
                self.head = self._head_at_checkpoint(BOOKS_CHECKPOINT)
                self._projector.restore(self.head.sequence)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        while self.head.sequence < head.sequence:
            # Page by page: after a long absence the tail may be any length.
            self._connection.begin_write()
            try:
                self._follow_page()
                self._write_rows()
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise

    def _check_end(self, head: Head) -> None:
        """Raise `ChainBroken` where the log ends before the end that was last written down."""
        end = self._checkpoint_row(LOG_CHECKPOINT)
        if end is not None and head.sequence < end[0]:
            raise ChainBroken(
                f"the log ends at {head.sequence}, but {end[0]} events were appended",
                sequence=head.sequence + 1,
            )
        self._head_at_checkpoint(LOG_CHECKPOINT)

    def _head_at_checkpoint(self, name: str) -> Head:
        row = self._checkpoint_row(name)
        if row is None:
            return Head()
        sequence, digest = row
        if sequence == 0:
            return Head()
        found = self._connection.rows(
            "SELECT sequence, hash, recorded_at FROM events WHERE sequence = ?", (sequence,)
        )
        if not found or bytes(found[0][1]) != bytes(digest):
            raise ChainBroken(
                f"event {sequence} is not the one that checkpoint {name!r} was made at",
                sequence=sequence,
            )
        return head_of(found[0])

    def _checkpoint_row(self, name: str) -> tuple[int, bytes] | None:
        rows = self._connection.rows(
            "SELECT sequence, hash FROM checkpoints WHERE name = ?", (name,)
        )
        return (rows[0][0], rows[0][1]) if rows else None

    # ── what others did ──────────────────────────────────────────────────────────────────────────

    def _look_around(self) -> Committed:
        connection = self._connection
        if self._guard is not None:
            self._guard(connection)
        if not connection.changed_elsewhere() and not self._look_again:
            return Committed((), {})
        self._look_again = False
        if self._lease is not None:
            leases.check(connection, self._lease, self.lease_epoch)
        head = self._read_head()
        if head.sequence < self.head.sequence:
            raise ChainBroken(
                f"the log ended at {self.head.sequence} and now ends at {head.sequence}",
                sequence=head.sequence + 1,
            )
        changes: Changes = {}
        if head.sequence > self.head.sequence and self._projector is not None:
            row = self._checkpoint_row(BOOKS_CHECKPOINT)
            if row is not None and row[0] > self._projector.written:
                # Another daemon on this log has folded these events into the rows already. Folding
                # them again over rows that contain them would count them twice, so memory starts
                # again from the rows.
                changes = self._projector.restore(row[0])
        envelopes: list[Envelope] = []
        while self.head.sequence < head.sequence:
            page, touched = self._follow_page()
            envelopes += page
            _merge(changes, touched)
        return Committed(tuple(envelopes), changes)

    def _follow_page(self) -> tuple[list[Envelope], Changes]:
        """Read, verify and fold the next events of others, up to a page."""
        rows = self._connection.rows(
            f"{SELECT_EVENTS} WHERE sequence > ? ORDER BY sequence LIMIT {PAGE_ROWS}",
            (self.head.sequence,),
        )
        digest = self.head.hash
        for number, row in enumerate(rows, self.head.sequence + 1):
            digest = follow(digest, number, row)
        envelopes = [envelope(row) for row in rows]
        last = envelopes[-1]
        self.head = Head(last.sequence, digest, last.recorded_at)
        folded = 0 if self._projector is None else self._projector.books.sequence
        changes, failure = self._project([e for e in envelopes if e.sequence > folded], {})
        if failure is not None:
            raise failure
        return envelopes, changes

    def _read_head(self) -> Head:
        rows = self._connection.rows(SELECT_HEAD)
        return head_of(rows[0]) if rows else Head()

    # ── our own events ───────────────────────────────────────────────────────────────────────────

    def _assign(
        self, groups: Iterable[Sequence[Draft]]
    ) -> tuple[list[tuple[Receipt, ...]], list[Envelope], list[tuple[Value, ...]]]:
        """Give each fact its place, unless its natural key has one already."""
        groups = list(groups)
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
                known = stored.get(fact.natural_key) if fact.natural_key else None
                if known is not None and codec.same_fact(known.event, fact.event):
                    given.append(Receipt(known.sequence, duplicate=True))
                    continue
                new = fact if known is None else _conflict(known, fact)
                sequence += 1
                row, digest = chained(digest, new, sequence, recorded_at, epoch)
                rows.append(row)
                envelopes.append(
                    Envelope(sequence, new.event, new.context, moment, epoch, new.wire)
                )
                if new.natural_key:
                    stored[new.natural_key] = _Stored(sequence, new.event)
                given.append(Receipt(sequence, False, known is not None))
            receipts.append(tuple(given))
        if rows:
            self.head = Head(sequence, digest, moment)
        return receipts, envelopes, rows

    def _stored(self, keys: list[str]) -> dict[str, _Stored]:
        if not keys:
            return {}
        select = "SELECT natural_key, sequence, type, version, payload FROM events"
        rows = self._connection.among(select, "natural_key", keys)
        return {row[0]: _Stored(row[1], codec.decode(*row[2:])) for row in rows}

    def _moment(self) -> datetime:
        """Return the time of this transaction; the log's time never goes back, whatever a clock
        does.
        """
        now = self._clock.now()
        last = self.head.recorded_at
        return now if last is None or now > last else last

    # ── books and bookmarks ──────────────────────────────────────────────────────────────────────

    def _project(
        self, envelopes: Sequence[Envelope], changes: Changes
    ) -> tuple[Changes, Exception | None]:
        """Fold events and return what they touched, added to `changes`.

        A fold that fails is a bug of ours, and the fact that shows it must not be lost with it: the
        failure is returned, the events are committed without their projection, and the log stops.
        """
        if self._projector is None or not envelopes:
            return changes, None
        try:
            return _merge(changes, self._projector.fold(envelopes)), None
        except (StoreError, ConfigurationError):
            raise  # The database failed, not the fold: nothing of this transaction may stand.
        except Exception as error:  # noqa: BLE001  # raised by `write`, after the commit
            failure = InvariantBroken(
                f"the fold of events {envelopes[0].sequence} to {envelopes[-1].sequence} failed: "
                f"{type(error).__name__}: {error}"
            )
            failure.__cause__ = error
            return changes, failure

    def _write_rows(self) -> None:
        """Write the rows that the transaction's events touched."""
        projector = self._projector
        if projector is None or not projector.behind:
            return
        projector.write()
        self._checkpoint(BOOKS_CHECKPOINT)

    def _checkpoint(self, name: str) -> None:
        self._connection.insert(
            "INSERT INTO checkpoints (name, sequence, hash)",
            [(name, self.head.sequence, self.head.hash)],
            "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
        )

    def _beat_is_due(self) -> bool:
        return (
            self._lease is not None
            and self._clock.monotonic() - self._beat_at >= self._lease.seconds / 3
        )

    def _beat_if_due(self) -> None:
        if self._lease is not None and self._beat_is_due():
            leases.beat(self._connection, self._lease, self.lease_epoch, self._clock.now())
            self._beat_at = self._clock.monotonic()


class _Stored(NamedTuple):
    sequence: int
    event: Event


def _conflict(known: _Stored, fact: Draft) -> Draft:
    """Return what is stored in place of a fact whose natural key means something else already."""
    assert fact.natural_key is not None
    event = NaturalKeyConflict(
        key=fact.natural_key,
        stored_sequence=known.sequence,
        type_name=type(fact.event).__name__,
        payload=fact.payload,
    )
    return draft(Pending(event, fact.context, fact.wire))


def _merge(changes: Changes, more: Changes) -> Changes:
    for table, records in more.items():
        changes.setdefault(table, {}).update(records)
    return changes
