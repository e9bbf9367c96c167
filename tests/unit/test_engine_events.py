"""Commits of the log as events of an engine, and the queue they wait in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from oms.core.adapter import (
    CommissionEvent,
    ConnectionEvent,
    MarketEvent,
    OrderFillEvent,
    OrderRejectEvent,
    OrderStateEvent,
    OverflowEvent,
)
from oms.core.contracts import Contract
from oms.core.events import (
    CommissionReceived,
    Context,
    Envelope,
    Event,
    ExecutionReceived,
    ModifyDenied,
    SessionClosed,
    Terms,
)
from oms.core.fold.records import Fill, Order, OrderState
from oms.core.quotes import Quote
from oms.errors import IBConnectionError
from oms.service.engine_events import EngineEvents, EventQueue

D = Decimal
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPY = Contract(con_id=1, symbol="SPY")
IWM = Contract(con_id=2, symbol="IWM")
TERMS = Terms(side="BUY", quantity=D(10), order_type="MKT")
EXECUTION = ExecutionReceived(
    broker_order_id=1,
    client_id=1,
    perm_id=7,
    account="DU1",
    contract=SPY,
    exec_id="e.01",
    side="BUY",
    quantity=D(10),
    price=D(100),
    venue="ARCA",
    time_text="",
)
COMMISSION = CommissionReceived(exec_id="e.01", commission=D("1.05"), currency="USD")


def order(state: OrderState, sequence: int, **more: Any) -> Order:
    made = Order(
        order_id="o1",
        origin="ours",
        account="DU1",
        contract=SPY,
        terms=TERMS,
        actor="strategy:x",
        state=state,
    )
    return made.evolve(last_sequence=sequence, **more)


def fill(exec_id: str = "e.01", commission: str | None = None, **more: Any) -> Fill:
    made = Fill(
        account="DU1",
        stem="e",
        exec_id=exec_id,
        revision=1,
        order_id="o1",
        contract=SPY,
        side="BUY",
        quantity=D(10),
        price=D(100),
        venue="ARCA",
        time_text="",
        perm_id=7,
        client_id=1,
        broker_order_id=1,
        order_ref="o1",
        liquidation=False,
        backfilled=False,
        booked_sequence=5,
        last_sequence=5,
    )
    return made.evolve(commission=None if commission is None else D(commission), **more)


def envelope(sequence: int, event: Event) -> Envelope:
    return Envelope(sequence, event, Context(actor="broker"), NOON, 1, ())


def tell(engine: EngineEvents, *envelopes: Envelope, **tables: Any) -> list[Any]:
    changes = {name: {record.key: record} for name, record in tables.items()}
    return list(engine.tell(envelopes, changes))


def test_a_fill_comes_before_the_state_that_it_leads_to() -> None:
    engine = EngineEvents([order(OrderState.WORKING, 3)])
    told = tell(
        engine,
        envelope(5, EXECUTION),
        orders=order(OrderState.FILLED, 5, filled=D(10), notional=D(1000)),
        fills=fill(),
    )
    assert [type(one) for one in told] == [OrderFillEvent, OrderStateEvent]
    assert (told[0].commission, told[1].average_price) == (None, D(100))


def test_a_commission_of_the_same_transaction_is_told_once() -> None:
    engine = EngineEvents([])
    told = tell(
        engine, envelope(5, EXECUTION), envelope(6, COMMISSION), fills=fill(commission="1.05")
    )
    assert [type(one) for one in told] == [OrderFillEvent]
    assert told[0].commission == D("1.05")


def test_a_late_commission_is_no_change_of_state() -> None:
    filled = order(OrderState.FILLED, 5)
    told = tell(
        EngineEvents([filled]),
        envelope(9, COMMISSION),
        orders=filled.evolve(last_sequence=9),
        fills=fill(commission="1.05"),
    )
    assert told == [CommissionEvent("o1", "e.01", D("1.05"), "USD", None, 9)]


def test_a_correction_names_the_execution_that_it_replaces() -> None:
    corrected = EXECUTION.evolve(exec_id="e.02")
    (told,) = tell(
        EngineEvents([]), envelope(8, corrected), fills=fill("e.02", superseded=("e.01",))
    )
    assert (told.exec_id, told.replaces) == ("e.02", "e.01")


def test_an_execution_that_a_newer_revision_has_replaced_already_is_not_told() -> None:
    assert tell(EngineEvents([]), envelope(8, EXECUTION), fills=fill("e.02")) == []


def test_the_same_refusal_twice_is_told_twice() -> None:
    working = order(OrderState.WORKING, 3)
    engine = EngineEvents([working])
    for sequence in (4, 5):
        told = tell(
            engine,
            envelope(sequence, ModifyDenied(order_id="o1", text="off the tick")),
            orders=working.evolve(refusal="off the tick", last_sequence=sequence),
        )
        expected = OrderRejectEvent("o1", "change", 0, "off the tick", "", sequence)
        assert told == [expected]
    # Another change of the order does not repeat it.
    assert tell(engine, orders=working.evolve(refusal="off the tick", last_sequence=6)) == []


def test_ibs_refusal_of_a_change_keeps_its_code() -> None:
    working = order(OrderState.WORKING, 3)
    (told,) = tell(
        EngineEvents([working]), orders=working.evolve(refusal="105 differs", last_sequence=4)
    )
    assert (told.stage, told.code, told.reason) == ("change", 105, "differs")


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        (OrderState.DENIED, "denied"),
        (OrderState.NOT_SENT, "not_sent"),
        (OrderState.REJECTED, "rejected"),
    ],
)
def test_an_order_that_never_worked_is_a_reject_as_well(state: OrderState, stage: str) -> None:
    ended = order(state, 4, code=201, text="no margin", advanced_reject="{}")
    moved, refused = tell(EngineEvents([]), orders=ended)
    assert (moved.state, moved.reason) == (state.value, "no margin")
    assert refused == OrderRejectEvent("o1", stage, 201, "no margin", "{}", 4)  # type: ignore[arg-type]


async def test_orders_come_before_markets_and_of_a_market_the_newest() -> None:
    queue = EventQueue(10)
    for bid in (1, 2, 3):
        queue.put_market(Quote(SPY, NOON, bid=D(bid)))
    queue.put_market(Quote(IWM, NOON, bid=D(9)))
    queue.put(tell(EngineEvents([]), envelope(1, SessionClosed(reason="cut", deliberate=False))))
    assert await queue.next() == ConnectionEvent("down", "cut", 1)
    assert await queue.next() == MarketEvent(Quote(SPY, NOON, bid=D(3)), skipped=2)
    assert await queue.next() == MarketEvent(Quote(IWM, NOON, bid=D(9)), skipped=0)


async def test_a_queue_that_is_full_drops_the_oldest_and_says_which() -> None:
    queue = EventQueue(2)
    queue.put(ConnectionEvent("down", "", n) for n in range(1, 6))
    assert await queue.next() == OverflowEvent(3, 1, 3)
    assert [(await queue.next()).sequence for _ in range(2)] == [4, 5]  # type: ignore[union-attr]
    queue.close(IBConnectionError("over"))
    with pytest.raises(IBConnectionError, match="over"):
        await queue.next()
