"""The log: one writer thread, many events a commit (decision D3).

`append` takes a fact from any callback of the event loop, fixes its place in the order of this
daemon, and returns at once with a future that is done when the fact is durable. A thread that owns
the connection takes whatever has gathered and makes it one transaction (`writer`). So the loop
never waits for a disk, a commit carries as many events as came while the last one ran, and the
order of sequence is the order of hand-over.

A fact that was handed over is stored or the log fails; it is never dropped in silence. When it
fails (disk full, lock not given, lease taken over, buffer full, a fold with a bug) `failed` is
resolved first, then the futures of the facts that were not stored, and every later `append` raises.
Nothing else may be sent to the broker from that moment; the daemon stops.

If the process dies, facts that were handed over and not committed are lost; no caller was told that
they were stored. What the broker said is asked for again by the next reconciliation.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from oms.clock import Clock
from oms.core.codec import Head
from oms.core.events import Pending
from oms.core.fold.books import Books
from oms.core.fold.records import AnyRecord
from oms.core.receipt import Receipt
from oms.errors import DaemonNotRunning, DatabaseDamaged, OmsError, StoreUnavailable
from oms.store import lease as leases
from oms.store.backend import Connection, parse_url
from oms.store.envelopes import Draft, draft
from oms.store.lease import Backlog, LeaseRequest
from oms.store.loss import Loss
from oms.store.projector import RESIDENT_RECORDS_MAX
from oms.store.writer import Committed, Writer
from oms.telemetry import APPEND_SECONDS, get_logger

QUEUE_LENGTH_MAX: Final = 100_000
BATCH_ROWS_MAX: Final = 2_000
POLL_SECONDS: Final = 0.05

logger = get_logger("store")


@dataclass(slots=True)
class _Group:
    """Facts that are stored in one transaction or not at all, and who waits for them."""

    drafts: tuple[Draft, ...]
    future: asyncio.Future[Any]
    #: A single fact's future carries its receipt, a group's the tuple of them.
    single: bool
    #: Set for one who wants to follow the books; then there are no facts.
    follower: Callable[[Committed], None] | None = None
    records: list[AnyRecord] | None = None


class EventLog:
    """The only writer of events in a daemon. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        writer: Writer,
        *,
        clock: Clock,
        queue_length_max: int,
        batch_rows_max: int,
        poll_seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._clock = clock
        #: Of the writer's thread.
        self._backlog = Backlog()
        writer.backlog = self._take_backlog
        self._queue_length_max = queue_length_max
        self._batch_rows_max = batch_rows_max
        self._poll_seconds = poll_seconds
        # Unbounded by itself: `append` counts, because it must know before it hands over.
        self._queue: queue.SimpleQueue[_Group | None] = queue.SimpleQueue()
        self._waiting = 0
        #: When what waits was handed over, in the order of the queue.
        self._since: deque[float] = deque()
        self._subscribers: list[Callable[[Committed], None]] = []
        self._failure: Exception | None = None
        self._closed = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        #: What a check of the whole database has found wrong, "" for nothing.
        self.damage = ""
        #: Resolves with the exception when the log can no longer be written; await it beside the
        #: daemon's work. Stays pending when the log is closed in good order.
        self.failed: asyncio.Future[None] = self._loop.create_future()
        # A daemon thread: a program that dies without `close` must not hang on it, and a
        # transaction that is cut off was not reported as durable.
        self._thread = threading.Thread(target=self._run, name="oms-log-writer", daemon=True)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        lease: LeaseRequest | None,
        queue_length_max: int = QUEUE_LENGTH_MAX,
        batch_rows_max: int = BATCH_ROWS_MAX,
        projector: bool = True,
        poll_seconds: float = POLL_SECONDS,
        resident_records_max: int = RESIDENT_RECORDS_MAX,
        loss_accepted: bool = False,
        lock_seconds_max: float = 0,
    ) -> EventLog:
        """Open the log of a database, with the books at its end.

        With a lease this is the daemon's log; without one, a writer that claims nothing (imports,
        benchmarks). Raises `MigrationNeeded`, `LeaseHeld`, `ChainBroken` or `StoreUnavailable`;
        `LogWentBack` where events are missing, unless `loss_accepted`: whoever says so writes that
        first.
        """
        writer = Writer(
            parse_url(url),
            clock=clock,
            lease=lease,
            projector=projector,
            resident_records_max=resident_records_max,
            loss_accepted=loss_accepted,
            lock_seconds_max=lock_seconds_max,
        )
        log = cls(
            writer,
            clock=clock,
            queue_length_max=queue_length_max,
            batch_rows_max=batch_rows_max,
            poll_seconds=poll_seconds,
        )
        log._thread.start()
        # Shielded: a caller that gives up must not leave a thread behind that holds the lease.
        try:
            await asyncio.shield(log._opened)
        except asyncio.CancelledError:
            await log.close()
            raise
        return log

    @property
    def books(self) -> Books:
        """Return the live fold, which the writer thread changes; read it only where no append is
        under way, and `Committed.changes` otherwise.
        """
        return self._writer.books

    @property
    def head(self) -> Head:
        """Return where the log ends, as far as its writer has read and written it."""
        return self._writer.head

    @property
    def lease_epoch(self) -> int:
        """Return the epoch that is on every event of this writer; 0 without a lease."""
        return self._writer.lease_epoch

    def holds_lease(self) -> bool:
        """Say whether nobody else can hold the lease this moment; see `Writer.holds_lease`."""
        return self._writer.holds_lease()

    @property
    def loss(self) -> Loss | None:
        """Return what the log lacked when it was opened."""
        return self._writer.loss

    @property
    def waiting(self) -> int:
        """Return how many facts were handed over and are not durable yet."""
        return self._waiting

    @property
    def oldest_waiting_seconds(self) -> float:
        """Return how long what was handed over first has waited to be durable, 0 where nothing
        waits. Any thread may ask.
        """
        try:
            return self._clock.monotonic() - self._since[0]
        except IndexError:
            return 0

    @property
    def stalled_seconds(self) -> float:
        """Return how long the transaction under way has taken so far, 0 between two: the disk is
        slow, or another program holds the database.
        """
        began_at = self._writer.patience.began_at
        return 0 if began_at is None else self._clock.monotonic() - began_at

    @property
    def free_bytes(self) -> int | None:
        """Return what was free on the disk at the last commit; None where nobody can tell."""
        return self._writer.free_bytes

    def append(self, pending: Pending) -> asyncio.Future[Receipt]:
        """Hand a fact over; the future is done when it is durable.

        Never blocks. Cancelling the future, or the task that awaits it, does not take the fact
        back. Raises `StoreUnavailable` where the log has failed, is closed or is full.
        """
        return self._hand_over((draft(pending),), single=True)

    def append_together(self, pendings: Sequence[Pending]) -> asyncio.Future[tuple[Receipt, ...]]:
        """Hand facts over that are stored in one transaction: all of them or none."""
        return self._hand_over(tuple(draft(p) for p in pendings), single=False)

    def subscribe(self, callback: Callable[[Committed], None]) -> Callable[[], None]:
        """Call back on the loop after every commit, in order; return what ends that.

        A callback that raises has missed a fact: the log fails with its exception.
        """
        self._subscribers.append(callback)
        return lambda: self.unsubscribe(callback)

    def unsubscribe(self, callback: Callable[[Committed], None]) -> None:
        """Call back no more; repeatable."""
        if callback in self._subscribers:
            self._subscribers.remove(callback)

    async def follow(self, callback: Callable[[Committed], None]) -> list[AnyRecord]:
        """Return every record in memory, and call back with each commit from there on, as
        `subscribe` does: no commit is missed, and the first may be in the records already.
        """
        records: list[AnyRecord] = await self._hand_over((), single=False, follower=callback)
        return records

    async def flush(self) -> None:
        """Wait until everything handed over so far is durable and published."""
        await self._hand_over((), single=False)

    async def close(self) -> None:
        """Store what was handed over, release the lease, close the database; repeatable."""
        if not self._closed:
            self._closed = True
            self._writer.patience.stopping = True
            self._queue.put(None)
        await asyncio.shield(self._ended)

    # ── on the loop ──────────────────────────────────────────────────────────────────────────────

    def _hand_over(
        self,
        drafts: tuple[Draft, ...],
        *,
        single: bool,
        follower: Callable[[Committed], None] | None = None,
    ) -> asyncio.Future[Any]:
        if self._failure is not None:
            # What to do is said by the cause: a lease that is lost is no full disk.
            hint = self._failure.hint if isinstance(self._failure, OmsError) else None
            raise StoreUnavailable(f"the log has failed: {self._failure}", hint=hint) from (
                self._failure
            )
        if self._closed:
            raise StoreUnavailable("the log is closed")
        if self._waiting + len(drafts) > self._queue_length_max:
            full = StoreUnavailable(
                f"{self._waiting} events wait for the disk, more than OMS_QUEUE_LENGTH_MAX allows",
                hint="the disk is too slow, or another program holds the database: check both and "
                "start the daemon again; it asks the broker for what was not stored",
            )
            self._fail(full)
            raise full
        self._waiting += len(drafts)
        self._since.append(self._clock.monotonic())
        future = self._loop.create_future()
        self._queue.put(_Group(drafts, future, single, follower))
        return future

    def _publish(
        self, groups: list[_Group], receipts: list[tuple[Receipt, ...]], committed: Committed
    ) -> None:
        for group, given in zip(groups, receipts, strict=True):
            self._waiting -= len(group.drafts)
            self._since.popleft()
            if group.follower is not None and not group.future.done():
                self._subscribers.append(group.follower)
                group.future.set_result(group.records)
            # The task that awaited it may have been cancelled; the fact is stored all the same.
            if not group.future.done():
                group.future.set_result(given[0] if group.single else given)
        if not committed.envelopes:
            return
        for callback in tuple(self._subscribers):
            try:
                callback(committed)
            except Exception as error:  # noqa: BLE001  # carried by `failed`, which stops the daemon
                self._fail(error)

    def _fail(self, error: Exception, groups: Sequence[_Group] = ()) -> None:
        if self._failure is None:
            self._failure = error
            if not self.failed.done():
                self.failed.set_exception(error)
                # Seen: a program that embeds the log need not await `failed`.
                self.failed.exception()
            logger.critical("log_failed", reason=str(error), kind=type(error).__name__)
        for group in groups:
            self._waiting -= len(group.drafts)
            self._since.popleft()
            if not group.future.done():
                group.future.set_exception(error)
                group.future.exception()

    # ── in the writer thread ─────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            self._writer.open()
        except Exception as error:  # noqa: BLE001  # raised again in `open`
            self._tell(_resolve, self._opened, error)
            self._tell(_resolve, self._ended, None)
            return
        self._tell(_resolve, self._opened, None)
        try:
            self._serve()
        finally:
            self._end()

    def _serve(self) -> None:
        while True:
            groups, more = self._take()
            try:
                if groups:
                    self._write(groups)
                elif more:
                    committed = self._writer.poll()
                    if committed is not None:
                        self._tell(self._publish, [], [], committed)
            except Exception as error:  # noqa: BLE001  # carried by `failed` and the futures
                self._tell(self._fail, error, groups)
                if more:
                    self._refuse_until_closed(error)
                return
            if not more:
                return

    def _take(self) -> tuple[list[_Group], bool]:
        """Wait for facts, up to a poll's length, and take what has gathered; False at the end."""
        groups: list[_Group] = []
        rows = 0
        try:
            group = self._queue.get(timeout=self._poll_seconds)
            while group is not None:
                groups.append(group)
                rows += len(group.drafts)
                if rows >= self._batch_rows_max:
                    return groups, True
                group = self._queue.get_nowait()
        except queue.Empty:
            return groups, True
        return groups, False

    def _note_backlog(self) -> None:
        """Keep the most that waited since the last sign of life."""
        most = self._backlog
        self._backlog = replace(
            most,
            waiting=max(most.waiting, self._waiting),
            oldest_seconds=max(most.oldest_seconds, self.oldest_waiting_seconds),
        )

    def _note_append(self, seconds: float) -> None:
        most = self._backlog
        self._backlog = replace(most, append_seconds=max(most.append_seconds, seconds))

    def _take_backlog(self) -> Backlog:
        found, self._backlog = self._backlog, Backlog()
        return found

    def _write(self, groups: list[_Group]) -> None:
        logger.debug("batch_taken", groups=len(groups))
        if any(group.drafts for group in groups):
            self._note_backlog()
            began_at = self._clock.monotonic()
            with APPEND_SECONDS.time():
                receipts, committed = self._writer.write([group.drafts for group in groups])
            self._note_append(self._clock.monotonic() - began_at)
        else:
            receipts, committed = [() for _ in groups], Committed((), {})
        for group in groups:
            if group.follower is not None:
                # Here, in the thread that changes the books: no other thread may walk them.
                tables = self._writer.books.tables.values()
                group.records = [record for table in tables for record in table.values()]
        logger.debug("batch_committed", sequence=self._writer.head.sequence)
        self._tell(self._publish, groups, receipts, committed)

    def _refuse_until_closed(self, error: Exception) -> None:
        while (group := self._queue.get()) is not None:
            self._tell(self._fail, error, [group])

    def _end(self) -> None:
        try:
            self._writer.close()
        except OmsError as error:
            # The lease ends by its heartbeat.
            logger.warning("lease_not_released", reason=str(error))
        self._tell(_resolve, self._ended, None)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop is gone, and with it every caller.
            return


