"""What every backend of the log promises to whoever appends.

Each test runs on SQLite and on PostgreSQL. Nothing waits by sleeping: a future, a queue or a line
from a child is awaited under a deadline.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oms.clock import Clock, ManualClock, SystemClock
from oms.core import codec
from oms.core.events import Context, Envelope, GapClosed, NaturalKeyConflict, Pending, Stamp
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.records import Order
from oms.core.receipt import Receipt
from oms.errors import (
    DaemonNotRunning,
    InvariantBroken,
    LeaseHeld,
    LeaseLost,
    MigrationNeeded,
    OmsError,
    StoreError,
    StoreLocked,
    StoreUnavailable,
)
from oms.store import audit, backend
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog, append_foreign
from oms.store.reader import Reader
from oms.store.writer import Committed
from tests import programs
from tests.conformance.conftest import Place
from tests.conformance.facts import commission, execution, gap, intent, lives

DEADLINE_SECONDS = 60
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


# ── order and durability ─────────────────────────────────────────────────────────────────────────


async def test_sequence_is_gapless_and_follows_the_hand_over(place: Place) -> None:
    """Hand over a burst from one loop; its receipts count from 1 in that order."""
    async with opened_log(place) as log:
        receipts = await asyncio.gather(*(log.append(gap(str(n))) for n in range(250)))
    assert [r.sequence for r in receipts] == list(range(1, 251))
    found = await stored(place)
    assert [e.sequence for e in found] == list(range(1, 251))
    assert [getattr(e.event, "cause", "") for e in found] == [str(n) for n in range(250)]


async def test_what_was_appended_is_read_back_as_it_was(place: Place) -> None:
    """Every part of a fact and its context survives the way through the database."""
    context = Context("person:ann", 4, START, "run-1", 1)
    wire = ("4", "weird \x00\x1f text", "\u00e9\U0001f4c8")
    stamp = Stamp(START, 178, 1)
    async with opened_log(place, lease=lease()) as log:
        await log.append(gap())
        await log.append(Pending(gap("second").event, context, wire, stamp))
        epoch = log.lease_epoch
    last = (await stored(place))[-1]
    assert (last.event, last.context, last.wire) == (gap("second").event, context, wire)
    assert (last.stamp, last.received_at, last.sent_at) == (stamp, START, None)
    assert (last.lease_epoch, epoch) == (1, 1)


@pytest.mark.slow
async def test_two_processes_append_without_a_gap_or_a_loss(place: Place) -> None:
    """Two daemons of two client ids write one log at once; every receipt is true, the chain and
    both programs' projections hold.
    """
    count = 150
    lines = await asyncio.gather(*(appended(place, f"DU1/{n}", count) for n in (1, 2)))
    by_sequence = {int(line.split()[0]): line.split()[1] for each in lines for line in each}
    found = await stored(place)
    assert [e.sequence for e in found] == list(range(1, 2 * count + 1))
    assert {e.sequence: getattr(e.event, "order_id", "") for e in found} == by_sequence
    assert audit.verify(place.url).events == 2 * count
    assert rebuilt_equal(place)


@pytest.mark.crash
async def test_every_receipt_given_before_kill_9_is_in_the_log(place: Place, seed: int) -> None:
    """Kill an appender between any two instructions, several times over on one log."""
    rnd = random.Random(seed)
    told: dict[int, str] = {}
    for life in range(3):
        async with child_appender(place, f"DU1/{life}", 1_000_000) as child:
            lines = await lines_of(child, 50 + rnd.randrange(100))
            child.send_signal(signal.SIGKILL)
            lines += await lines_of(child)
        told |= {int(line.split()[0]): line.split()[1] for line in lines}
    found = {e.sequence: getattr(e.event, "order_id", "") for e in await stored(place)}
    assert told.items() <= found.items()
    assert audit.verify(place.url).events == len(found)
    async with opened_log(place):
        pass
    assert rebuilt_equal(place)


async def test_time_of_record_never_goes_back(place: Place) -> None:
    """The machine's clock is set back between two appends and across a restart."""
    clock = ManualClock(START)
    async with opened_log(place, clock=clock) as log:
        await log.append(gap("noon"))
        clock._now -= timedelta(hours=1)
        await log.append(gap("an hour earlier"))
    async with opened_log(place, clock=clock) as log:
        await log.append(gap("still earlier"))
        clock.advance(3601)
        await log.append(gap("later"))
    times = [e.recorded_at for e in await stored(place)]
    assert times == [START, START, START, START + timedelta(seconds=1)]


