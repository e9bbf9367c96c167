"""The transaction of an append, as one thread runs it.

    BEGIN IMMEDIATE                 no other program appends from here on
      anything new from elsewhere?  lease still ours? other programs' events: read, verify, fold
      natural keys                  the same fact again is not stored twice
      sequence, hash, insert
      fold, write touched rows
      checkpoints
    COMMIT
    head file                       the new end, beside the database (`keeper`)
                                    only now are callers and subscribers told

If the process dies before COMMIT returns, nothing of this happened and no caller was told; after
it, everything has. A failure is raised to the caller, who must not use the writer again: the books
in memory are ahead of the rows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import URL

from oms.clock import Clock
from oms.core.codec import Head
from oms.core.collector import collector_at_rest
from oms.core.events import Envelope
from oms.core.fold.books import Books
from oms.core.receipt import Receipt
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    InvariantBroken,
    LeaseHeld,
    StoreCutOff,
    StoreError,
    StoreLocked,
)
from oms.store import lease as leases
from oms.store import schema
from oms.store.backend import Connection, connect, place_of
from oms.store.chain import Chain
from oms.store.envelopes import Draft
from oms.store.keeper import Keeper
from oms.store.lease import Backlog, Instant, LeaseRequest
from oms.store.loss import Loss
from oms.store.patience import Patience
from oms.store.projector import RESIDENT_RECORDS_MAX, ChangedRecords, Projector
from oms.store.rows import Unfit
from oms.store.soundness import check_start
from oms.store.tables import BOOKS_CHECKPOINT
from oms.telemetry import get_logger

logger = get_logger("store")

#: How often a lease is looked at whose holder may be alive.
_WATCH_SECONDS: Final = 0.05
#: Events that a start folds between two writes of their rows: some 20 MB.
LOADED_EVENTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction made durable."""

    #: In order of sequence, other programs' events included.
    envelopes: tuple[Envelope, ...]
    #: Every projection record that changed, by table and key. Empty without a projector.
    changes: ChangedRecords


