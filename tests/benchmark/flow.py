"""An order flow as a busy day brings it: orders of about nine events each, interleaved, of four
accounts and 1,250 contracts, with cancels, rejects, partial fills and commissions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from oms.core.contracts import Contract
from oms.core.events import (
    CommissionReceived,
    Context,
    Event,
    ExecutionReceived,
    NoticeReceived,
    OrderIntended,
    OrderMessageSent,
    OrderStatusReceived,
    Pending,
    SessionOpened,
    Terms,
)

ACCOUNTS = ("DU1000001", "DU1000002", "DU1000003", "DU1000004")
CONTRACTS = tuple(
    Contract(
        con_id=265598 + 17 * n,
        symbol=f"S{n:04X}",
        exchange="SMART",
        primary_exchange="NASDAQ",
        local_symbol=f"S{n:04X}",
        trading_class="NMS",
    )
    for n in range(1250)
)
BROKER = Context("broker", session_epoch=1)
DAEMON = Context("daemon", session_epoch=1)


def pendings(count: int, seed: int = 7, open_orders: int = 1_000) -> list[Pending]:
    """Return the first facts of a day."""
    return list(islice(day(seed, open_orders), count))


def day(seed: int = 7, open_orders: int = 1_000, first: int = 1) -> Iterator[Pending]:
    """Yield facts without end, of so many orders at work at any time, numbered from the first."""
    rnd = random.Random(seed)
    opened = SessionOpened(
        host="127.0.0.1",
        port=4002,
        client_id=1,
        server_version=178,
        connection_time="20261120 12:00:00 UTC",
        accounts=ACCOUNTS,
        next_broker_order_id=1,
    )
    yield Pending(opened, DAEMON)
    at_work: list[Iterator[Pending]] = []
    number = first - 1
    while True:
        if len(at_work) < open_orders and (not at_work or rnd.random() < 0.5):
            number += 1
            at_work.append(_life(rnd, number))
        which = rnd.randrange(len(at_work))
        fact = next(at_work[which], None)
        if fact is None:
            number += 1
            at_work[which] = _life(rnd, number)
            fact = next(at_work[which])
        yield fact


def _life(rnd: random.Random, number: int) -> Iterator[Pending]:
    account, contract = ACCOUNTS[number % 4], rnd.choice(CONTRACTS)
    order_id = f"{rnd.getrandbits(128):032x}"
    quantity = 100 * rnd.randrange(1, 11)
    price = Decimal(rnd.randrange(1000, 50000)) / 100
    terms = Terms(
        side="BUY" if rnd.random() < 0.5 else "SELL",
        quantity=Decimal(quantity),
        order_type="LMT",
        limit_price=price,
    )
    intent = OrderIntended(order_id=order_id, account=account, contract=contract, terms=terms)
    yield Pending(intent, Context("strategy:bench", 1, None, order_id))
    sent = OrderMessageSent(kind="place", client_id=1, broker_order_id=number, order_ref=order_id)
    yield Pending(sent, Context("daemon", 1, None, order_id))
    fate = rnd.random()
    if fate < 0.02:
        text = "Order rejected - reason:The minimum price variation is violated."
        notice = NoticeReceived(subject_id=number, code=201, text=text)
        yield _received(notice, ("4", "2", str(number), "201", text, ""))
        return
    yield _status(number, "PreSubmitted", 0, quantity)
    yield _status(number, "Submitted", 0, quantity)
    if fate < 0.15:
        yield _status(number, "PendingCancel", 0, quantity)
        yield _status(number, "Cancelled", 0, quantity)
        return
    fills, done = min(quantity // 100, 1 + int(rnd.expovariate(0.7))), 0
    for k in range(1, fills + 1):
        part = quantity - done if k == fills else quantity // fills
        done += part
        exec_id = f"0000e0d5.{number:08x}.{k:02d}.01"
        at = price + Decimal(rnd.randrange(-3, 4)) / 100
        fill = _Fill(exec_id, part, at, done)
        yield _execution(number, intent, fill)
        yield _status(number, "Filled" if done == quantity else "Submitted", done, quantity - done)
        report = CommissionReceived(
            exec_id=exec_id, commission=Decimal(part) * Decimal("0.005"), currency="USD"
        )
        wire = ("59", "1", exec_id, str(report.commission), "USD", UNSET, UNSET, "")
        yield _received(report, wire)


UNSET = "1.7976931348623157E308"


def _received(event: Event, wire: tuple[str, ...]) -> Pending:
    return Pending(event, BROKER, wire)


def _status(number: int, status: str, filled: int, remaining: int) -> Pending:
    event = OrderStatusReceived(
        broker_order_id=number,
        status=status,
        filled=Decimal(filled),
        remaining=Decimal(remaining),
        average_fill_price=Decimal(0),
        perm_id=1_500_000_000 + number,
        last_fill_price=Decimal(0),
        client_id=1,
    )
    wire = ("3", str(number), status, str(filled), str(remaining), "0")
    return _received(event, (*wire, str(event.perm_id), "0", "0", "1", "", "0"))


@dataclass(frozen=True)
class _Fill:
    exec_id: str
    quantity: int
    price: Decimal
    #: Filled so far, this one included.
    done: int


def _execution(number: int, intent: OrderIntended, fill: _Fill) -> Pending:
    perm_id, text = 1_500_000_000 + number, "20261120 12:00:00 UTC"
    contract, account = intent.contract, intent.account
    event = ExecutionReceived(
        broker_order_id=number,
        client_id=1,
        perm_id=perm_id,
        order_ref=intent.order_id,
        account=account,
        contract=contract,
        exec_id=fill.exec_id,
        side=intent.terms.side,
        quantity=Decimal(fill.quantity),
        price=fill.price,
        venue="NASDAQ",
        time_text=text,
        cumulative_quantity=Decimal(fill.done),
        average_price=fill.price,
    )
    side, price, symbol = "BOT" if event.side == "BUY" else "SLD", str(fill.price), contract.symbol
    wire = (
        *("11", "-1", str(number), str(contract.con_id), symbol, "STK", "", "0.0", "", ""),
        *("NASDAQ", "USD", symbol, "NMS", fill.exec_id, text, account, "NASDAQ", side),
        *(str(fill.quantity), price, str(perm_id), "1", "0", str(fill.done), price),
        *(intent.order_id, "", "", "", "2", "0"),
    )
    return _received(event, wire)