async def test_cancelled_awaiter_does_not_take_the_fact_back(place: Place) -> None:
    """A time-out cancels whoever waits for a receipt; the fact is stored all the same."""
    async with opened_log(place) as log:
        waiting = asyncio.ensure_future(log.append(gap()))
        waiting.cancel()
        await log.flush()
        assert (await log.append(gap())).sequence == 2


async def test_close_stores_what_was_handed_over(place: Place) -> None:
    """Nobody awaits the futures; the log is closed at once."""
    async with opened_log(place) as log:
        for _ in range(30):
            log.append(gap())
    assert len(await stored(place)) == 30
    await log.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        log.append(gap())


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


async def test_group_is_stored_in_one_transaction(place: Place) -> None:
    """Subscribers see a group in one piece."""
    seen: list[Committed] = []
    async with opened_log(place) as log:
        log.subscribe(seen.append)
        receipts = await log.append_together([intent("a"), intent("b"), intent("c")])
        assert await log.append_together([]) == ()
    assert [r.sequence for r in receipts] == [1, 2, 3]
    assert [[e.sequence for e in c.envelopes] for c in seen] == [[1, 2, 3]]
    assert set(seen[0].changes["orders"]) == {"a", "b", "c"}


async def test_group_that_fails_leaves_nothing(place: Place) -> None:
    """The database refuses the second of three facts; none of the three is stored."""
    async with opened_log(place, fails=True) as log:
        place.refuse_inserts_of("GapOpened", "no room for this one")
        with pytest.raises(StoreError, match="no room"):
            await log.append_together([intent("a"), gap(), intent("b")])
        assert isinstance(await failure_of(log), StoreError)
    assert await stored(place) == []
    assert place.sql("SELECT count(*) FROM orders") == [(0,)]


async def test_facts_whose_rows_cannot_be_written_are_not_stored(place: Place) -> None:
    """The projection's table is gone: event, row and checkpoint stand or fall together."""
    async with opened_log(place, fails=True) as log:
        await log.append(intent("a"))
        place.sql("ALTER TABLE fills RENAME TO gone")
        with pytest.raises(OmsError, match="fills"):
            await log.append_together([gap(), execution("e.01.01")])
        assert isinstance(await failure_of(log), OmsError)
    assert place.sql("SELECT sequence FROM events") == [(1,)]
    assert place.sql("SELECT DISTINCT sequence FROM checkpoints") == [(1,)]


# ── natural keys ─────────────────────────────────────────────────────────────────────────────────


async def test_same_fact_again_is_not_stored_again(place: Place) -> None:
    """An execution that was pushed comes again in the answer to a query, even after a restart."""
    pushed, fetched = execution("e.01"), execution("e.01", fetched=True)
    async with opened_log(place) as log:
        assert await log.append(pushed) == Receipt(1)
        assert await log.append(fetched) == Receipt(1, duplicate=True)
    async with opened_log(place) as log:
        assert await log.append(fetched) == Receipt(1, duplicate=True)
        assert await log.append(gap()) == Receipt(2)


async def test_duplicates_inside_one_transaction_are_stored_once(place: Place) -> None:
    """A burst carries the same commission three times, alone and in a group."""
    async with opened_log(place) as log:
        futures = [log.append(commission("e.01")), log.append(commission("e.01"))]
        group = log.append_together([commission("e.01"), commission("e.02")])
        receipts = await asyncio.gather(*futures)
        assert receipts == [Receipt(1), Receipt(1, duplicate=True)]
        assert await group == (Receipt(1, duplicate=True), Receipt(2))