class _LogTime:
    """The time of a log that a daemon keeps: a clock that was set, or is another's, moves nothing
    that waits there.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: What the daemon's lease says; None where no daemon runs.
        self.known: datetime | None = None

    def now(self) -> datetime:
        """Return the log's time, else that of this program."""
        return self._clock.now() if self.known is None else self.known

    def wall(self) -> datetime:
        """Return what this machine's wall clock shows."""
        return self._clock.wall()

    def monotonic(self) -> float:
        """Return this machine's monotonic seconds."""
        return self._clock.monotonic()


def append_foreign(
    url: str,
    pendings: Sequence[Pending],
    *,
    clock: Clock,
    lease_name_prefix: str = "",
    needs_daemon: bool = True,
) -> list[Receipt]:
    """Append facts from outside the daemon, for it to see and act on; blocks for one commit.

    All are stored or none. Raises `DaemonNotRunning`, and stores nothing, unless a lease whose name
    begins so is held by a daemon that shows signs of life, seen in the same transaction. Facts that
    count whether or not a daemon runs (a halt) do not need one: a daemon that starts later folds
    them before it opens a session.
    """
    host = socket.gethostname()
    times = _LogTime(clock)

    def guard(connection: Connection) -> None:
        """Take over the log's time; raise `DaemonNotRunning` unless a daemon holds a lease."""
        now = times.wall()
        try:
            held = leases.read_all(connection, lease_name_prefix)
        except DatabaseDamaged:
            if needs_daemon:
                raise
            return  # A halt counts all the same.
        running = (lease.log_time(now) for lease in held if not lease.is_over(host))
        times.known = max((moment for moment in running if moment is not None), default=None)
        if not needs_daemon or any(lease.held(now, host) for lease in held):
            return
        if silent := next((lease for lease in held if lease.is_alive(host)), None):
            raise DaemonNotRunning(
                f"the daemon (process {silent.process_id}) has written nothing for a while; nothing"
                " was asked of it",
                hint="`oms status` says since when and why; repeat when it writes again",
            )
        raise DaemonNotRunning

    writer = Writer(parse_url(url), clock=times, guard=guard)
    writer.open()
    try:
        receipts, _ = writer.write([[draft(p) for p in pendings]])
    finally:
        writer.close()
    return list(receipts[0])


def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
