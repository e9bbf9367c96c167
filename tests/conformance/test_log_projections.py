"""The projection rows equal a fold of the whole log, however the log came about."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from datetime import timedelta

import pytest

from oms.clock import ManualClock, SystemClock
from oms.core.compare.findings import Thing
from oms.core.events import (
    AlarmCleared,
    AlarmRaised,
    BreakClosed,
    BreakOpened,
    Context,
    Pending,
)
from oms.core.fold.records import Alarm, Anomaly, Fill, Order
from oms.errors import (
    ChainBroken,
    ConfigurationError,
    DatabaseDamaged,
    LeaseHeld,
    NotFound,
    StoreError,
)
from oms.store import rebuild
from oms.store.audit import verify
from oms.store.backend import connect, parse_url
from oms.store.differences import Difference
from oms.store.log import append_foreign
from oms.store.reader import Reader
from tests.conformance.conftest import Place
from tests.conformance.facts import (
    ACCOUNT,
    BROKER,
    NOON,
    commission,
    execution,
    gap,
    intent,
    lives,
    opened,
    sent,
    session,
    status,
)
from tests.conformance.test_event_log import filled, lease, opened_log, rebuilt_equal


async def test_rebuild_equals_the_live_projections(place: Place, seed: int) -> None:
    """Many lives in batches of every size, over restarts, with next to nothing kept in memory."""
    rnd = random.Random(seed)
    facts = list(lives(seed, 60))
    while facts:
        async with opened_log(place, resident_records_max=4, batch_rows_max=7) as log:
            for _ in range(rnd.randrange(1, 12)):
                size = rnd.choice((1, 1, 3, 40))
                await asyncio.gather(*(log.append(f) for f in facts[:size]))
                del facts[:size]
    assert rebuilt_equal(place)
    whole = rebuild.rebuild_check(place.url, resident_records_max=3)
    assert whole.equal
    assert whole.tables["orders"] == 60


async def test_ended_orders_leave_memory_and_come_back(place: Place) -> None:
    """A correction and a commission of an order that was evicted are booked on it."""
    async with opened_log(place, resident_records_max=4) as log:
        await log.append(session())
        await log.append(intent("first"))
        await log.append(execution("e.01.01", order_id="first"))
        await log.append(status(1, "Filled", 100, 0))
        for number in range(2, 30):
            await log.append(intent(f"other-{number}"))
            await log.append(
                execution(f"x.{number}.01", order_id=f"other-{number}", broker_order_id=number)
            )
            await log.append(status(number, "Filled", 100, 0))
        assert log.books.order("first") is None
        await log.append(commission("e.01.01", "2.50"))
        await log.append(execution("e.01.02", order_id="first", price="11"))
    reader = await Reader.open(place.url)
    order = await reader.one("orders", "first")
    await reader.close()
    assert isinstance(order, Order)
    assert (order.filled, order.notional) == (100, 1100)
    assert [str(amount) for _, amount in order.commissions] == ["2.50"]
    assert rebuilt_equal(place)


async def test_orders_and_fills_of_others_leave_memory_and_are_still_theirs(place: Place) -> None:
    """A gateway may show any number of them; none of ours takes the number or the key of one."""
    async with opened_log(place, resident_records_max=4) as log:
        await log.append(session())
        for number in range(1, 60):
            shown = opened(f"strat-{number}", number).event.evolve(client_id=9)
            await log.append(Pending(shown, BROKER))
            await log.append(
                execution(f"e.{number}.01", order_id=f"strat-{number}", broker_order_id=number)
            )
            held = log.books.tables
            assert len(held["unknown_orders"]) + len(held["fills"]) < 12
        await log.append(intent("strat-1"))
        assert log.books.tables["orders"]["strat-1"].named
        await log.append(intent("ours"))
        await log.append(sent("ours", 1))
        await log.append(status(1, "Submitted"))
        assert log.books.order("ours").perm_ids == ()
    assert rebuilt_equal(place)


async def test_fills_are_read_and_counted_by_where_they_were_booked(place: Place) -> None:
    """The newest first below a sequence, and the number of all the others by account."""
    clock = ManualClock(NOON)
    async with opened_log(place, clock=clock) as log:
        await log.append(session())
        booked = []
        for number in range(6):
            clock.advance(60)
            told = execution(f"e.{number}.01", order_id=f"o-{number}").event
            told = told.evolve(account=f"DU{number % 2}")
            booked.append((await log.append(Pending(told, BROKER))).sequence)
    reader = await Reader.open(place.url)
    try:
        newest = await reader.highest("fills", "booked_sequence", booked[5], limit=2)
        assert [fill.booked_sequence for fill in newest if isinstance(fill, Fill)] == booked[4:2:-1]
        counts = await reader.tally("fills", "account", "booked_sequence", booked[1], booked[5])
        assert counts == [("DU0", 2, booked[4]), ("DU1", 3, booked[5])]
        times = [NOON + timedelta(seconds=seconds) for seconds in (0, 60, 61, 360, 361)]
        first = [await reader.first_since(moment) for moment in times]
        assert first == [1, booked[0], booked[1], booked[5], booked[5] + 1]
    finally:
        await reader.close()


async def test_charges_without_executions_leave_memory_and_are_still_joined(place: Place) -> None:
    """A gateway may charge for any number that it never shows, and show one of them much later."""
    async with opened_log(place, resident_records_max=4) as log:
        await log.append(session())
        await log.append(intent("late"))
        for number in range(60):
            await log.append(commission(f"c.{number}.01", "1.25"))
            assert len(log.books.tables["early_commissions"]) < 12
    async with opened_log(place, resident_records_max=4) as log:
        assert len(log.books.tables["early_commissions"]) < 12
        await log.append(execution("c.7.01", order_id="late"))
        # One that was never shown itself, and whose correction is.
        await log.append(execution("c.8.02", order_id="late"))
        order = log.books.order("late")
        assert order is not None
        assert [str(amount) for _, amount in order.commissions] == ["2.50"]
    assert rebuilt_equal(place)


async def test_contradictions_leave_memory_and_a_person_closes_them_for_good(place: Place) -> None:
    """Each is a row until then; what counts many stays, because the next one adds to it."""
    async with opened_log(place, resident_records_max=4) as log:
        await log.append(session())
        first = 0
        for number in range(1, 40):
            await log.append(intent(f"o-{number}"))
            await log.append(sent(f"o-{number}", number))
            await log.append(status(number, "Cancelled"))
            late = execution(f"f.{number}.01", order_id=f"o-{number}", broker_order_id=number)
            shown = (await log.append(late)).sequence
            assert len(log.books.tables["anomalies"]) < 12
            first = first or shown
        finding = Thing(subject="message", name=str(first), account=ACCOUNT).broken(
            "contradiction", "medium", "seen"
        )
        reconciler = Context("reconciler")
        await log.append(
            Pending(BreakOpened(break_id="B1", run_id="R1", finding=finding), reconciler)
        )
        person = Context("person:eve")
        await log.append(Pending(BreakClosed(break_id="B1", reason="seen"), person))
    reader = await Reader.open(place.url)
    assert await reader.count("anomalies", {"live": 1}) == 38
    closed = await reader.one("anomalies", str(first))
    assert isinstance(closed, Anomaly)
    assert not closed.live
    await reader.close()
    assert rebuilt_equal(place)


async def test_alarm_that_was_cleared_counts_on_after_a_restart(place: Place) -> None:
    raised = AlarmRaised(
        alarm_id="clock", kind="clock_drift", subject="clock", since=NOON, text="2 s behind"
    )
    cleared = AlarmCleared(alarm_id="clock")
    watchman = Context("daemon")
    await filled(place, [Pending(raised, watchman), Pending(cleared, watchman)])
    await filled(place, [Pending(raised, watchman)])
    reader = await Reader.open(place.url)
    alarm = await reader.one("alarms", "clock")
    await reader.close()
    assert isinstance(alarm, Alarm)
    assert alarm.times == 2
    assert rebuilt_equal(place)


async def test_start_reads_live_rows_and_the_tail_only(place: Place) -> None:
    """What was appended without a projector is folded at the next start; ended orders stay out."""
    await filled(place, [session(), intent("ended"), execution("e.01", order_id="ended")])
    await filled(place, [status(1, "Filled", 100, 0), intent("at-work")])
    async with opened_log(place, projector=False) as log:
        for number in range(2500):
            log.append(gap(str(number)))
        await log.append(intent("late"))
    async with opened_log(place) as log:
        assert log.books.sequence == 2506
        assert sorted(log.books.tables["orders"]) == ["at-work", "late"]
    assert rebuilt_equal(place)


async def test_changed_row_is_found_named_and_repaired(place: Place, seed: int) -> None:
    """Somebody edits an order, deletes a fill and adds a position by hand."""
    await filled(place, list(lives(seed, 20)))
    body = place.sql("SELECT body FROM orders WHERE order_id = 'order-7'")[0][0]
    forged = body.replace('"account":"DU1234567"', '"account":"DU7654321"')
    place.sql("UPDATE orders SET body = ? WHERE order_id = 'order-7'", (forged,))
    result = rebuild.rebuild_check(place.url)
    assert (result.equal, result.differences) == (False, 1)
    assert result.first_difference == Difference("orders", "order-7", forged, body, ("account",))
    key = place.sql("SELECT fill_key FROM fills ORDER BY fill_key")[0][0]
    place.sql("DELETE FROM fills WHERE fill_key = ?", (key,))
    place.sql("INSERT INTO order_events VALUES ('order-7', 99999)")
    place.sql("INSERT INTO positions (position_key, live, body) VALUES ('x', 1, '{}')")
    assert rebuild.rebuild_check(place.url).differences == 4
    repaired = rebuild.rebuild(place.url)
    assert (repaired.equal, repaired.differences) == (False, 4)
    assert rebuilt_equal(place)
    assert rebuild.rebuild(place.url).equal


async def test_an_edited_column_is_named_though_the_record_is_the_same(place: Place) -> None:
    await filled(place, [intent("order-1")])
    place.sql("UPDATE orders SET symbol = 'IBM' WHERE order_id = 'order-1'")
    found = rebuild.rebuild_check(place.url).first_difference
    assert found is not None
    assert (found.key, found.fields) == ("order-1", ("symbol",))
    place.sql("UPDATE orders SET body = 'no record' WHERE order_id = 'order-1'")
    found = rebuild.rebuild_check(place.url).first_difference
    assert found is not None
    assert found.fields == ("body",)


async def test_damaged_rows_are_swapped_beside_a_daemon_and_readers(
    place: Place, seed: int
) -> None:
    """A reader sees the old rows or the new ones, never a mixture; the daemon goes on appending
    and loads its books again.
    """
    facts = list(lives(seed, 40))
    seen: set[int] = set()
    async with opened_log(place, lease=lease()) as log:
        await asyncio.gather(*(log.append(f) for f in facts[:200]))
        whole = place.sql("SELECT count(*) FROM orders")[0][0]
        place.sql("DELETE FROM orders")
        place.sql("INSERT INTO positions (position_key, live, body) VALUES ('x', 0, '{}')")
        over = asyncio.Event()
        reader = asyncio.create_task(_read_until(over, place, seen))
        swap = asyncio.create_task(asyncio.to_thread(rebuild.rebuild, place.url))
        for fact in facts[200:]:
            await log.append(fact)
        result = await swap
        over.set()
        await reader
        assert not result.equal
        assert result.differences > 1
        await log.append(intent("after-the-swap"))
    assert min(seen) < whole <= max(seen)
    assert rebuilt_equal(place)
    assert place.sql("SELECT count(*) FROM events WHERE type = 'ProjectionsRebuilt'")[0][0] >= 1
    verify(place.url)


async def _read_until(over: asyncio.Event, place: Place, seen: set[int]) -> None:
    reader = await Reader.open(place.url, checked=False)
    try:
        while not over.is_set():
            seen.add(await reader.count("orders"))
    finally:
        await reader.close()


async def test_more_than_a_daemon_can_wait_for_is_not_swapped_beside_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "SWAP_ROWS_MAX", 0)
    async with opened_log(place, lease=lease()) as log:
        await log.append(intent("order-1"))
        assert (await asyncio.to_thread(rebuild.rebuild, place.url)).equal
        place.sql("DELETE FROM orders")
        with pytest.raises(LeaseHeld, match="in memory"):
            await asyncio.to_thread(rebuild.rebuild, place.url)
        assert place.sql("SELECT count(*) FROM orders") == [(0,)]


async def test_rebuild_does_not_write_over_the_end_of_a_log_that_was_cut(place: Place) -> None:
    """What a rebuild appends would hide that events are missing before it."""
    await filled(place, [intent("order-1"), gap(), gap()])
    place.remove_guards()
    place.sql("DELETE FROM events WHERE sequence = 3")
    place.sql("DELETE FROM orders")
    with pytest.raises(ChainBroken, match="ends at 2, but 3"):
        rebuild.rebuild(place.url)
    assert place.sql("SELECT count(*) FROM orders") == [(0,)]
    with pytest.raises(ChainBroken):
        verify(place.url)


async def test_check_runs_beside_a_daemon_that_appends(place: Place, seed: int) -> None:
    """The comparison is made in one snapshot, at the sequence that the rows have reached."""
    async with opened_log(place) as log:
        facts = list(lives(seed, 40))
        receipts = await asyncio.gather(*(log.append(f) for f in facts[:100]))
        check = asyncio.create_task(asyncio.to_thread(rebuild.rebuild_check, place.url))
        for fact in facts[100:]:
            await log.append(fact)
        result = await check
    assert result.equal, result
    assert result.events >= max(receipt.sequence for receipt in receipts)


async def test_reader_finds_events_by_each_condition(place: Place) -> None:
    """Conditions narrow, limits and directions hold, an order's story is whole."""
    await filled(
        place,
        [session(), intent("a"), intent("b"), execution("e.01.01", order_id="a"), gap()],
    )
    reader = await Reader.open(place.url)

    async def sequences(**conditions: object) -> list[int]:
        return [e.sequence for e in await reader.events(**conditions)]  # type: ignore[arg-type]

    assert await sequences() == [1, 2, 3, 4, 5]
    assert await sequences(after=2, limit=2) == [3, 4]
    assert await sequences(before=4, reverse=True) == [3, 2, 1]
    assert await sequences(type="OrderIntended") == [2, 3]
    assert await sequences(order_id="a") == [2, 4]
    assert await sequences(correlation_id="b") == [3]
    assert await sequences(session=1) == [1, 4]
    assert [e.sequence for e in await reader.order_events("a")] == [2, 4]
    assert (await reader.event(4)).context.occurred_at == NOON
    assert (await reader.head()).sequence == 5
    with pytest.raises(NotFound, match="no event 6"):
        await reader.event(6)
    await reader.close()


