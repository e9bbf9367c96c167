"""The watchman's rules: what is raised, since when, and when it is cleared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from oms.core.contracts import Contract
from oms.core.events import AlarmCleared, AlarmRaised, Terms
from oms.core.fold.records import Alarm, Order, OrderState, Position, SystemRecord
from oms.core.resets import windows_of
from oms.core.watch import Tolerances, conditions, news

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AAPL = Contract(con_id=1, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
TOLERANCES = Tolerances(
    order_silence=timedelta(seconds=30),
    order_waiting=timedelta(hours=24),
    watched_accounts=(),
    foreign_orders=True,
    clock_drift=timedelta(seconds=2),
    outage=timedelta(seconds=120),
    recovery=timedelta(seconds=120),
    price_age=timedelta(seconds=900),
    resets=windows_of("none", ("Mon 12:00-13:00 UTC",)),
)
OFF = Tolerances(None, None, (), False, None, None, None, None)


def order(state: OrderState = OrderState.WORKING, **changes: Any) -> Order:
    terms = Terms(
        side="BUY",
        quantity=Decimal(1),
        order_type=changes.pop("order_type", "LMT"),
        limit_price=Decimal(9),
    )
    made = Order(
        order_id="o1",
        origin="ours",
        account="DU1",
        contract=AAPL,
        terms=terms,
        actor="test",
        state=state,
    )
    return made.evolve(created_at=NOON, updated_at=NOON, **changes)


def kinds(
    after: float,
    *,
    system: SystemRecord | None = None,
    orders: tuple[Order, ...] = (),
    positions: tuple[Position, ...] = (),
    tolerances: Tolerances = TOLERANCES,
) -> dict[str, datetime]:
    now = NOON + timedelta(seconds=after)
    found = conditions(now, system or SystemRecord(), orders, positions, tolerances)
    return {alarm_id: one.since for alarm_id, one in found.items()}


@pytest.mark.parametrize(
    ("state", "is_owed"),
    [
        (OrderState.IN_FLIGHT, True),
        (OrderState.CANCEL_PENDING, True),
        (OrderState.MODIFY_PENDING, True),
        (OrderState.IN_DOUBT, True),
        (OrderState.WORKING, False),
        (OrderState.FILLED, False),
    ],
)
def test_silence_is_an_alarm_only_where_ib_owes_an_answer(state: OrderState, is_owed: bool) -> None:
    assert kinds(29, orders=(order(state),)) == {}
    expected = {"order_silent:o1": NOON} if is_owed else {}
    assert kinds(30, orders=(order(state),)) == expected


def test_an_order_held_back_for_a_day_is_an_alarm_unless_it_waits_for_its_trigger() -> None:
    held = order(status="PreSubmitted")
    stop = order(status="PreSubmitted", order_type="STP")
    child = order(status="PreSubmitted", parent_order_id="p")
    assert kinds(86_399, orders=(held,)) == {}
    assert kinds(86_400, orders=(held,)) == {"order_waiting:o1": NOON}
    assert kinds(86_400, orders=(stop,)) == {}
    assert kinds(86_400, orders=(child,)) == {}


def test_a_foreign_order_is_an_alarm_in_watched_accounts() -> None:
    foreign = order(origin="manual")
    assert kinds(0, orders=(foreign,)) == {"foreign_order:o1": NOON}
    elsewhere = Tolerances(None, None, ("DU2",), True, None, None, None, None)
    assert kinds(0, orders=(foreign,), tolerances=elsewhere) == {}
    assert kinds(0, orders=(order(OrderState.FILLED, origin="manual"),)) == {}


@pytest.mark.parametrize(("offset", "is_alarm"), [(1_999, False), (2_000, True), (-2_000, True)])
def test_a_clock_that_is_off_is_an_alarm_either_way(offset: int, is_alarm: bool) -> None:
    system = SystemRecord(server_offset_ms=offset, server_time_at=NOON)
    assert kinds(5, system=system) == ({"clock_drift:clock": NOON} if is_alarm else {})


def test_a_clock_that_shows_another_zone_than_the_settings_is_an_alarm_that_names_both() -> None:
    system = SystemRecord(
        gateway_zone="America/New_York",
        clock_shown="20261123 20:00:00 SGT",
        clock_shown_at=NOON,
        zone_utc_offset_minutes=-300,
        shown_utc_offset_minutes=480,
    )
    (alarm,) = conditions(NOON, system, (), (), OFF).values()
    assert (alarm.alarm_id, alarm.since) == ("wrong_zone:clock", NOON)
    for word in ("SGT", "UTC+8", "America/New_York", "UTC-5", "13:00 hours", "OMS_GATEWAY_ZONE"):
        assert word in alarm.text
    for shown in (-300, None):  # the same hour, and a clock of no zone
        assert kinds(0, system=system.evolve(shown_utc_offset_minutes=shown)) == {}


def test_a_fill_from_the_future_and_a_time_that_nobody_reads_are_alarms_with_its_text() -> None:
    system = SystemRecord(
        strange_time="20261123  20:00:00",
        strange_time_offset_minutes=480,
        strange_time_at=NOON,
        unread_time="20261123 20:00:00 XYZT",
        unread_time_at=NOON,
    )
    found = conditions(NOON, system, (), (), OFF)
    assert set(found) == {"wrong_zone:fills", "unreadable_time:fills"}
    assert "8:00 hours after" in found["wrong_zone:fills"].text
    assert "XYZT" in found["unreadable_time:fills"].text


def test_a_refusal_for_speed_is_an_alarm_for_ten_minutes() -> None:
    system = SystemRecord(too_fast_at=NOON)
    assert kinds(599, system=system) == {"too_fast:pace": NOON}
    assert kinds(600, system=system) == {}


def gap(opened_at: datetime) -> SystemRecord:
    return SystemRecord(gap_sequence=7, gap_cause="1100", gap_opened_at=opened_at)


def test_an_outage_in_a_reset_is_expected_and_an_alarm_once_the_reset_is_over() -> None:
    """INC-05: it began in the reset and was never escalated."""
    system = gap(NOON + timedelta(minutes=5))
    for minutes in (6, 30, 59, 61):
        assert kinds(minutes * 60, system=system) == {}, minutes
    assert kinds(62 * 60, system=system) == {"outage:line": NOON + timedelta(minutes=5)}


def test_an_outage_outside_a_reset_is_an_alarm_after_its_patience() -> None:
    opened_at = NOON + timedelta(hours=2)
    assert kinds(2 * 3600 + 119, system=gap(opened_at)) == {}
    assert kinds(2 * 3600 + 120, system=gap(opened_at)) == {"outage:line": opened_at}


def test_a_gap_without_a_comparison_after_it_is_an_alarm() -> None:
    closed = SystemRecord(gap_closed_at=NOON, ready=False)
    assert kinds(119, system=closed) == {}
    assert kinds(120, system=closed) == {"gap_unrecovered:line": NOON}
    assert kinds(120, system=closed.evolve(ready=True)) == {}


def test_an_old_price_behind_a_result_is_an_alarm_and_no_price_is_none() -> None:
    held = Position(account="DU1", contract=AAPL, quantity=Decimal(5), broker_marked_at=NOON)
    assert kinds(899, positions=(held,)) == {}
    assert kinds(900, positions=(held,)) == {"stale_price:DU1:1": NOON}
    assert kinds(900, positions=(held.evolve(quantity=Decimal(0)),)) == {}
    assert kinds(900, positions=(held.evolve(broker_marked_at=None),)) == {}


def test_every_rule_can_be_turned_off() -> None:
    system = gap(NOON).evolve(server_offset_ms=99_999, server_time_at=NOON)
    held = Position(account="DU1", contract=AAPL, quantity=Decimal(5), broker_marked_at=NOON)
    silent = order(OrderState.IN_FLIGHT, origin="manual", status="PreSubmitted")
    week = 7 * 86_400 + 2 * 3_600
    assert len(kinds(week, system=system, orders=(silent,), positions=(held,))) == 6
    assert kinds(week, system=system, orders=(silent,), positions=(held,), tolerances=OFF) == {}


def test_an_alarm_is_raised_once_and_cleared_once() -> None:
    found = conditions(NOON, SystemRecord(), (order(origin="manual"),), (), TOLERANCES)
    (raised,) = news({}, found)
    assert isinstance(raised, AlarmRaised)
    standing = {raised.alarm_id: alarm(raised)}
    assert news(standing, found) == []
    assert news(standing, {}) == [AlarmCleared(alarm_id=raised.alarm_id)]


def alarm(event: AlarmRaised) -> Alarm:
    return Alarm(
        alarm_id=event.alarm_id,
        kind=event.kind,
        subject=event.subject,
        since=event.since,
        text=event.text,
        account=event.account,
        symbol=event.symbol,
        order_id=event.order_id,
        raised_at=NOON,
        raised_sequence=1,
    )
