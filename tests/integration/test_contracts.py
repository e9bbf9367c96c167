"""Contracts of every class: asked of IB before an order, and the rules that IB says they keep."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal

import pytest

import oms
from oms.core.events import OrderIntended
from oms.core.fold.records import OrderState
from oms.errors import ContractAmbiguous, ContractUnknown, IBConnectionError
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("contract", "con_id", "units", "price"),
    [
        (oms.Stock("SPY"), 756733, 1, "10"),
        # Of no exchange IB has a row for each: one contract, which it routes itself.
        (oms.Contract(symbol="SPY"), 756733, 1, "10"),
        (oms.Forex("EUR.USD"), 12087792, 1, "0.5"),
        (oms.Future("ES", "202612", "CME"), 0, 50, "1000"),
        (oms.Option("AAPL", "20261218", "190", "C"), 0, 100, "0.05"),
    ],
    ids=["stock", "stock without exchange", "forex", "future", "option"],
)
async def test_an_order_of_every_class_carries_the_con_id_and_works(
    world: World, contract: oms.Contract, con_id: int, units: int, price: str
) -> None:
    manager = await world.start()
    quantity = 25_000 if contract.sec_type == "CASH" else 2
    ticket = await manager.submit(contract, oms.Limit("BUY", quantity, price))
    await ticket.working()
    (intent,) = await world.log(OrderIntended)
    assert intent.contract.con_id == con_id or (con_id == 0 and intent.contract.con_id > 0)
    assert intent.contract.units == units
    await world.simulator.do("fill", order_ref=ticket.order_id, price=price)
    assert (await ticket.done(10)).filled == quantity
    await world.until(lambda: ticket.order.commissions)
    await world.agree()


async def test_a_combo_fills_as_a_whole_and_its_legs_become_positions(world: World) -> None:
    manager = await world.start()
    near, far = [
        await manager.qualify(oms.Option("AAPL", "20261218", strike, "C")) for strike in (190, 200)
    ]
    spread = oms.Combo("AAPL", [oms.Leg("BUY", near), oms.Leg("SELL", far)])
    ticket = await manager.submit(spread, oms.Limit("BUY", 3, "0.05"))
    await ticket.working()
    await world.simulator.do("fill", order_ref=ticket.order_id, quantity=2, price="0.05")
    await world.until(lambda: ticket.order.filled == 2)
    assert ticket.state is OrderState.PARTIALLY_FILLED
    await world.simulator.do("fill", order_ref=ticket.order_id, quantity=1, price="0.05")
    order = await ticket.done(10)
    assert (order.state, order.filled, order.average_price) == (
        OrderState.FILLED,
        3,
        Decimal("0.05"),
    )
    held = {p.contract.con_id: p.quantity for p in world.view.positions.values() if p.quantity}
    assert held == {near.con_id: 3, far.con_id: -3}
    fills = await world.oms.reader.rows("fills", {"order_id": ticket.order_id})
    assert len(fills) == 6  # two of the combo, and of each leg two: all tied to the one order
    report = await world.reconcile()
    assert [f.text for f in report.findings if f.result == "break"] == []
    await world.agree()


async def test_an_ambiguous_contract_is_refused_with_the_candidates(world: World) -> None:
    manager = await world.start()
    with pytest.raises(ContractAmbiguous, match="contracts fit AAPL OPT 202612 190 C") as refused:
        await manager.submit(
            oms.Option("AAPL", "202612", "190", "C"), oms.Limit("BUY", 1, "1"), order_id="vague"
        )
    assert "20261218 190.0 C SMART USD con_id" in refused.value.message
    with pytest.raises(ContractUnknown, match="IB knows no contract like NOSUCH"):
        await manager.submit(oms.Stock("NOSUCH"), oms.Market("BUY", 1))
    assert world.state_of("vague") is None


def a_weekly_day() -> date:
    """A Friday to come that is not the third of its month."""
    day = date.today() + timedelta(days=7)  # noqa: DTZ011 - any day will do
    while day.weekday() != 4 or 15 <= day.day <= 21:
        day += timedelta(days=1)
    return day


async def test_an_option_ends_on_its_exchanges_day_and_leaves_as_con_id_and_exchange(
    world: World,
) -> None:
    manager = await world.start()
    day = a_weekly_day()
    shanghai = f"{day + timedelta(days=1):%Y%m%d} 05:00:00 Asia/Shanghai"
    what = {"message": "contractDetails", "action": "edit", "set": {"lastTradeDate": shanghai}}
    await world.simulator.do("fault", direction="out", **what)
    for field, text in (("symbol", "AAPL"), ("multiplier", "100"), ("secType", "OPT")):
        what = {"message": "placeOrder", "action": "refuse", "code": 478}
        await world.simulator.do("fault", direction="in", where={field: text}, **what)
    option = oms.Option("AAPL", f"{day:%Y%m%d}", "190", "C")
    ticket = await manager.submit(option, oms.Limit("BUY", 1, "0.05"))
    order = await ticket.working()
    assert order.contract.expiry == f"{day:%Y%m%d}"
    changed = await ticket.modify(limit="0.10")
    assert changed.refusal == ""
    await ticket.answered(10)
    assert (await manager.what_if(option, oms.Limit("BUY", 1, "0.05"))).initial_margin_after
    await world.agree()


async def test_a_con_id_of_another_contract_than_the_described_one_is_refused(
    world: World,
) -> None:
    manager = await world.start()
    msft = await manager.qualify(MSFT)
    with pytest.raises(ContractUnknown, match=f"con id {msft.con_id} is MSFT .*: AAPL is MSFT"):
        await manager.submit(AAPL.evolve(con_id=msft.con_id), oms.Limit("BUY", 1, LOW))
    with pytest.raises(ContractUnknown, match="IND is STK"):
        await manager.qualify(oms.Index("MSFT", "SMART").evolve(con_id=msft.con_id))
    # IB's own description of an earlier day: the symbol has changed, the con id has not.
    before = msft.evolve(symbol="OLD", local_symbol="OLD")
    assert (await manager.qualify(before)).symbol == "MSFT"


async def test_a_price_keeps_the_band_of_its_market_rule(world: World) -> None:
    manager = await world.start()
    option = await manager.qualify(oms.Option("AAPL", "20261218", "190", "C"))
    below = await manager.submit(option, oms.Limit("BUY", 1, "2.99"))
    above = await manager.submit(option, oms.Limit("BUY", 1, "3.01"))
    assert (below.order.sent, await world.rule_against(above)) == (True, "tick")
    assert above.order.text == "limit price 3.01 is not a multiple of the minimum tick 0.05"
    fraction = await manager.submit(option, oms.Market("BUY", "1.5"))
    assert await world.rule_against(fraction) == "size"
    await below.acknowledged()
    await world.agree()


async def test_a_known_contract_needs_no_answer_of_a_mute_gateway(world: World) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    await world.simulator.do("silence", request="reqContractDetails")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await ticket.working()
    with pytest.raises(IBConnectionError, match="what fits MSFT STK SMART USD"):
        await manager.submit(MSFT, oms.Limit("BUY", 1, LOW))


async def test_many_orders_in_one_contract_ask_for_it_once(world: World) -> None:
    manager = await world.start()
    # The first question is held, and every other one would find a gateway that is mute.
    await world.simulator.do("hold", message="reqContractDetails", times=1)
    many = [asyncio.ensure_future(manager.qualify(MSFT)) for _ in range(5)]
    await world.held()
    await world.simulator.do("silence", request="reqContractDetails")
    await world.simulator.do("release")
    assert len({contract.con_id for contract in await asyncio.gather(*many)}) == 1
