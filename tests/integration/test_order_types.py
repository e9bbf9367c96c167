"""Every order type and class from the call to the simulator's books, over TCP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.core.events import OrderIntended, OrderMessageSent
from oms.core.fold.records import OrderState
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow
TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)

#: One of every kind, none of which can fill where the market stands.
KINDS: dict[str, oms.Terms] = {
    "limit": oms.Limit("BUY", 10, LOW),
    "stop": oms.Stop("BUY", 10, "900"),
    "stop limit": oms.StopLimit("BUY", 10, stop="900", limit="901"),
    "trailing amount": oms.TrailingStop("SELL", 10, amount="50"),
    "trailing percent": oms.TrailingStop("SELL", 10, percent="20.5", stop="10"),
    "trailing stop limit": oms.TrailingStopLimit(
        "SELL", 10, amount="50", stop="10", limit_offset="0.5"
    ),
    "on close": oms.MarketOnClose("BUY", 10),
    "limit on close": oms.LimitOnClose("BUY", 10, LOW),
    "on open": oms.MarketOnOpen("BUY", 10),
    "limit on open": oms.LimitOnOpen("BUY", 10, LOW),
    "good till cancelled": oms.Limit("BUY", 10, LOW, tif="GTC", outside_rth=True),
    "good till date": oms.Limit("BUY", 10, LOW, tif="GTD", good_till=TOMORROW),
    "all or none": oms.Limit("BUY", 10, LOW, all_or_none=True),
    "minimum": oms.Limit("BUY", 10, LOW, min_quantity=5),
    "iceberg": oms.Limit("BUY", 10, LOW, display_size=2),
    "hidden": oms.Limit("BUY", 10, LOW, hidden=True),
}


async def test_every_kind_comes_back_from_ib_with_the_terms_that_were_asked_for(
    world: World,
) -> None:
    manager = await world.start()
    aapl = await manager.qualify(AAPL)
    tickets = await manager.submit_many([(aapl, terms) for terms in KINDS.values()])
    for ticket in tickets:
        await ticket.acknowledged()
    report = await world.reconcile()
    assert [f.text for f in report.findings if f.result != "match"] == []
    by_name = dict(zip(KINDS, tickets, strict=True))
    assert {n: t.order.terms for n, t in by_name.items()} == KINDS
    assert {n for n, t in by_name.items() if not t.order.live} == set()
    await world.agree()


async def test_every_term_that_can_change_is_changed_and_shown_by_ib(world: World) -> None:
    manager = await world.start()
    aapl = await manager.qualify(AAPL)
    stop_limit, trailing, limit = await manager.submit_many(
        [(aapl, KINDS["stop limit"]), (aapl, KINDS["trailing amount"]), (aapl, KINDS["limit"])]
    )
    for ticket in (stop_limit, trailing, limit):
        await ticket.acknowledged()
    await stop_limit.modify(stop="905", limit="907", quantity="12")
    await trailing.modify(trail_percent="10")
    await limit.modify(tif="GTD", good_till=TOMORROW, outside_rth=True, display_size=5)
    for ticket in (stop_limit, trailing, limit):
        assert (await ticket.answered()).refusal == ""
    assert (stop_limit.order.terms.stop_price, stop_limit.order.terms.limit_price) == (905, 907)
    assert stop_limit.order.terms.quantity == 12
    assert (trailing.order.terms.trail_amount, trailing.order.terms.trail_percent) == (None, 10)
    assert (limit.order.terms.tif, limit.order.terms.good_till) == ("GTD", TOMORROW)
    assert (limit.order.terms.outside_rth, limit.order.terms.display_size) == (True, 5)
    report = await world.reconcile()
    assert [f.text for f in report.findings if f.result != "match"] == []


async def test_orders_of_now_or_never_end_where_they_cannot_fill(world: World) -> None:
    manager = await world.start()
    tickets = [
        await manager.submit(AAPL, oms.Limit("BUY", 10, LOW, tif=tif)) for tif in ("IOC", "FOK")
    ]
    assert {(await t.done(10)).state for t in tickets} == {OrderState.CANCELLED}
    await world.agree()


@pytest.mark.parametrize("oca_type", [1, 2, 3])
async def test_one_of_an_oca_group_ends_or_reduces_the_others(world: World, oca_type: Any) -> None:
    manager = await world.start()
    legs = await manager.submit_oca(
        [(AAPL, oms.Limit("BUY", 10, LOW)), (AAPL, oms.Limit("BUY", 10, "9"))],
        oca_type=oca_type,
        order_id="pair",
    )
    for leg in legs:
        await world.rest(leg)
    assert [leg.order_id for leg in legs] == ["pair-1", "pair-2"]
    rows = (await world.books())["orders"]
    assert {row["oca_group"] for row in rows} == {"pair"}
    intents = await world.oms.reader.events(type=OrderIntended.__name__)
    assert len({e.recorded_at for e in intents}) == 1  # one transaction
    await world.simulator.do("fill", order_ref="pair-1", quantity=4, price=LOW)
    await world.until(lambda: legs[0].order.filled == 4)
    if oca_type == 1:
        assert (await legs[1].done(10)).state is OrderState.CANCELLED
    else:
        await world.until(lambda: legs[1].order.terms.quantity == 6)
        await world.simulator.do("fill", order_ref="pair-1", quantity=6, price=LOW)
        assert (await legs[1].done(10)).state is OrderState.CANCELLED
    await world.agree()


async def test_an_order_attached_to_a_live_one_works_once_that_has_filled(world: World) -> None:
    manager = await world.start()
    entry = await world.resting(order_id="entry")
    child = await manager.submit(AAPL, oms.Limit("SELL", 10, "900"), parent="entry")
    held = await child.acknowledged()
    assert (held.parent_order_id, held.why_held) == ("entry", "child")
    await world.simulator.do("fill", order_ref="entry", price=LOW)
    await world.until(lambda: child.order.why_held == "" and child.state is OrderState.WORKING)
    assert entry.order.state is OrderState.FILLED
    late = await manager.submit(AAPL, oms.Limit("SELL", 10, "901"), parent="entry")
    assert (late.state, await world.rule_against(late)) == (OrderState.DENIED, "parent")
    await world.agree()


async def test_a_bracket_takes_any_entry_and_any_exit(world: World) -> None:
    manager = await world.start()
    legs = await manager.submit_bracket(
        AAPL,
        oms.StopLimit("BUY", 10, stop="900", limit="901"),
        take_profit="1000",
        stop_loss=oms.TrailingStop("SELL", 10, amount="5", tif="GTC"),
    )
    for leg in legs:
        await leg.acknowledged()
    sent = [e.event for e in await world.oms.reader.events(type=OrderMessageSent.__name__)]
    assert [e.order_ref for e in sent] == [leg.order_id for leg in legs]  # type: ignore[attr-defined]
    assert [leg.order.terms.order_type for leg in legs] == ["STP LMT", "LMT", "TRAIL"]
    report = await world.reconcile()
    assert [f.text for f in report.findings if f.result != "match"] == []


async def test_exits_follow_an_entry_that_ends_partly_filled(world: World) -> None:
    manager = await world.start()
    entry, profit, loss = await manager.submit_bracket(
        AAPL, oms.Limit("BUY", 10, LOW), take_profit="1000", stop_loss="5"
    )
    for leg in (entry, profit, loss):
        await leg.acknowledged()
    await world.simulator.do("fill", order_ref=entry.order_id, quantity=4, price=LOW)
    await world.until(lambda: entry.order.filled == Decimal(4))
    report = await world.reconcile()
    assert [f.text for f in report.findings if f.break_class == "wrong_terms"] == []
    await profit.cancel()
    await world.agree()