async def test_other_fact_under_a_stored_key_is_kept_as_a_conflict(place: Place) -> None:
    """An order id is intended twice with different terms: both texts are kept, the second is no
    intent.
    """
    async with opened_log(place) as log:
        await log.append(intent("order-1", 100))
        receipt = await log.append(intent("order-1", 200))
        order = log.books.order("order-1")
    assert receipt == Receipt(2, conflict=True)
    assert order is not None
    assert order.terms.quantity == 100
    conflict = (await stored(place))[1].event
    assert isinstance(conflict, NaturalKeyConflict)
    assert conflict.stored_sequence == 1
    assert codec.decode(conflict.type_name, 1, conflict.payload) == intent("order-1", 200).event


async def test_what_contradicts_a_stored_fact_again_is_stored_once(place: Place) -> None:
    """A broker alternates between two prices of one execution: both are kept, each once."""
    async with opened_log(place) as log:
        await log.append(execution("e.01", price="10.25"))
        other, third = execution("e.01", price="11"), execution("e.01", price="12")
        assert await log.append(other) == Receipt(2, conflict=True)
        assert await log.append(other) == Receipt(2, conflict=True)
        assert await log.append(third) == Receipt(3, conflict=True)
    async with opened_log(place) as log:
        group = log.append_together([third, execution("e.01", price="10.25"), other])
        assert await group == (
            Receipt(3, conflict=True),
            Receipt(1, duplicate=True),
            Receipt(2, conflict=True),
        )


async def test_same_exec_id_in_two_accounts_is_two_facts(place: Place) -> None:
    """The natural key of an execution contains its account."""
    other = execution("e.01")
    event = other.event.evolve(account="DU7654321")
    async with opened_log(place) as log:
        await log.append(execution("e.01"))
        assert await log.append(Pending(event, other.context)) == Receipt(2)


# ── guards below the program ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET payload = '{}' WHERE sequence = 2",
        "UPDATE events SET wire = NULL",
        "DELETE FROM events WHERE sequence = 3",
        "DELETE FROM events",
    ],
)
async def test_database_refuses_to_change_events(place: Place, statement: str) -> None:
    """Whatever program is used, an event is neither updated nor deleted."""
    await filled(place, [gap(), gap(), gap()])
    with pytest.raises(OmsError, match="append-only"):
        place.sql(statement)
    assert audit.verify(place.url).events == 3


async def test_database_refuses_to_replace_or_empty(place: Place) -> None:
    """SQLite's INSERT OR REPLACE fires no delete trigger; PostgreSQL has TRUNCATE."""
    await filled(place, [gap(), gap(), execution("e.01")])
    if place.is_sqlite:
        again = "INSERT OR REPLACE INTO events SELECT * FROM events WHERE sequence = 2"
        columns = (
            "type, version, recorded_at, occurred_at, lease_epoch, session_epoch, actor, "
            "correlation_id, causation_sequence, natural_key, hash, payload, wire"
        )
        by_key = f"INSERT OR REPLACE INTO events SELECT 4, {columns} FROM events WHERE sequence = 3"
        statements = [again, by_key]
    else:
        statements = ["TRUNCATE events"]
    for statement in statements:
        with pytest.raises(OmsError, match="append-only"):
            place.sql(statement)
    assert audit.verify(place.url).events == 3


# ── other programs ───────────────────────────────────────────────────────────────────────────────


