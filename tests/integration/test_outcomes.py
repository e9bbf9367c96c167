"""What became of an order: what-ifs, doubt by silence, what a person says, errors by type."""

from __future__ import annotations

import asyncio

import pytest

import oms
from oms.core.events import (
    DoubtResolutionDenied,
    DoubtResolutionRequested,
    OrderDoubted,
    OrderIntended,
    OrderMessageSent,
    WhatIfAnswered,
    WhatIfRequested,
)
from oms.core.fold.records import OrderState
from oms.errors import (
    IBConnectionError,
    IBOrderRejectError,
    InvalidRequest,
    OrderDeniedError,
    RequestTimedOut,
)
from tests.world import AAPL, LOW, MSFT, World

pytestmark = pytest.mark.slow
IN_DOUBT = OrderState.IN_DOUBT


# ── what-if ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_what_if_says_margin_and_commission_and_never_becomes_an_order(
    world: World,
) -> None:
    manager = await world.start()
    found = await manager.what_if(AAPL, oms.Limit("BUY", 100, LOW))
    assert found.commission is not None
    assert found.commission > 0
    assert found.initial_margin_change is not None
    assert found.initial_margin_change > 0
    assert found.commission_currency == "USD"
    (sent,) = await world.log(OrderMessageSent)
    assert (sent.kind, sent.order_ref) == ("what_if", "")
    assert await world.log(OrderIntended) == []
    books = await world.books()
    assert (books["orders"], books["executions"]) == ([], [])
    after = await world.resting()  # its number is above that of the question
    assert after.order.broker_order_id > sent.broker_order_id
    await world.agree()


async def test_a_what_if_that_ib_refuses_raises_with_ibs_words(world: World) -> None:
    manager = await world.start()
    await world.simulator.do("silence", request="placeOrder", mode="refuse", code=201, text="no")
    with pytest.raises(IBOrderRejectError, match=r"\(201\): no") as refused:
        await manager.what_if(AAPL, oms.Limit("BUY", 100, LOW))
    assert refused.value.code == 201


async def test_a_what_if_ends_with_silence_and_with_the_line(world: World) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    await world.simulator.do("silence", request="placeOrder", mode="answer")
    with pytest.raises(IBConnectionError, match="what the order would cost"):
        await manager.what_if(AAPL, oms.Limit("BUY", 100, LOW))
    asked = asyncio.ensure_future(manager.what_if(AAPL, oms.Limit("BUY", 100, LOW)))
    await world.until_logged(OrderMessageSent, 2)
    await world.simulator.do("cut")
    with pytest.raises(IBConnectionError, match="the line was lost during the what-if"):
        await asked
    assert world.view.orders == {}


async def test_a_person_asks_what_an_order_would_cost(world: World) -> None:
    await world.start()
    ask = WhatIfRequested(
        request_id="q1", account="", contract=AAPL, terms=oms.Limit("BUY", 100, LOW)
    )
    off_tick = oms.Limit("BUY", 100, "10.001")
    await world.person(ask, ask.evolve(request_id="q2", terms=off_tick))
    await world.until_logged(WhatIfAnswered, 2)
    answers = {a.request_id: a for a in await world.log(WhatIfAnswered)}
    assert (answers["q1"].refusal, answers["q1"].commission_currency) == ("", "USD")
    assert "minimum tick 0.01" in answers["q2"].refusal


# ── silence and doubt ────────────────────────────────────────────────────────────────────────────


async def test_an_order_without_a_word_from_ib_is_in_doubt_until_the_broker_was_asked(
    world: World,
) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.2)
    await world.simulator.do("fault", direction="in", message="placeOrder", action="drop", times=1)
    lost = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    assert (await lost.resolved(10)).state is OrderState.NOT_SENT
    (doubted,) = await world.log(OrderDoubted)
    assert (doubted.order_id, doubted.text) == (
        lost.order_id,
        "IB has not answered within 0.2 s",
    )
    assert await world.received(lost.order_id) == 0
    await world.agree()


async def test_an_order_whose_acknowledgement_was_lost_is_found_and_not_sent_again(
    world: World,
) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.2)
    for message in ("openOrder", "orderStatus"):
        await world.simulator.do("drop_next", message=message, times=2)
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    assert (await ticket.resolved(10)).state is OrderState.WORKING
    assert len(await world.log(OrderDoubted)) == 1
    assert await world.received(ticket.order_id) == 1
    await world.agree()


async def test_an_order_that_ib_answered_in_time_is_never_doubted(world: World) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.3)
    ticket = await world.resting()
    legs = await manager.submit_bracket(
        MSFT, oms.Limit("BUY", 5, LOW), take_profit="1000", stop_loss="5"
    )
    for leg in legs:
        await leg.acknowledged()
    await world.simulator.do("drop_next", message="placeOrder", direction="in")
    silent = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    await silent.resolved(10)  # by then the others would have been doubted as well
    assert [d.order_id for d in await world.log(OrderDoubted)] == [silent.order_id]
    assert ticket.state is OrderState.WORKING