@dataclass(frozen=True, slots=True)
class _Written:
    """What a transaction has written, durable or not."""

    receipts: list[tuple[Receipt, ...]]
    committed: Committed
    #: It has events of its own: where the log has them, it is durable.
    appends: bool
    #: When the renewal of the lease in it was asked for, None where it has none.
    renewed: Instant | None
    #: The fold of its events failed.
    failure: Exception | None


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
        loss_accepted: bool = False,
        lock_seconds_max: float = 0,
    ) -> None:
        self._url = url
        self._clock = clock
        self._lease = lease
        #: Runs inside each transaction and raises where nothing may be appended.
        self._guard = guard
        #: When the renewal was asked for that was confirmed last, by both clocks; None without one.
        self._renewed: Instant | None = None
        #: What to say beside a sign of life of what waits for the disk.
        self.backlog: Callable[[], Backlog] = Backlog
        self.patience = Patience(clock, place_of(url), lock_seconds_max)
        #: Where the log ended after the last transaction that is known to be durable.
        self._durable = Head()
        #: What the transaction under way will have done once it is durable.
        self._written: _Written | None = None
        #: A change elsewhere was seen outside a transaction and has not been read yet.
        self._look_again = True
        self._resident_records_max = resident_records_max
        self._has_projector = projector
        self._connection: Connection
        self._chain: Chain
        self._keeper: Keeper
        self._loss_accepted = loss_accepted
        self._projector: Projector | None = None

    @property
    def books(self) -> Books:
        """Return the live fold."""
        if self._projector is None:
            raise InvariantBroken("this log was opened without a projector")
        return self._projector.books

    @property
    def head(self) -> Head:
        """Return where the log ends, as far as this writer has read and written it."""
        return self._chain.head

    def holds_lease(self) -> bool:
        """Say whether nobody else can hold the lease this moment; True where none was wanted.

        Any thread may ask. It counts from before the last renewal was asked for, and ends well
        before the lease does.
        """
        if self._lease is None:
            return True
        renewed = self._renewed
        if renewed is None:
            return False
        age = leases.instant(self._clock).since(renewed)
        return age < self._lease.seconds * leases.SURE_FRACTION

    @property
    def free_bytes(self) -> int | None:
        """Return what was free on the disk when the last transaction began; None where nobody can
        tell.
        """
        return self._connection.free_bytes

    @property
    def lease_epoch(self) -> int:
        """Return the epoch that is on every event of this writer; 0 without a lease."""
        return self._chain.lease_epoch

    @property
    def loss(self) -> Loss | None:
        """Return what the log lacked when it was opened."""
        return self._keeper.loss

    def open(self) -> None:
        """Take the lease, check the end of the chain, the guards and the live rows, load the books,
        fold what they lack.

        The time it takes does not depend on the length of the log. Raises `MigrationNeeded`,
        `LeaseHeld`, `ChainBroken`, `DatabaseDamaged`, and `LogWentBack` where the log lacks events
        that were written before and nobody has accepted that; nothing is held then. A database that
        another program holds is waited for, as in `write`.
        """
        with self.patience.waiting():
            while True:
                try:
                    return self._open()
                except StoreLocked as error:
                    self.patience.wait_on(error)

    def _open(self) -> None:
        # Here and not in the constructor: a SQLite connection belongs to the thread that opens it.
        self._connection = connect(self._url)
        self._chain = Chain(self._connection, self._clock)
        self._keeper = Keeper(self._url, self._connection, owns=self._lease is not None)
        try:
            self._keeper.check(accepted=self._loss_accepted)
            schema.check_connection(self._connection)
            if self._has_projector:
                self._projector = Projector(
                    self._connection, resident_records_max=self._resident_records_max
                )
                self._chain.is_set_aside = self._projector.is_set_aside
                self._chain.is_news = self._is_news
            if self._lease is not None:
                self._take_lease(self._lease)
            try:
                self._load()
                self._keeper.begin(self.head)
            except BaseException:
                self._release()
                raise
        except BaseException:
            self._connection.close()
            raise

    def write(
        self, groups: Sequence[Sequence[Draft]]
    ) -> tuple[list[tuple[Receipt, ...]], Committed]:
        """Append every group, all or nothing, with whatever other programs appended before.

        Returns the receipts of each group in order. A database that another program holds, or whose
        server is away, is waited for; raises `StoreLocked` or `StoreCutOff` after the time that the
        settings allow.
        """
        with self.patience.waiting():
            while True:
                try:
                    self._write(groups)
                    break
                except StoreCutOff as error:
                    if self._goes_on_after(error):
                        break
        done, self._written = self._written, None
        assert done is not None, "a transaction that ended well was written"
        return self._conclude(done)

    def _write(self, groups: Sequence[Sequence[Draft]]) -> None:
        self._written = None
        with self._connection.writing(self.patience.wait_on):
            # After any wait for the database: nobody can have taken the lease before its seconds
            # have passed since the commit, and from here on nobody else commits.
            asked_at = leases.instant(self._clock)
            is_due = self._beat_is_due(asked_at)
            foreign = self._look_around()
            receipts, own = self._chain.append(groups)
            changes, failure = self._project(own, foreign.changes)
            if failure is None:
                changes = self._write_rows((*foreign.envelopes, *own)) or changes
            if self._lease is not None and is_due:
                leases.beat(
                    *(self._connection, self._lease, self.lease_epoch, self._clock),
                    self.backlog(),
                )
            logger.debug("batch_written", rows=len(own))
            committed = Committed((*foreign.envelopes, *own), changes)
            self._written = _Written(
                receipts, committed, bool(own), asked_at if is_due else None, failure
            )

    def _conclude(self, done: _Written) -> tuple[list[tuple[Receipt, ...]], Committed]:
        """Take that a transaction is durable."""
        self._durable = self.head
        if done.committed.envelopes:
            self._keeper.write(self.head)
        if done.renewed is not None:
            self._renewed = done.renewed
            self._keeper.sync()
        self._renew_by_reading()
        if done.failure is not None:
            raise done.failure
        return done.receipts, done.committed

    def _renew_by_reading(self) -> None:
        """Be sure of the lease from now on, where the commit was slow and nobody watches it."""
        now = leases.instant(self._clock)
        if self._lease is None or not self._beat_is_due(now):
            return
        with contextlib.suppress(StoreCutOff):  # Noticed again by the next transaction.
            if not leases.is_claimed(self._connection, self._lease, self.lease_epoch):
                self._renewed = now

    def _goes_on_after(self, error: StoreCutOff) -> bool:
        """Connect again after a cut, and say whether the last transaction is durable all the same;
        where it is not, memory is as before it. Raises the error where nothing is waited for.

        The new transaction begins when the server has ended the old one, whichever way, so that
        the chain decides: either the log has what was about to be the head, or nothing of it.
        """
        written = self._written
        while True:
            if written is not None and not self.patience.waits:
                raise StoreCutOff(
                    f"{error.message}; whether what was asked is written is not known",
                    hint="look with `oms log` once it answers, before you ask again",
                ) from error
            self.patience.wait_on(error)
            try:
                self._connection.reconnect()
                with self._connection.writing(self.patience.wait_on):
                    if self._lease is not None:
                        leases.check(self._connection, self._lease, self.lease_epoch)
                    landed = written is not None and written.appends
                    landed = landed and self._chain.has(self.head)
                    if not landed:
                        self._go_back()
            except StoreCutOff as again:
                error = again
            else:
                logger.warning("database_answers_again", sequence=self.head.sequence)
                return landed

    def _go_back(self) -> None:
        """Make memory what the database holds, after a transaction that is not durable."""
        chain, projector = self._chain, self._projector
        chain.go_back_to(self._durable)
        if projector is not None:
            reached = chain.checkpoint(BOOKS_CHECKPOINT)
            if reached > self._durable.sequence:
                projector.written = self._durable.sequence  # `_look_around` starts from the rows.
            else:
                projector.restore(reached, chain.row_sums())
        self._look_again = True

    def poll(self) -> Committed | None:
        """Notice what others did while there was nothing to append, and show a sign of life.

        Raises `LeaseLost` where the lease is gone.
        """
        with self.patience.waiting():
            try:
                self._look()
            except StoreLocked as error:
                self.patience.wait_on(error)
                # Looked at again with the next transaction, which waits as well.
                self._look_again = True
            except StoreCutOff as error:
                self._goes_on_after(error)
        if self._look_again or self._beat_is_due(leases.instant(self._clock)):
            return self.write(())[1]
        return None

    def close(self) -> None:
        """Release the lease and close the connection."""
        try:
            self._keeper.close()
            self._release()
        finally:
            self._connection.close()

    def _look(self) -> None:
        connection = self._connection
        if connection.changed_elsewhere():
            if self._lease is not None:
                leases.check(connection, self._lease, self.lease_epoch)
            if self._chain.end().sequence != self._chain.head.sequence:
                self._look_again = True

    # ── start ────────────────────────────────────────────────────────────────────────────────────

    def _take_lease(self, request: LeaseRequest) -> None:
        watched = leases.Watched(self._clock, request)
        while True:
            asked_at = leases.instant(self._clock)
            with self._connection.writing():
                epoch = watched.take(self._connection)
            if epoch is not None:
                break
            if self.patience.stopping:
                raise LeaseHeld(f"the start was given up while {watched.lease_words} was watched")
            time.sleep(_WATCH_SECONDS)
        self._chain.lease_epoch = epoch
        self._renewed = asked_at

    def _release(self) -> None:
        if self._lease is not None:
            leases.release(self._connection, self._lease, self.lease_epoch)

    def _load(self) -> None:
        chain = self._chain
        with self._connection.writing():
            if self._projector is None:
                chain.head = end = chain.checked_end()
            else:
                end = check_start(self._connection, chain)
                chain.head = chain.head_at(BOOKS_CHECKPOINT)
                self._projector.restore(chain.head.sequence, chain.row_sums())
                self._projector.check_live()
        with collector_at_rest():
            while chain.head.sequence < end.sequence:
                with self._connection.writing():
                    self._write_rows(self._follow_until(end))
        self._durable = chain.head

    def _follow_until(self, end: Head) -> list[Envelope]:
        """Read, verify and fold the events of others up to one, at most as many as memory holds: a
        row is written once for all of them, and after a long absence they may be any number.
        """
        envelopes: list[Envelope] = []
        while self.head.sequence < end.sequence and len(envelopes) < LOADED_EVENTS_MAX:
            envelopes += self._follow_page()[0]
        return envelopes

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
        chain = self._chain
        end = chain.end()
        if end.sequence < chain.head.sequence:
            raise ChainBroken(
                f"the log ended at {chain.head.sequence} and now ends at {end.sequence}",
                sequence=end.sequence + 1,
            )
        changes: ChangedRecords = {}
        if end.sequence > chain.head.sequence and self._projector is not None:
            reached = chain.checkpoint(BOOKS_CHECKPOINT)
            if reached > self._projector.written:
                # Another daemon on this log has folded these events into the rows already. Folding
                # them again over rows that contain them would count them twice, so memory starts
                # again from the rows.
                changes = self._projector.restore(reached, chain.row_sums())
        envelopes: list[Envelope] = []
        while chain.head.sequence < end.sequence:
            page, touched = self._follow_page()
            envelopes += page
            _merge(changes, touched)
        return Committed(tuple(envelopes), changes)

    def _follow_page(self) -> tuple[list[Envelope], ChangedRecords]:
        """Read, verify and fold the next events of others, up to a page."""
        envelopes = self._chain.follow_page()
        folded = 0 if self._projector is None else self._projector.books.sequence
        changes, failure = self._project([e for e in envelopes if e.sequence > folded], {})
        if failure is not None:
            raise failure
        return envelopes, changes

    # ── the books, and signs of life ─────────────────────────────────────────────────────────────

    def _project(
        self, envelopes: Sequence[Envelope], changes: ChangedRecords
    ) -> tuple[ChangedRecords, Exception | None]:
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

    def _is_news(self, others: Sequence[Envelope], envelope: Envelope) -> bool:
        """Say whether the books need an event; where a fold fails it is stored, and `_project`
        meets the failure.
        """
        assert self._projector is not None
        try:
            return self._projector.is_news(others, envelope)
        except (StoreError, ConfigurationError):
            raise
        except Exception:  # noqa: BLE001  # see above
            return True

    def _write_rows(self, envelopes: Sequence[Envelope]) -> ChangedRecords:
        """Write the rows that the transaction's events touched.

        Returns nothing, or every record as it is where an event had to be set aside for its rows.
        """
        projector = self._projector
        if projector is None or not projector.behind:
            return {}
        changes: ChangedRecords = {}
        try:
            projector.write()
        except Unfit:
            changes = projector.fold_checked(
                [one for one in envelopes if one.sequence > projector.written]
            )
            projector.write()
        self._chain.write_checkpoint(BOOKS_CHECKPOINT, projector.sums)
        return changes

    def _beat_is_due(self, now: Instant) -> bool:
        if self._lease is None:
            return False
        return self._renewed is None or now.since(self._renewed) >= self._lease.seconds / 3


def _merge(changes: ChangedRecords, more: ChangedRecords) -> ChangedRecords:
    for table, records in more.items():
        changes.setdefault(table, {}).update(records)
    return changes