async def test_idle_daemon_notices_what_a_shell_appended(place: Place) -> None:
    """A foreign append reaches the subscribers, the books and the rows like an own one."""
    async with opened_log(place, lease=lease()) as log:
        seen: asyncio.Queue[Committed] = asyncio.Queue()
        log.subscribe(seen.put_nowait)
        receipts = await asyncio.to_thread(
            append_foreign, place.url, [intent("by-shell")], clock=SystemClock()
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            committed = await seen.get()
        assert [e.sequence for e in committed.envelopes] == [receipts[0].sequence]
        assert committed.envelopes[0].lease_epoch == 0
        assert set(committed.changes["orders"]) == {"by-shell"}
        assert (await log.append(gap())).sequence == 2
    assert rebuilt_equal(place)


async def test_foreign_append_without_a_daemon_stores_nothing(place: Place) -> None:
    """No lease, a released one, and another account's: each time the shell is told so."""

    def by_shell(prefix: str = "") -> list[Receipt]:
        return append_foreign(
            place.url, [intent("x")], clock=SystemClock(), lease_name_prefix=prefix
        )

    with pytest.raises(DaemonNotRunning):
        by_shell()
    async with opened_log(place, lease=lease("DU1/7")):
        with pytest.raises(DaemonNotRunning):
            await asyncio.to_thread(by_shell, "DU2/")
    with pytest.raises(DaemonNotRunning):
        by_shell()
    assert await stored(place) == []


async def test_two_daemons_on_one_log_keep_the_same_books(place: Place, seed: int) -> None:
    """Two writers take turns with the same orders; each folds what the other wrote, once."""
    rnd = random.Random(seed)
    small = {"resident_records_max": 4}
    async with (
        opened_log(place, lease=lease("A"), **small) as one,
        opened_log(place, lease=lease("B"), **small) as two,
    ):
        for fact in lives(seed, 40):
            await rnd.choice((one, two)).append(fact)
        await one.append(gap())
        await two.append(gap())
    assert rebuilt_equal(place)


# ── the lease ────────────────────────────────────────────────────────────────────────────────────


async def test_second_daemon_is_refused_and_told_who_runs(place: Place) -> None:
    """The message names holder, host and process, and how fresh the sign of life is."""
    async with opened_log(place, lease=lease(holder="first")):
        with pytest.raises(LeaseHeld, match=rf"first on .*process {os.getpid()}, .* s old"):
            await EventLog.open(place.url, clock=SystemClock(), lease=lease(holder="second"))
        async with opened_log(place, lease=lease("DU1/8")) as other:
            assert other.lease_epoch == 1


async def test_released_lease_is_taken_with_the_next_epoch(place: Place) -> None:
    """Epochs are never used twice, and are on every event."""
    for epoch in (1, 2, 3):
        async with opened_log(place, lease=lease()) as log:
            await log.append(gap())
            assert log.lease_epoch == epoch
    assert [e.lease_epoch for e in await stored(place)] == [1, 2, 3]


async def test_lease_of_a_dead_process_on_this_host_is_taken_at_once(place: Place) -> None:
    """A daemon that was killed a moment ago does not keep its successor waiting."""
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    claim(place, process_id=gone.pid, host=socket.gethostname())
    async with opened_log(place, lease=lease()) as log:
        assert log.lease_epoch == 6


async def test_lease_of_another_host_ends_when_no_heartbeat_came_while_it_was_watched(
    place: Place,
) -> None:
    """A process of another machine cannot be asked, and its clock may be set: silence decides that
    this program has listened to, for all the seconds of the lease.
    """
    claim(place, process_id=1, host="elsewhere")
    clock = ManualClock(START + timedelta(seconds=9))
    with pytest.raises(LeaseHeld, match="elsewhere"):
        await EventLog.open(place.url, clock=clock, lease=lease())
    clock.step(-3600)
    async with watching(place, clock) as opening:
        clock.advance(9.9)
        await asyncio.sleep(
            0.15
        )  # two looks of the thread, which has a clock of its own to sleep by
        assert not opening.done()
        clock.advance(0.1)
        log = await opening
        assert log.lease_epoch == 6
        await log.close()


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_lease_of_a_daemon_that_lives_is_not_taken_when_a_clock_is_set(
    place: Place, step: int
) -> None:
    """Its last heartbeat looks an hour old, or of the future; the next one, whatever it says, is a
    sign of life.
    """
    claim(place, process_id=1, host="elsewhere")
    clock = ManualClock(START)
    clock.step(step)
    async with watching(place, clock) as opening:
        clock.advance(9)
        text = codec.time_text(START + timedelta(seconds=3))
        place.sql("UPDATE leases SET heartbeat_at = ?", (text,))
        with pytest.raises(LeaseHeld, match="elsewhere"):
            await opening


async def test_a_start_that_watches_a_lease_can_be_given_up(place: Place) -> None:
    """Ctrl-C does not wait for the end of another's lease."""
    claim(place, process_id=1, host="elsewhere")
    async with watching(place, ManualClock(START + timedelta(hours=1))) as opening:
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert place.sql("SELECT epoch FROM leases") == [(5,)]


async def test_a_daemon_is_sure_of_its_lease_for_less_than_its_length(place: Place) -> None:
    """Counted from before the renewal was asked for, by the clock that counts more."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock, poll_seconds=60) as log:
        assert log.holds_lease()
        clock.advance(7.9)
        assert log.holds_lease()
        clock.advance(0.1)
        assert not log.holds_lease()
        await log.append(gap())
        assert log.holds_lease()
        clock.step(9)  # a virtual machine that was paused: only its wall clock knows
        assert not log.holds_lease()


async def test_heartbeat_is_written_while_idle(place: Place) -> None:
    """A daemon with nothing to append stays the holder."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock) as log:
        clock.advance(4)
        await eventually(lambda: heartbeat(place) == START + timedelta(seconds=4))
        assert not log.failed.done()
    assert heartbeat(place) is None


async def test_daemon_that_lost_its_lease_writes_nothing_more(place: Place) -> None:
    """It was suspended for a minute; another took over. The first finds out before it appends."""
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock, fails=True) as first:
        await first.append(gap("mine"))
        place.sql("UPDATE leases SET epoch = 2, holder = 'the other'")
        with pytest.raises((LeaseLost, StoreUnavailable), match="taken over by the other"):
            await first.append(gap("too late"))
        assert isinstance(await failure_of(first), LeaseLost)
        with pytest.raises(StoreUnavailable) as caught:
            first.append(gap("far too late"))
        assert caught.value.hint == LeaseLost.default_hint
    assert len(await stored(place)) == 1
    assert place.sql("SELECT heartbeat_at IS NULL FROM leases") == [(False,)]