async def test_a_person_resolves_a_doubt_with_a_reason_and_evidence_still_counts(
    world: World,
) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.2, doubt_settle_seconds=600)
    for message in ("openOrder", "orderStatus"):
        await world.simulator.do("fault", direction="out", message=message, action="drop")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    await world.rest(ticket, IN_DOUBT)
    with pytest.raises(InvalidRequest, match="with a reason"):
        await manager.resolve(ticket.order_id, "not_received", " ")
    await world.person(
        DoubtResolutionRequested(
            order_id=ticket.order_id, outcome="not_received", reason="TWS does not show it"
        )
    )
    order = await ticket.resolved(10)
    assert (order.state, order.text) == (OrderState.NOT_SENT, "TWS does not show it")
    with pytest.raises(InvalidRequest, match="only an order in doubt"):
        await manager.resolve(ticket.order_id, "ended", "again")
    await world.person(
        DoubtResolutionRequested(order_id=ticket.order_id, outcome="ended", reason="again")
    )
    await world.until_logged(DoubtResolutionDenied)
    await world.simulator.do("clear")
    await world.reconcile()  # the person was wrong: IB shows the order at work
    assert (await world.rest(ticket)).state is OrderState.WORKING
    await world.agree()


# ── errors by type ───────────────────────────────────────────────────────────────────────────────


async def test_waiting_for_work_raises_what_stands_in_the_way(world: World) -> None:
    manager = await world.start()
    denied = await manager.submit(AAPL, oms.Limit("BUY", 10, "10.001"))
    with pytest.raises(OrderDeniedError, match="minimum tick"):
        await denied.working()
    await world.simulator.do("silence", request="placeOrder", mode="refuse", code=201, text="broke")
    rejected = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    with pytest.raises(IBOrderRejectError, match="broke") as refused:
        await rejected.working()
    assert refused.value.code == 201
    await world.simulator.do("unsilence")
    await world.simulator.do("silence", request="placeOrder", mode="answer")
    mute = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    with pytest.raises(RequestTimedOut, match=r"is still IN_FLIGHT after 0\.05 s"):
        await mute.working(0.05)


async def test_a_bulk_has_one_transaction_and_one_outcome_each(world: World) -> None:
    manager = await world.start()
    orders = [
        oms.NewOrder(AAPL, oms.Limit("BUY", 10, LOW), order_id="good"),
        oms.NewOrder(oms.Stock("NOSUCH"), oms.Limit("BUY", 10, LOW), order_id="unknown"),
        oms.NewOrder(AAPL, oms.Limit("BUY", 10, "10.001"), order_id="off-tick"),
        oms.NewOrder(MSFT, oms.Limit("BUY", 10, LOW), order_id="also-good"),
    ]
    tickets = await manager.submit_many(orders)
    for ticket in tickets:
        await ticket.acknowledged()
    states = [t.state.value for t in tickets]
    assert states == ["WORKING", "DENIED", "DENIED", "WORKING"]
    assert [await world.rule_against(t) for t in tickets] == [None, "contract", "tick", None]
    again = await manager.submit_many(orders)
    assert [t.state.value for t in again] == states
    assert [await world.received(o.order_id) for o in orders] == [1, 0, 0, 1]
    facts = await world.oms.reader.events(limit=10_000)
    told = [e for e in facts if type(e.event).__name__ in {"OrderIntended", "OrderDenied"}]
    assert len({e.recorded_at for e in told}) == 1
    with pytest.raises(InvalidRequest, match="order 2: "):
        await manager.submit_many([orders[0], (AAPL, oms.Limit("BUY", 0, LOW))])
    with pytest.raises(InvalidRequest, match="'good' is there twice"):
        await manager.submit_many([orders[0], orders[0]])
    await world.agree()


async def test_a_key_that_belongs_to_another_order_is_refused(world: World) -> None:
    manager = await world.start()
    await world.resting(order_id="mine")
    with pytest.raises(InvalidRequest, match="'mine' belongs to another order: BUY AAPL"):
        await manager.submit(AAPL, oms.Limit("SELL", 10, "900"), order_id="mine")


async def test_a_key_that_belongs_to_an_order_in_another_option_is_refused(world: World) -> None:
    manager = await world.start()
    call = oms.Option("AAPL", "20270115", "200", "C")
    first = await manager.submit(call, oms.Limit("BUY", 1, "0.05"), order_id="mine")
    qualified = await manager.qualify(call)
    for same in (call, qualified):
        again = await manager.submit(same, oms.Limit("BUY", 1, "0.05"), order_id="mine")
        assert again.order == first.order
    for other in (
        oms.Option("AAPL", "20270115", "210", "C"),
        await manager.qualify(oms.Option("AAPL", "20270115", "200", "P")),
    ):
        with pytest.raises(InvalidRequest, match="'mine' belongs to another order"):
            await manager.submit(other, oms.Limit("BUY", 1, "0.05"), order_id="mine")