async def test_reader_finds_records_by_column(place: Place) -> None:
    """One value, several, none; by key, and counted."""
    await filled(place, [session(), intent("a"), intent("b", number=1), intent("c")])
    reader = await Reader.open(place.url)
    rows = await reader.rows("orders", {"symbol": "S0"})
    assert [row.key for row in rows] == ["a", "c"]
    rows = await reader.rows("orders", {"symbol": ["S0", "S1"], "live": True}, reverse=True)
    assert [row.key for row in rows] == ["c", "b", "a"]
    assert [r.key for r in await reader.rows("orders", order="symbol", limit=1)] == ["a"]
    one = await reader.one("orders", "b")
    assert isinstance(one, Order)
    assert one.contract.symbol == "S1"
    assert await reader.one("orders", "z") is None
    assert await reader.count("orders", {"live": True}) == 3
    await reader.close()


@pytest.mark.parametrize("change", ["state = 'FILLED'", "body = replace(body, '100', '900')"])
async def test_reader_shows_no_row_that_was_altered(place: Place, change: str) -> None:
    await filled(place, [session(), intent("order"), intent("sound")])
    with closing(connect(parse_url(place.url))) as connection:
        connection.execute(f"UPDATE orders SET {change} WHERE order_id = 'order'")
    reader = await Reader.open(place.url)
    assert await reader.one("orders", "sound") is not None
    for read in (reader.one("orders", "order"), reader.rows("orders")):
        with pytest.raises(DatabaseDamaged, match="the row 'order' of orders"):
            await read
    await reader.close()