async def test_idle_daemon_notices_that_its_lease_is_gone(place: Place) -> None:
    """Nothing needs to be appended for it to stop, and no heartbeat needs to be due."""
    async with opened_log(place, lease=lease(), clock=ManualClock(START), fails=True) as log:
        await log.append(gap())
        place.sql("UPDATE leases SET epoch = 2, holder = 'the other'")
        assert isinstance(await failure_of(log), LeaseLost)


# ── failing ──────────────────────────────────────────────────────────────────────────────────────


async def test_full_disk_is_loud(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit fails: its facts are refused, so is every later one, and `failed` says why."""
    if place.is_sqlite:
        pages = place.sql("SELECT page_count FROM pragma_page_count")[0][0]
        tight = f"PRAGMA max_page_count = {pages + 4}"
        pragmas = (*backend.SQLITE_WRITE_PRAGMAS, tight)
        monkeypatch.setattr(backend, "SQLITE_WRITE_PRAGMAS", pragmas)
    async with opened_log(place, fails=True) as log:
        if not place.is_sqlite:
            place.refuse_inserts_of("GapOpened", "could not extend file: No space left on device")
        with pytest.raises(StoreUnavailable, match=r"full|No space") as caught:
            await asyncio.gather(*(log.append(gap("x" * 2000)) for _ in range(20)))
        assert "free space" in caught.value.hint
        assert backend.place_of(backend.parse_url(place.url)) in caught.value.message
        assert caught.value.transient
        assert await failure_of(log) is caught.value
        with pytest.raises(StoreUnavailable, match="failed"):
            log.append(gap())
        with pytest.raises(StoreUnavailable):
            await log.flush()
    assert audit.verify(place.url).events == len(await stored(place))


async def test_database_that_stays_locked_is_loud(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the write lock longer than we wait."""
    _be_impatient(monkeypatch)
    async with opened_log(place, fails=True) as log:
        with (
            closing(backend.connect(backend.parse_url(place.url))) as other,
            other.writing(),
            pytest.raises(StoreLocked, match="another program") as caught,
        ):
            await log.append(gap())
        assert backend.place_of(backend.parse_url(place.url)) in caught.value.message
        assert await failure_of(log) is caught.value


@pytest.mark.parametrize("whole", [True, False], ids=["the database", "a table"])
async def test_database_that_another_program_holds_for_a_while_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Nothing is lost, and how long it lasts can be asked."""
    _be_impatient(monkeypatch)
    async with opened_log(place, lock_seconds_max=60) as log:
        with closing(backend.connect(backend.parse_url(place.url))) as other:
            if whole or place.is_sqlite:
                other.execute("BEGIN IMMEDIATE" if place.is_sqlite else "BEGIN")
                if not place.is_sqlite:
                    other.rows(f"SELECT pg_advisory_xact_lock({backend.ADVISORY_LOCK})")
            else:
                other.execute("BEGIN")
                other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            waiting = log.append(gap())
            async with asyncio.timeout(30):
                # Several attempts long.
                while log.stalled_seconds < 0.5:  # noqa: ASYNC110  # another thread's state
                    await asyncio.sleep(0.01)
            assert not waiting.done()
            other.execute("ROLLBACK")
        receipt = await waiting
        assert not log.failed.done()
    assert (await stored(place))[-1].sequence == receipt.sequence


async def test_start_waits_for_a_database_that_another_program_holds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be_impatient(monkeypatch)
    with closing(backend.connect(backend.parse_url(place.url))) as other:
        with other.writing():
            opening = asyncio.create_task(
                EventLog.open(place.url, clock=SystemClock(), lease=lease(), lock_seconds_max=60)
            )
            # Several attempts long.
            done, _ = await asyncio.wait({opening}, timeout=0.8)
            assert not done
        log = await opening
    assert log.holds_lease()
    await log.close()


async def test_start_gives_up_a_database_that_stays_held_and_holds_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be_impatient(monkeypatch)
    with (
        closing(backend.connect(backend.parse_url(place.url))) as other,
        other.writing(),
        pytest.raises(StoreLocked, match="OMS_DATABASE_LOCK_SECONDS_MAX"),
    ):
        await EventLog.open(place.url, clock=SystemClock(), lease=lease(), lock_seconds_max=0.1)
    async with opened_log(place, lease=lease()):
        pass


async def test_lease_is_renewed_with_the_first_commit_after_a_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait was longer than the lease: what follows it may leave at once."""
    _be_impatient(monkeypatch)
    clock = ManualClock(START)
    async with opened_log(place, lease=lease(), clock=clock, lock_seconds_max=3600) as log:
        with closing(backend.connect(backend.parse_url(place.url))) as other, other.writing():
            waiting = log.append(gap())
            async with asyncio.timeout(30):
                while log._writer.patience.began_at is None:  # noqa: ASYNC110  # of a thread
                    await asyncio.sleep(0.01)
            clock.advance(60)
            assert not log.holds_lease()
        await waiting
        assert log.holds_lease()


async def test_end_of_a_daemon_waits_no_longer_for_a_database_that_is_held(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _be_impatient(monkeypatch)
    async with opened_log(place, lock_seconds_max=3600, fails=True) as log:
        with closing(backend.connect(backend.parse_url(place.url))) as other, other.writing():
            waiting = log.append(gap())
            async with asyncio.timeout(30):
                await log.close()
        with pytest.raises(StoreLocked):
            await waiting


def _be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one attempt at a lock be short."""
    monkeypatch.setattr(backend, "BUSY_TIMEOUT_SECONDS", 0.1)
    quick = tuple(
        "PRAGMA busy_timeout = 100" if "busy_timeout" in p else p
        for p in backend.SQLITE_WRITE_PRAGMAS
    )
    monkeypatch.setattr(backend, "SQLITE_WRITE_PRAGMAS", quick)


@pytest.mark.parametrize("undone", [False, True], ids=["undoing works", "undoing fails"])
def test_transaction_that_fails_leaves_nothing_and_raises_its_own_error(
    place: Place, undone: bool
) -> None:
    """It is the first error that says what went wrong."""

    def fail(connection: backend.Connection) -> None:
        with connection.writing():
            connection.execute("INSERT INTO checkpoints (name, sequence, hash) VALUES ('x', 1, '')")
            if undone:
                connection.execute("ROLLBACK")
            raise ZeroDivisionError

    with closing(backend.connect(backend.parse_url(place.url))) as connection:
        with pytest.raises(ZeroDivisionError):
            fail(connection)
        with connection.writing():
            pass  # the connection is fit for the next one
    assert place.sql("SELECT name FROM checkpoints") == []


async def test_read_only_database_is_loud(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a log that cannot be written is refused; nothing is left running."""
    if place.is_sqlite:
        pragmas = (*backend.SQLITE_WRITE_PRAGMAS, "PRAGMA query_only = ON")
        monkeypatch.setattr(backend, "SQLITE_WRITE_PRAGMAS", pragmas)
        # Whoever runs the tests may be one to whom every file is writable.
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        name = place.sql("SELECT current_database()")[0][0]
        place.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with pytest.raises(StoreUnavailable, match=r"read-?only") as caught:
        await EventLog.open(place.url, clock=SystemClock(), lease=lease())
    assert "writable" in caught.value.hint


async def test_full_queue_is_loud_and_keeps_what_it_took(place: Place) -> None:
    """More facts wait than allowed: the next is refused, the log fails, the others are stored."""
    async with opened_log(place, fails=True, queue_length_max=10) as log:
        taken = [log.append(gap()) for _ in range(10)]
        with pytest.raises(StoreUnavailable, match="wait for the disk"):
            log.append(gap())
        assert isinstance(await failure_of(log), StoreUnavailable)
        receipts = await asyncio.gather(*taken)
        with pytest.raises(StoreUnavailable):
            log.append(gap())
    assert [r.sequence for r in receipts] == list(range(1, 11))
    assert len(await stored(place)) == 10


async def test_fact_that_breaks_the_fold_is_stored_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours stops the daemon, but does not cost the message that shows it."""
    true_apply = folds.apply

    def apply(books: Books, envelope: Envelope, **rest: Any) -> Books:
        if isinstance(envelope.event, GapClosed):
            raise ZeroDivisionError("a bug")
        return true_apply(books, envelope, **rest)

    closed = Pending(GapClosed(cause="1102", opened_sequence=1), Context("daemon"))
    with monkeypatch.context() as patched:
        patched.setattr(folds, "apply", apply)
        async with opened_log(place, fails=True) as log:
            await log.append(gap())
            with pytest.raises(InvariantBroken, match="ZeroDivisionError: a bug"):
                await log.append(closed)
            assert isinstance(await failure_of(log), InvariantBroken)
        assert [e.event for e in await stored(place)] == [gap().event, closed.event]
        with pytest.raises(InvariantBroken):
            await EventLog.open(place.url, clock=SystemClock(), lease=None)
    async with opened_log(place) as log:
        assert log.books.sequence == 2
    assert rebuilt_equal(place)


async def test_failing_subscriber_stops_the_log(place: Place) -> None:
    """Whoever raises has missed a fact; the receipt is true all the same."""

    def broken(_: Committed) -> None:
        raise ZeroDivisionError("a bug")

    async with opened_log(place, fails=True) as log:
        log.subscribe(broken)
        assert (await log.append(gap())).sequence == 1
        assert isinstance(await failure_of(log), ZeroDivisionError)


async def test_unsubscribed_callback_hears_nothing_more(place: Place) -> None:
    """Ending a subscription twice is no error."""
    seen: list[Committed] = []
    async with opened_log(place) as log:
        end = log.subscribe(seen.append)
        await log.append(gap())
        end()
        end()
        await log.append(gap())
    assert len(seen) == 1


async def test_fact_that_cannot_be_stored_is_refused_at_hand_over(place: Place) -> None:
    """A header with a separator in it would read as two; its caller hears at once."""
    async with opened_log(place) as log:
        with pytest.raises(ValueError, match="printable"):
            log.append(Pending(gap().event, Context("person:\x1f")))
        assert (await log.append(gap())).sequence == 1


async def test_database_without_tables_is_refused(place: Place) -> None:
    """The daemon never writes into a database of another version."""
    place.sql("ALTER TABLE events ADD COLUMN of_tomorrow TEXT")
    place.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationNeeded, match="9999"):
        await EventLog.open(place.url, clock=SystemClock(), lease=None)


# ── the test world ───────────────────────────────────────────────────────────────────────────────


def lease(name: str = "DU1/7", holder: str = "test") -> LeaseRequest:
    return LeaseRequest(name, holder, socket.gethostname(), os.getpid())


@asynccontextmanager
async def opened_log(
    place: Place, *, clock: Clock | None = None, fails: bool = False, **options: Any
) -> AsyncIterator[EventLog]:
    """Open the log for a test, and check at the end that it failed only where it should."""
    clock = clock if clock is not None else SystemClock()
    log = await EventLog.open(
        place.url, clock=clock, **{"lease": None, "poll_seconds": 0.005, **options}
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield log
        assert log.failed.done() == fails, log.failed
    finally:
        await log.close()


async def failure_of(log: EventLog) -> BaseException | None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.wait([log.failed])
    return log.failed.exception()


async def filled(place: Place, facts: Sequence[Pending]) -> None:
    async with opened_log(place) as log:
        await log.append_together(facts)


async def stored(place: Place) -> list[Envelope]:
    reader = await Reader.open(place.url)
    try:
        return await reader.events(limit=1_000_000)
    finally:
        await reader.close()


def rebuilt_equal(place: Place) -> bool:
    from oms.store.rebuild import rebuild_check

    result = rebuild_check(place.url)
    assert result.first_difference is None, result
    return result.equal


@asynccontextmanager
async def watching(place: Place, clock: Clock) -> AsyncIterator[asyncio.Task[EventLog]]:
    """Open a log whose lease is another's, and go on once it was looked at."""
    opening = asyncio.create_task(EventLog.open(place.url, clock=clock, lease=lease()))
    await asyncio.sleep(0.3)
    assert not opening.done()
    yield opening
    if not opening.done():
        opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)


def claim(place: Place, *, process_id: int, host: str) -> None:
    """Put the claim of a daemon into the table that was alive at START."""
    place.sql(
        "INSERT INTO leases (name, holder, host, process_id, epoch, seconds, heartbeat_at)"
        " VALUES ('DU1/7', 'earlier', ?, ?, 5, 10, ?)",
        (host, process_id, codec.time_text(START if host == "elsewhere" else datetime.now(UTC))),
    )


def heartbeat(place: Place) -> datetime | None:
    text = place.sql("SELECT heartbeat_at FROM leases")[0][0]
    return None if text is None else datetime.fromisoformat(text)


async def eventually(condition: Any) -> None:
    """Wait for a condition that only another connection can see, a poll at a time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # a database has no event
            await asyncio.sleep(0)


@asynccontextmanager
async def child_appender(place: Place, name: str, count: int) -> AsyncIterator[programs.Program]:
    """Run an appender; whatever happens in the test, it ends with it."""
    words = (place.url, name, str(count))
    child = await programs.start("tests.conformance.appender", *words)
    try:
        yield child
    finally:
        child.kill()
        await child.wait()


async def lines_of(child: programs.Program, count: int | None = None) -> list[str]:
    """Return the next lines of a child, all that are left where no count is given."""
    lines: list[str] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while count is None or len(lines) < count:
            line = await child.stdout.readline()
            if not line.endswith(b"\n"):
                break
            lines.append(line.decode().strip())
    return lines


async def appended(place: Place, name: str, count: int) -> list[str]:
    async with child_appender(place, name, count) as child:
        lines = await lines_of(child)
        assert await child.wait() == 0
    assert len(lines) == count
    return lines


async def test_a_follower_has_every_record_and_misses_no_commit(place: Place) -> None:
    """Records are copied in the thread that changes them, while facts stream in."""
    async with opened_log(place) as log:
        before = [log.append(intent(f"before-{n}")) for n in range(200)]
        heard: list[Committed] = []
        following = asyncio.create_task(log.follow(heard.append))
        await asyncio.sleep(0)
        after = [log.append(intent(f"after-{n}")) for n in range(200)]
        records = await following
        await asyncio.gather(*before, *after)
        await log.flush()
    known = {r.key for r in records if isinstance(r, Order)}
    known |= {key for one in heard for key in one.changes.get("orders", {})}
    assert known == {f"{name}-{n}" for name in ("before", "after") for n in range(200)}
