"""Facts for the tests of the log: small, valid, and different where a test needs it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from oms.core.contracts import Contract
from oms.core.events import (
    CommissionReceived,
    Context,
    ExecutionReceived,
    GapOpened,
    OpenOrderReceived,
    OrderIntended,
    OrderMessageSent,
    OrderStatusReceived,
    Pending,
    SessionOpened,
    Terms,
)

ACCOUNT = "DU1234567"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
BROKER = Context("broker", session_epoch=1)


def contract(number: int = 0) -> Contract:
    return Contract(con_id=265598 + number, symbol=f"S{number}", exchange="SMART")


def gap(cause: str = "line lost") -> Pending:
    return Pending(GapOpened(cause=cause), Context("daemon"))


def session(client_id: int = 7) -> Pending:
    event = SessionOpened(
        host="127.0.0.1",
        port=4002,
        client_id=client_id,
        server_version=178,
        connection_time="20261120 12:00:00 UTC",
        accounts=(ACCOUNT,),
        next_broker_order_id=1,
    )
    return Pending(event, Context("daemon", session_epoch=1))


def intent(order_id: str, quantity: int = 100, number: int = 0) -> Pending:
    terms = Terms(
        side="BUY", quantity=Decimal(quantity), order_type="LMT", limit_price=Decimal("10.5")
    )
    event = OrderIntended(
        order_id=order_id, account=ACCOUNT, contract=contract(number), terms=terms
    )
    return Pending(event, Context("strategy:test", correlation_id=order_id))


def sent(order_id: str, broker_order_id: int) -> Pending:
    event = OrderMessageSent(
        kind="place", client_id=7, broker_order_id=broker_order_id, order_ref=order_id
    )
    return Pending(event, Context("daemon", session_epoch=1, correlation_id=order_id))


def status(broker_order_id: int, text: str, filled: int = 0, remaining: int = 100) -> Pending:
    event = OrderStatusReceived(
        broker_order_id=broker_order_id,
        status=text,
        filled=Decimal(filled),
        remaining=Decimal(remaining),
        perm_id=1000 + broker_order_id,
        client_id=7,
    )
    wire = ("3", str(broker_order_id), text, str(filled), str(remaining))
    return Pending(event, BROKER, wire)


def opened(order_id: str, broker_order_id: int, number: int = 0) -> Pending:
    event = OpenOrderReceived(
        broker_order_id=broker_order_id,
        client_id=7,
        perm_id=1000 + broker_order_id,
        order_ref=order_id,
        account=ACCOUNT,
        contract=contract(number),
        side="BUY",
        quantity=Decimal(100),
        order_type="LMT",
        limit_price=Decimal("10.5"),
        tif="DAY",
        status="Submitted",
    )
    return Pending(event, BROKER, ("5", str(broker_order_id)))


def execution(
    exec_id: str,
    quantity: int = 100,
    *,
    order_id: str = "",
    broker_order_id: int = 1,
    number: int = 0,
    fetched: bool = False,
    side: str = "BUY",
    price: str = "10.25",
) -> Pending:
    event = ExecutionReceived(
        broker_order_id=broker_order_id,
        client_id=7,
        perm_id=1000 + broker_order_id,
        order_ref=order_id,
        account=ACCOUNT,
        contract=contract(number),
        exec_id=exec_id,
        side="BUY" if side == "BUY" else "SELL",
        quantity=Decimal(quantity),
        price=Decimal(price),
        venue="NASDAQ",
        time_text="20261120 12:00:01 UTC",
        fetched=fetched,
    )
    return Pending(event, Context("broker", session_epoch=1, occurred_at=NOON), ("11", exec_id))


def commission(exec_id: str, amount: str = "1.05") -> Pending:
    event = CommissionReceived(exec_id=exec_id, commission=Decimal(amount), currency="USD")
    return Pending(event, BROKER, ("59", exec_id, amount))


def lives(seed: int, orders: int) -> Iterator[Pending]:
    """Yield the facts of many orders, interleaved, with late and early commissions, corrections
    and messages about orders that have long ended.
    """
    rnd = random.Random(seed)
    yield session()
    at_work: list[list[Pending]] = []
    late: list[Pending] = []
    for number in range(1, orders + 1):
        at_work.append(_life(rnd, number, late))
        while len(at_work) > 8 or (at_work and rnd.random() < 0.5):
            life = rnd.choice(at_work)
            yield life.pop(0)
            if not life:
                at_work.remove(life)
        if late and rnd.random() < 0.3:
            yield late.pop(rnd.randrange(len(late)))
    for life in at_work:
        yield from life
    yield from late


def _life(rnd: random.Random, number: int, late: list[Pending]) -> list[Pending]:
    order_id, which = f"order-{number}", rnd.randrange(12)
    facts = [
        intent(order_id, 100, which),
        sent(order_id, number),
        opened(order_id, number, which),
        status(number, "Submitted"),
    ]
    if rnd.random() < 0.2:
        return [*facts, status(number, "Cancelled", 0, 100)]
    stem = f"0000e0d5.{number:08x}.01"
    fill = execution(
        f"{stem}.01",
        order_id=order_id,
        broker_order_id=number,
        number=which,
        side=rnd.choice(("BUY", "SELL")),
    )
    report = commission(f"{stem}.01")
    facts += rnd.choice(([fill, report], [report, fill]))
    facts.append(status(number, "Filled", 100, 0))
    chance = rnd.random()
    if chance < 0.2:
        # Long after everybody has forgotten the order, IB restates its price.
        late.append(
            execution(
                f"{stem}.02",
                order_id=order_id,
                broker_order_id=number,
                number=which,
                side=fill.event.side,  # type: ignore[attr-defined]
                price="10.26",
            )
        )
    elif chance < 0.4:
        late.append(commission(f"{stem}.01", "1.05"))
    elif chance < 0.6:
        facts.remove(report)
        late.append(report)
    return facts
