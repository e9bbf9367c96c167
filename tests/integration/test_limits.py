"""The operator's limits at work: what the caller, the log and the broker see of a denial."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

import oms
from oms.core.admit.limits import Scoped
from oms.core.events import (
    ModifyDenied,
    ModifyIntended,
    OrderDenied,
    OrderIntended,
    OrderRequested,
)
from oms.core.fold.records import OrderState
from oms.settings import load
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow


def _buy(quantity: int, price: str = LOW) -> oms.Terms:
    return oms.Limit("BUY", quantity, price)


async def _rule(world: World, terms: oms.Terms, contract: oms.Contract = AAPL) -> str | None:
    return await world.rule_against(await world.oms.manager.submit(contract, terms))


async def test_a_denial_names_rule_value_and_limit_in_the_log_and_nothing_is_sent(
    world: World,
) -> None:
    manager = await world.start(order_quantity_max=Scoped.read("100, symbol:MSFT=5"))
    ticket = await manager.submit(MSFT, _buy(6))
    (denied,) = await world.log(OrderDenied)
    assert (denied.rule, denied.value, denied.limit) == ("quantity", "6", "5")
    assert ticket.order.text == denied.text
    assert await world.received(ticket.order_id) == 0
    assert await _rule(world, _buy(6)) is None
    (intended,) = await world.log(OrderIntended)
    assert "quantity" in intended.checks
    assert "notional" not in intended.checks
    await world.agree()


async def test_the_collar_asks_the_market_and_holds_exits_against_their_entry(
    world: World,
) -> None:
    manager = await world.start(order_collar_percent=Scoped.read("5"))
    assert await _rule(world, oms.Limit("SELL", 1, LOW)) == "collar"
    assert await _rule(world, _buy(1)) is None
    exits = {"take_profit": Decimal(12), "stop_loss": Decimal(9)}
    legs = await manager.submit_bracket(AAPL, _buy(2), **exits)
    assert [await world.rule_against(leg) for leg in legs] == [None, None, None]
    ticket = await manager.submit(AAPL, oms.Limit("SELL", 1, "1000"))
    await world.rest(ticket)
    await ticket.modify(limit="10")
    (denied,) = await world.log(ModifyDenied)
    assert (denied.rule, denied.limit) == ("collar", "5 %")


async def test_a_market_order_is_valued_at_the_quote(world: World) -> None:
    await world.start(order_notional_max=Scoped.read("100"))
    assert await _rule(world, oms.Market("BUY", 1)) == "notional"
    assert await _rule(world, _buy(9)) is None


async def test_without_a_quote_the_collar_refuses_or_passes_as_the_settings_say(
    world: World,
) -> None:
    collar = {"order_collar_percent": Scoped.read("5"), "order_quote_wait_seconds": 0.2}
    await world.simulator.do("silence", request="reqMktData")
    await world.start(**collar)
    assert await _rule(world, _buy(1)) == "collar"
    (denied,) = await world.log(OrderDenied)
    assert denied.value == "no quote"
    await world.stop()
    await world.start(**collar, order_collar_without_quote="pass")
    assert await _rule(world, _buy(1)) is None


async def test_a_burst_meets_the_rate_at_the_right_order_and_a_restart_forgives_nothing(
    world: World,
) -> None:
    manager = await world.start(orders_per_minute_max=3)
    tickets = await asyncio.gather(*(manager.submit(AAPL, _buy(n)) for n in range(1, 6)))
    rules = [await world.rule_against(ticket) for ticket in tickets]
    assert sorted(rules, key=str) == [None, None, None, "rate", "rate"]
    await world.stop()
    await world.start(orders_per_minute_max=4)
    assert [await _rule(world, _buy(n)) for n in (7, 8)] == [None, "rate"]
    await world.agree()


async def test_a_slip_of_the_hand_is_denied_once_and_after_a_restart(world: World) -> None:
    manager = await world.start(order_duplicate_seconds=60)
    first, second = await asyncio.gather(
        manager.submit(AAPL, _buy(5), order_id="one"),
        manager.submit(AAPL, _buy(5), order_id="two"),
    )
    rules = [await world.rule_against(ticket) for ticket in (first, second)]
    assert sorted(rules, key=str) == [None, "duplicate"]
    again = await manager.submit(AAPL, _buy(5), order_id="one")
    assert again.state is first.state, "the same key is the same order, not a duplicate of it"
    await world.stop()
    await world.start(order_duplicate_seconds=60)
    assert await _rule(world, _buy(5)) == "duplicate"
    assert await _rule(world, _buy(6)) is None
    await world.agree()


async def test_orders_at_work_are_counted_by_contract_and_leave_room_when_they_end(
    world: World,
) -> None:
    await world.start(open_orders_max=Scoped.read("2"))
    first = await world.resting(1)
    manager = world.oms.manager
    both = await asyncio.gather(*(manager.submit(AAPL, _buy(n)) for n in (2, 3)))
    rules = [await world.rule_against(ticket) for ticket in both]
    assert sorted(rules, key=str) == [None, "open_orders"]
    assert await _rule(world, _buy(1), MSFT) is None
    await first.cancel()
    await world.rest(first, OrderState.CANCELLED)
    assert await _rule(world, _buy(4)) is None


async def test_closing_orders_of_the_same_instant_take_a_holding_once(world: World) -> None:
    manager = await world.start()
    await world.bought(76)
    sell = oms.Limit("SELL", 76, "1000")
    asked = OrderRequested(
        order_id="shell", account="", contract=AAPL, terms=sell, reason="", closing=True
    )
    (first, second), _ = await asyncio.gather(
        asyncio.gather(*(manager.submit(AAPL, sell, closing=True) for _ in range(2))),
        world.person(asked),
    )
    await world.until(lambda: "shell" in world.view.orders)
    tickets = (first, second, manager.ticket("shell"))
    rules = [await world.rule_against(ticket) for ticket in tickets]
    assert sorted(rules, key=str) == [None, "exposure", "exposure"]
    left = tickets[rules.index(None)].order_id
    for denied in await world.log(OrderDenied):
        assert (denied.rule, denied.value, denied.limit) == ("exposure", "-76", "0")
        assert f"({left}: 76)" in denied.text
    # Without the word nothing is asked: opening a short position is no fault.
    assert await _rule(world, sell) is None


async def test_a_sale_that_ib_calls_filled_counts_until_its_executions_have_come(
    world: World,
) -> None:
    manager = await world.start()
    await world.bought(10)
    what = {"message": "execDetails", "action": "drop", "times": 1}
    await world.simulator.do("fault", direction="out", **what)
    sold = await manager.submit(AAPL, oms.Market("SELL", 10), closing=True)
    await world.rest(sold, OrderState.FILLED)
    assert world.position() == 10
    again = await manager.submit(AAPL, oms.Market("SELL", 10), closing=True)
    assert await world.rule_against(again) == "exposure"
    assert "its executions" in again.order.text
    await world.reconcile()
    assert world.position() == 0


async def test_new_terms_on_their_way_count_for_the_order_behind_them(world: World) -> None:
    manager = await world.start()
    await world.bought(20)
    first = await manager.submit(AAPL, oms.Limit("SELL", 10, "1000"), closing=True)
    await world.rest(first)
    _, late = await asyncio.gather(
        first.modify(quantity=15),
        manager.submit(AAPL, oms.Limit("SELL", 10, "1001"), closing=True),
    )
    assert await world.rule_against(late) == "exposure"
    await first.modify(quantity=21)
    (denied,) = await world.log(ModifyDenied)
    assert (denied.rule, denied.value) == ("exposure", "-1")
    await first.modify(quantity=20)
    assert len(await world.log(ModifyDenied)) == 1
    await world.agree()


async def test_a_group_is_judged_with_its_members_and_its_exits_with_their_entry(
    world: World,
) -> None:
    manager = await world.start(order_exposure="refuse")
    legs = await manager.submit_bracket(
        AAPL, _buy(10), take_profit=Decimal(1000), stop_loss=Decimal(1)
    )
    assert [await world.rule_against(leg) for leg in legs] == [None, None, None]
    await world.rest(legs[0])
    assert await _rule(world, oms.Limit("SELL", 1, "1000")) == "exposure"
    await world.bought(5)
    pair = [(AAPL, oms.Limit("SELL", 5, "1000")), (AAPL, oms.Stop("SELL", 5, 1))]
    group = await manager.submit_oca(pair)
    assert [await world.rule_against(one) for one in group] == [None, None]
    many = await manager.submit_many(
        [(MSFT, _buy(4)), (MSFT, oms.Limit("SELL", 1, "1000")), (MSFT, _buy(1))]
    )
    assert [await world.rule_against(one) for one in many] == [None, "exposure", None]


async def test_a_warning_of_the_rules_is_a_fact_beside_an_order_that_leaves(world: World) -> None:
    manager = await world.start(order_exposure="warn")
    ticket = await manager.submit(AAPL, oms.Limit("SELL", 5, "1000"))
    order = await world.rest(ticket)
    (intended,) = await world.log(OrderIntended)
    assert intended.warning.startswith("SELL 5 AAPL STK USD could leave -5: ")
    assert order.rule_warning == intended.warning
    await ticket.modify(quantity=6)
    (modified,) = await world.log(ModifyIntended)
    assert modified.warning.startswith("SELL 6 AAPL STK USD could leave -6: ")
    await world.agree()


async def test_contracts_and_asset_classes_outside_the_lists_are_denied(world: World) -> None:
    await world.start(order_contracts=("MSFT",), order_sec_types=("STK",))
    assert await _rule(world, _buy(1)) == "contracts"
    assert await _rule(world, _buy(1), MSFT) is None


async def test_a_limit_is_read_from_the_file_and_shown(tmp_path: Path) -> None:
    (tmp_path / "oms.toml").write_text('order_quantity_max = "100, sec_type:FUT=5"\n')
    settings = load(directory=tmp_path, environment={})
    shown = {row.name: row.value for row in settings.describe()}
    assert shown["order_quantity_max"] == "100, sec_type:FUT=5"
