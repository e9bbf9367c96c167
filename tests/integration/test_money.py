"""Money of every kind of contract: what agrees, what is missing, what is unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import pytest

import oms
from oms.core.events import Finding
from oms.core.fold.records import OrderState
from tests.world import World

pytestmark = pytest.mark.slow

PAIR = {"symbol": "EUR", "sec_type": "CASH", "currency": "USD"}


async def dealt(world: World, quantity: int, **contract: Any) -> None:
    """Let a person trade at TWS, and let our books hear of it."""
    side = "BUY" if quantity > 0 else "SELL"
    await world.simulator.do("manual_order", side=side, quantity=abs(quantity), **contract)
    await world.reconcile()


async def balances(world: World) -> dict[str, Finding]:
    """Return what each balance is found to be now."""
    report = await world.reconcile()
    return {f.symbol: f for f in report.findings if f.subject == "cash"}


async def test_conversions_cfds_and_pairs_leave_every_balance_explained(world: World) -> None:
    await world.start()
    await dealt(world, 5000, **PAIR, exchange="FXCONV")
    await dealt(world, 30_000, **PAIR)
    await dealt(world, 10, symbol="AAPL", sec_type="CFD")
    await dealt(world, -4, symbol="AAPL", sec_type="CFD")
    found = await balances(world)
    assert {c: f.result for c, f in found.items()} == {"EUR": "match", "USD": "match"}
    assert [case for case in world.open_cases() if case[0] != "unknown_order"] == []
    await world.simulator.do("cash", amount=-50, currency="EUR")
    assert (await balances(world))["EUR"].break_class == "cash_drift"


async def test_a_balance_in_which_futures_are_held_is_unknown_until_they_are_closed(
    world: World,
) -> None:
    await world.start()
    await dealt(world, 5000, **PAIR, exchange="FXCONV")
    assert (await world.simulator.do("books"))["positions"] == []
    chain = {"symbol": "ES", "sec_type": "FUT", "expiry": _expiry()}
    await dealt(world, 2, **chain)
    await world.simulator.do("cash", amount=-50_000)
    report = await world.reconcile()
    found = {f.symbol: f for f in report.findings if f.subject == "cash"}
    assert {c: f.result for c, f in found.items()} == {"EUR": "match", "USD": "unknown"}
    assert "settled every day" in found["USD"].text
    assert report.verdict != "clean"
    await dealt(world, -2, **chain)
    assert (await balances(world))["USD"].break_class == "cash_drift"


@pytest.mark.parametrize("told", ["no", "yes"])
@pytest.mark.parametrize(
    ("verb", "side", "right"), [("exercise", "BUY", "C"), ("assign", "SELL", "P")]
)
async def test_an_option_that_became_shares_leaves_no_difference_once_it_is_booked(
    world: World, told: str, verb: str, side: Literal["BUY", "SELL"], right: str
) -> None:
    """IB tells of it by executions at price 0 that seem to add to the position, or by nothing."""
    await world.start(adjust_causes=("exercise", "assignment"))
    today = datetime.now(UTC).date()
    friday = today + timedelta(days=7 + (4 - today.weekday()) % 7)
    option = oms.Option("AAPL", f"{friday:%Y%m%d}", "190", right)
    ticket = await world.oms.manager.submit(option, oms.Market(side, 2))
    await world.until(lambda: ticket.state is OrderState.FILLED and ticket.order.commissions)
    await world.simulator.do(verb, con_id=ticket.order.contract.con_id, executions=told)
    for _ in range(2):
        report = await world.reconcile()
        found = {f.break_class for f in report.findings if f.result == "break"}
        assert found == (set() if told == "no" else {"unknown_order"})
    held = [p.quantity for p in world.view.positions.values() if p.live]
    assert held == [200]


async def test_a_deposit_program_doubles_no_balance(world: World) -> None:
    await world.start()
    await world.bought(10)
    await world.simulator.do("deposit_program", amount=50_000)
    report = await world.reconcile()
    assert report.verdict == "clean"


def _expiry() -> str:
    """Return the last day of a future that is listed, three months from now or later."""
    today = datetime.now(UTC).date()
    months = today.month + 2
    year, month = today.year + months // 12, months % 12 + 1
    month += -month % 3
    first = date(year, month, 1)
    return f"{first + timedelta(days=(4 - first.weekday()) % 7 + 14):%Y%m%d}"
