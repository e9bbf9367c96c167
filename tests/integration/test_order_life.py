"""The life of an order, from the call to the simulator's books and back into ours."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.core.events import (
    CancelDenied,
    CancelIntended,
    ModifyDenied,
    NaturalKeyConflict,
    OrderDenied,
    OrderIntended,
    OrderMessageSent,
    TradingHaltedByPerson,
    TradingResumed,
)
from oms.core.fold.records import Order, OrderState
from oms.errors import ContractAmbiguous, ContractUnknown, InvalidRequest
from tests.world import AAPL, ACCOUNT, CLIENT_ID, LOW, MSFT, World

pytestmark = pytest.mark.slow
FILLED = OrderState.FILLED
#: Four months are listed.
ANY_ES_FUTURE = oms.Contract(symbol="ES", sec_type="FUT", exchange="CME")


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_market_order_fills_and_its_fill_and_position_equal_the_brokers(
    world: World,
) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, oms.Market("BUY", 100), reason="rebalance")
    order = await ticket.done()
    await world.until(lambda: ticket.order.commissions)
    (execution,) = (await world.books())["executions"]
    assert (order.state, order.filled) == (FILLED, Decimal(100))
    assert order.average_price == Decimal(execution["price"])
    assert (order.reason, order.account) == ("rebalance", ACCOUNT)
    assert world.position() == 100
    await world.agree()


async def test_an_intent_is_in_the_log_before_the_message_that_carries_it(world: World) -> None:
    ticket = await (await world.start()).submit(AAPL, oms.Limit("BUY", 1, LOW))
    await world.rest(ticket)
    story = await world.oms.reader.order_events(ticket.order_id)
    assert [type(e.event) for e in story[:2]] == [OrderIntended, OrderMessageSent]
    assert story[1].wire is not None
    assert ticket.order_id in story[1].wire


async def test_account_and_time_in_force_are_explicit_on_the_wire(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    (order,) = (await world.books())["orders"]
    assert (order["account"], order["tif"]) == (ACCOUNT, "DAY")
    assert (order["order_ref"], order["client_id"]) == (ticket.order_id, CLIENT_ID)


async def test_a_bracket_is_held_by_the_gateway_until_its_last_leg_arrives(world: World) -> None:
    manager = await world.start()
    legs = await manager.submit_bracket(
        MSFT, oms.Limit("BUY", 10, LOW), take_profit=Decimal(1000), stop_loss=Decimal(5)
    )
    for leg in legs:
        await world.rest(leg)
    sent = [e for e in await world.oms.reader.events(type="OrderMessageSent") if e.wire]
    assert [_transmit(e.wire) for e in sent] == ["0", "0", "1"]
    intents = await world.oms.reader.events(type="OrderIntended")
    assert [e.event.order_id for e in intents] == [leg.order_id for leg in legs]  # type: ignore[attr-defined]
    assert len({e.recorded_at for e in intents}) == 1  # one transaction
    await world.simulator.do("fill", order_ref=legs[0].order_id, price=LOW)
    await world.simulator.do("fill", order_ref=legs[1].order_id, price="1000")
    ended = [await leg.done() for leg in legs]
    assert [o.state for o in ended] == [FILLED, FILLED, OrderState.CANCELLED]
    await world.agree()


async def test_the_same_order_id_is_one_order_however_often_it_is_sent(world: World) -> None:
    manager = await world.start()
    first = await world.resting(order_id="mine-1")
    second = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="mine-1")
    assert first.order == second.order
    await world.stop()
    manager = await world.start()
    third = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="mine-1")
    assert third.state is OrderState.WORKING
    assert await world.received("mine-1") == 1
    assert len(await world.log(OrderIntended)) == 1
    await world.agree()


async def test_the_same_order_id_at_the_same_moment_is_sent_once(world: World) -> None:
    manager = await world.start()
    tickets = await asyncio.gather(
        *(manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="twin") for _ in range(5))
    )
    await world.rest(tickets[0])
    assert {t.state for t in tickets} == {OrderState.WORKING}
    assert await world.received("twin") == 1
    assert await world.log(NaturalKeyConflict) == []
    await world.agree()


async def test_one_key_for_two_orders_is_refused_also_at_the_same_moment(world: World) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    said = await asyncio.gather(
        *(manager.submit(AAPL, oms.Limit("BUY", n, LOW), order_id="twin") for n in (10, 11)),
        return_exceptions=True,
    )
    assert "another order at the same moment" in str(said[1])
    first = await world.rest(manager.ticket("twin"))
    assert first.terms.quantity == 10
    await manager.modify("twin", quantity=12)
    await world.until(lambda: world.view.orders["twin"].terms.quantity == 12)
    same = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="twin")
    assert same.order.terms.quantity == 12
    with pytest.raises(InvalidRequest, match="another order: quantity 10"):
        await manager.submit(AAPL, oms.Limit("BUY", 12, LOW), order_id="twin")
    assert len(await world.log(OrderIntended)) == 1


async def test_an_order_id_taken_by_another_order_at_the_same_moment_sends_nothing_more(
    world: World,
) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    await world.simulator.do("hold", message="reqContractDetails", times=1)
    bracket = asyncio.ensure_future(
        manager.submit_bracket(
            MSFT,
            oms.Limit("BUY", 5, LOW),
            take_profit=Decimal(20),
            stop_loss=Decimal(5),
            order_id="key",
        )
    )
    await world.held()  # it has found its id free, and waits for its contract
    single = await world.resting(order_id="key")
    await world.simulator.do("release")
    legs = await bracket
    await world.until(lambda: legs[2].state is OrderState.NOT_SENT)
    assert single.order.terms.quantity == 10
    assert [leg.state for leg in legs[1:]] == [OrderState.NOT_SENT] * 2
    assert [await world.received(leg.order_id) for leg in legs] == [1, 0, 0]
    await world.agree()


async def test_an_order_whose_caller_gave_up_before_it_left_is_not_sent(world: World) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    submission = asyncio.ensure_future(
        manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="impatient")
    )
    await world.handed_over()
    submission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submission
    await world.until(lambda: world.state_of("impatient") is OrderState.NOT_SENT)
    assert await world.received("impatient") == 0
    await world.agree()


# ── changing and cancelling ──────────────────────────────────────────────────────────────────────


async def test_a_change_is_written_before_it_leaves_and_holds_once_ib_shows_it(
    world: World,
) -> None:
    await world.start()
    ticket = await world.resting()
    await ticket.modify(limit="11", quantity="20")
    await world.until(lambda: not ticket.order.modify_pending)
    (order,) = (await world.books())["orders"]
    assert (order["limit_price"], order["quantity"]) == ("11", "20")
    assert (ticket.order.terms.limit_price, ticket.order.terms.quantity) == (11, 20)
    assert (ticket.order.revision, ticket.state) == (1, OrderState.WORKING)
    await world.agree()


async def test_a_change_does_not_undo_one_that_ib_has_not_answered_yet(world: World) -> None:
    await world.start()
    first, second = await world.resting(10, LOW), await world.resting(10, LOW)
    await first.modify(quantity=20)
    await first.modify(limit="101")
    await asyncio.gather(second.modify(quantity=20), second.modify(limit="101"))
    for ticket in (first, second):
        await world.until(lambda t=ticket: t.order.broker_limit_price == Decimal(101))
        order = await ticket.answered()
        assert (order.terms.quantity, order.terms.limit_price) == (Decimal(20), Decimal(101))
        assert (order.broker_quantity, order.revision) == (Decimal(20), 2)
    await world.agree()


async def test_a_change_below_what_is_filled_is_refused_and_nothing_leaves(world: World) -> None:
    await world.start()
    ticket = await world.resting(10)
    await world.simulator.do("fill", order_ref=ticket.order_id, quantity="6", price=LOW)
    await world.until(lambda: ticket.order.filled == 6)
    order = await ticket.modify(quantity="6")
    assert "6 are filled already" in order.refusal
    assert len(await world.log(ModifyDenied)) == 1
    assert (await world.books())["modifications"] == []


async def test_a_cancel_ends_the_order_by_ibs_word(world: World) -> None:
    await world.start()
    ticket = await world.resting()
    await ticket.cancel("enough")
    order = await ticket.done()
    assert order.state is OrderState.CANCELLED
    assert [e.reason for e in await world.log(CancelIntended)] == ["enough"]
    await world.agree()


async def test_a_cancel_on_the_heels_of_its_order_reaches_ib(world: World) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW))
    await ticket.cancel()
    order = await ticket.done(5)
    assert order.state is OrderState.CANCELLED
    assert await world.log(CancelDenied) == []
    await world.agree()


async def test_a_cancel_of_an_order_that_waits_for_its_turn_follows_it_to_ib(
    world: World,
) -> None:
    manager = await world.start()
    world.let_leave(per_second=1)
    tickets = [await manager.submit(AAPL, oms.Limit("BUY", 10, LOW)) for _ in range(2)]
    for ticket in tickets:
        await ticket.cancel()
    assert [(await t.done()).state for t in tickets] == [OrderState.CANCELLED] * 2
    assert await world.log(CancelDenied) == []
    await world.agree()


async def test_cancelling_what_has_ended_changes_nothing(world: World) -> None:
    await world.start()
    ticket = await world.bought()
    before = ticket.order
    assert await ticket.cancel() == before
    assert await world.log(CancelIntended) == []


async def test_a_cancel_that_crosses_the_fill_is_refused_by_ib_and_the_fill_counts(
    world: World,
) -> None:
    await world.start()
    ticket = await world.resting()
    await world.simulator.do("hold", message="cancelOrder", times=1)
    await ticket.cancel()
    await world.simulator.do("fill", order_ref=ticket.order_id, price=LOW)
    await world.simulator.do("release")
    order = await ticket.done()
    await world.until(lambda: ticket.order.refusal)
    assert (order.state, order.filled) == (FILLED, 10)
    await world.agree()


# ── refusals, each before anything leaves ────────────────────────────────────────────────────────


async def test_an_order_that_ib_rejects_ends_rejected_with_its_code_and_words(
    world: World,
) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 10**8, LOW))
    order = await ticket.done()
    assert (order.state, order.code) == (OrderState.REJECTED, 201)
    assert "insufficient" in order.text
    await world.agree()


@pytest.mark.parametrize(
    ("terms", "rule"),
    [
        (oms.Limit("BUY", 1, "10.001"), "tick"),
        (oms.Stop("SELL", 1, "9.999"), "tick"),
        (oms.Limit("BUY", 1001, LOW), "quantity"),
        (oms.Limit("BUY", 1000, "11"), "notional"),
    ],
    ids=["limit-off-tick", "stop-off-tick", "quantity", "notional"],
)
async def test_a_rule_that_refuses_is_an_order_denied_and_nothing_leaves(
    world: World, terms: oms.Terms, rule: str
) -> None:
    limits = {"order_quantity_max": Decimal(1000), "order_notional_max": Decimal(10_000)}
    manager = await world.start(**limits)
    ticket = await manager.submit(AAPL, terms)
    (denied,) = await world.log(OrderDenied)
    assert (ticket.state, denied.rule) == (OrderState.DENIED, rule)
    assert (await world.books())["placements"] == []
    assert await world.log(OrderIntended) == []


@pytest.mark.parametrize("quantity", [0, -1, "0"])
async def test_a_quantity_that_is_no_order_leaves_no_trace(world: World, quantity: Any) -> None:
    manager = await world.start()
    head = (await world.oms.reader.head()).sequence
    with pytest.raises(InvalidRequest):
        await manager.submit(AAPL, oms.Limit("BUY", quantity, LOW))
    assert (await world.oms.reader.head()).sequence == head


async def test_an_unknown_and_an_ambiguous_contract_are_named_and_leave_no_trace(
    world: World,
) -> None:
    manager = await world.start()
    head = (await world.oms.reader.head()).sequence
    with pytest.raises(ContractUnknown):
        await manager.submit(oms.Stock("NOSUCH"), oms.Market("BUY", 1))
    with pytest.raises(ContractAmbiguous):
        await manager.submit(ANY_ES_FUTURE, oms.Market("BUY", 1))
    assert await world.log(OrderIntended) == []
    assert (await world.books())["placements"] == []
    assert (await world.oms.reader.head()).sequence <= head + 2  # at most what IB said of it


async def test_an_account_that_the_gateway_does_not_manage_is_denied(world: World) -> None:
    manager = await world.start()
    ticket = await manager.submit(AAPL, oms.Market("BUY", 1), account="DU9999999")
    (denied,) = await world.log(OrderDenied)
    assert (ticket.state, denied.rule) == (OrderState.DENIED, "account")
    assert (await world.books())["placements"] == []


async def test_a_halt_denies_orders_and_lets_cancels_pass_until_it_is_lifted(
    world: World,
) -> None:
    manager = await world.start()
    working = await world.resting()
    await world.person(TradingHaltedByPerson(reason="lunch"))
    denied = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert (denied.state, denied.order.text) == (OrderState.DENIED, "trading is halted: lunch")
    await working.cancel()
    assert (await working.done()).state is OrderState.CANCELLED
    await world.person(TradingResumed(reason="back"))
    assert (await manager.submit(AAPL, oms.Market("BUY", 1))).state is not OrderState.DENIED


async def test_the_books_of_a_session_are_the_same_after_a_restart(world: World) -> None:
    await world.start()
    bought = await world.bought(100)
    resting = await world.resting()
    before = [_gist(t.order) for t in (bought, resting)]
    await world.stop()
    await world.start()
    after = [await world.stored(t.order_id) for t in (bought, resting)]
    assert [_gist(order) for order in after] == before
    assert world.position() == 100
    await world.agree()


def _gist(order: Order) -> tuple[object, ...]:
    """Leave out what the next session says again: when, and under which number of the session."""
    money = (order.filled, order.notional, order.commissions)
    return order.order_id, order.state, order.terms, order.perm_ids, *money


def _transmit(wire: tuple[str, ...]) -> str:
    """Return the transmit field of a placeOrder: the one after orderRef."""
    return wire[27]