async def test_an_event_that_was_appended_once_is_not_just_not_found(place: Place) -> None:
    await filled(place, [session(), intent("order")])
    reader = await Reader.open(place.url)
    place.remove_guards()
    place.sql("DELETE FROM events WHERE sequence = 2")
    with pytest.raises(ChainBroken, match="2 events were appended"):
        await reader.event(2)
    with pytest.raises(NotFound):
        await reader.event(3)
    await reader.close()


async def test_reader_neither_waits_for_the_writer_nor_writes(place: Place) -> None:
    """While a transaction is open, readers see the state before it; their connections refuse to
    write.
    """
    await filled(place, [gap()])
    reader = await Reader.open(place.url)
    writer = connect(parse_url(place.url))
    with writer.writing():
        writer.execute("UPDATE leases SET holder = 'x'")
        assert (await reader.head()).sequence == 1
    writer.close()
    await reader.close()
    connection = connect(parse_url(place.url), "read")
    # SQLite says the same of a file of a later version.
    with pytest.raises(StoreError, match=r"read-?only|may not write"):
        connection.execute("DELETE FROM orders")
    connection.close()


async def test_leases_are_shown_to_readers(place: Place) -> None:
    """`oms status` says which daemon runs, and whether it shows signs of life."""
    async with opened_log(place, lease=lease(holder="the daemon")):
        reader = await Reader.open(place.url)
        (found,) = await reader.leases()
        assert (found.name, found.holder, found.epoch) == ("DU1/7", "the daemon", 1)
        assert found.heartbeat_at is not None
        assert found.held(found.heartbeat_at + timedelta(seconds=9), found.host)
        assert not found.held(found.heartbeat_at + timedelta(seconds=10), found.host)
        await reader.close()


async def test_foreign_append_to_an_unprojected_tail_is_folded_once(place: Place) -> None:
    """A shell appends while the daemon is busy with its own batch."""
    async with opened_log(place, lease=lease(), poll_seconds=5) as log:
        await log.append(session())
        await asyncio.to_thread(append_foreign, place.url, [intent("a")], clock=SystemClock())
        receipts = await log.append_together([execution("e.01", order_id="a"), gap()])
        order = log.books.order("a")
    assert [r.sequence for r in receipts] == [3, 4]
    assert order is not None
    assert order.filled == 100
    assert rebuilt_equal(place)


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///x?a=b", "://"]
)
def test_databases_that_cannot_hold_a_log_are_refused(url: str) -> None:
    """Another engine, or a database that would not last."""
    with pytest.raises(ConfigurationError):
        parse_url(url)
