"""What a trading engine expects of a broker: one interface, asynchronous, with typed results.

An engine that is written against `BrokerAdapter` knows nothing of IB and nothing of this program.
The methods promise what the order management system promises: an order is durable before it is
sent and is never sent twice, an event is in the log before an engine hears of it, and silence is an
error (`OutcomeUnknown`), never a guess.

`oms.IBBrokerAdapter` implements it; `tests/conformance/broker_adapter.py` is the contract as tests,
for whoever writes another one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from oms.core.contracts import Contract
from oms.core.events import Side, Terms
from oms.core.portfolio import Account, Holding
from oms.core.quotes import Quote

__all__ = [
    "Account",
    "BrokerAdapter",
    "BrokerEvent",
    "CommissionEvent",
    "ConnectionEvent",
    "Holding",
    "MarketEvent",
    "MarketRefusedEvent",
    "OpenOrder",
    "OrderFillEvent",
    "OrderRejectEvent",
    "OrderStateEvent",
    "OverflowEvent",
    "Quote",
]


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that can still fill."""

    order_id: str
    account: str
    contract: Contract
    terms: Terms
    state: str
    filled_quantity: Decimal
    remaining_quantity: Decimal


@dataclass(frozen=True, slots=True)
class OrderStateEvent:
    """An order moved. States that it passed within one transaction of the log are not told."""

    order_id: str
    state: str
    filled_quantity: Decimal
    remaining_quantity: Decimal
    #: Over all its fills, without commissions; None before the first.
    average_price: Decimal | None
    #: The broker's words, or why its outcome is unknown; empty where there are none.
    reason: str
    sequence: int


@dataclass(frozen=True, slots=True)
class OrderFillEvent:
    """Part of an order was executed, or an execution was corrected.

    A correction has the name of what it replaces: take the fill `replaces` back, where you booked
    it, and book this one. A bust is a correction to quantity zero.
    """

    #: Empty where no order of the books claims the execution, such as one that a person entered.
    order_id: str
    exec_id: str
    #: The exec_id of the fill that this one corrects; empty for a new one.
    replaces: str
    account: str
    contract: Contract
    side: Side
    quantity: Decimal
    price: Decimal
    #: None until the broker has reported it: then a `CommissionEvent` follows.
    commission: Decimal | None
    commission_currency: str
    #: The broker's time, aware UTC; None where its text names no zone.
    at: datetime | None
    sequence: int


@dataclass(frozen=True, slots=True)
class CommissionEvent:
    """The commission of a fill that was told without one, or another than was told."""

    order_id: str
    exec_id: str
    commission: Decimal
    currency: str
    #: The broker's own result of the execution; None where it does not apply.
    realised_pnl: Decimal | None
    sequence: int


@dataclass(frozen=True, slots=True)
class OrderRejectEvent:
    """An order, or a change or cancel of one, was refused."""

    order_id: str
    #: `denied` by our own rules, `not_sent` because the line was gone, `rejected` by the broker; or
    #: a `change` or cancel was refused, and the order goes on as it was.
    stage: Literal["denied", "not_sent", "rejected", "change"]
    #: The broker's code, 0 for our own checks.
    code: int
    reason: str
    #: What the broker wrote beside code and text, as JSON text; empty where it wrote nothing.
    advanced_reject: str
    sequence: int


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """The market of a subscribed contract changed; an engine that is slow gets the newest."""

    quote: Quote
    #: How many changes of this contract were replaced by it before anybody asked.
    skipped: int


@dataclass(frozen=True, slots=True)
class MarketRefusedEvent:
    """A subscription ended without us: the broker gives no data, and says why."""

    contract: Contract
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """The line to the broker came up or was lost; `ready` once orders may leave over it."""

    state: Literal["up", "ready", "down", "gap_opened", "gap_closed"]
    reason: str
    sequence: int


@dataclass(frozen=True, slots=True)
class OverflowEvent:
    """The engine was slower than its events: the oldest were dropped. The log has them all."""

    dropped: int
    first_sequence: int
    last_sequence: int


BrokerEvent = (
    OrderStateEvent
    | OrderFillEvent
    | CommissionEvent
    | OrderRejectEvent
    | MarketEvent
    | MarketRefusedEvent
    | ConnectionEvent
    | OverflowEvent
)


class BrokerAdapter(ABC):
    """A broker, as a trading engine sees it. Errors are those of `oms.errors`."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect, recover and reconcile; returns when orders may leave.

        Raises `IBConnectionError` where no broker answers in time. What happens from here on is
        told by `get_next_event`, whenever it is first called.
        """

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connection and stay down; open orders stay at the broker.

        Events that were not taken stay to be taken; after them `get_next_event` raises
        `IBConnectionError`. Disconnecting twice is no error.
        """

    @abstractmethod
    async def submit_order(
        self, contract: Contract, terms: Terms, *, order_id: str | None = None, account: str = ""
    ) -> str:
        """Send an order and return its id once the broker has it; the same `order_id` twice is one
        order.

        Raises `InvalidRequest` for what cannot be an order, `OrderDeniedError` or `TradingHalted`
        where our own rules refuse, `IBOrderRejectError` with the broker's code, `IBConnectionError`
        where it never left, and `OutcomeUnknown` where the broker is silent: then the order may be
        there.
        """

    @abstractmethod
    async def modify_order(self, order_id: str, terms: Terms) -> None:
        """Change an order that can still fill to other terms.

        Raises `NotFound`, `InvalidRequest` for what cannot change, `OrderDeniedError` and
        `IBOrderRejectError` for a refusal (the order goes on as it was), and `OutcomeUnknown` where
        the broker is silent.
        """

    @abstractmethod
    async def cancel_order(self, order_id: str) -> None:
        """Ask for an order's end; whether it ended is told by an event.

        Of an order that has ended already it is no error. Raises `NotFound`, and `OrderDeniedError`
        where the order is not ours to cancel.
        """

    @abstractmethod
    async def get_positions(self) -> tuple[Holding, ...]:
        """Return what the accounts hold, as the log knows it, beside what the broker says."""

    @abstractmethod
    async def get_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the orders that can still fill, ours and those that were adopted, oldest first."""

    @abstractmethod
    async def get_account_info(self) -> tuple[Account, ...]:
        """Return the figures of the accounts, each with its age or the reason why it is unknown."""

    @abstractmethod
    async def subscribe_market_data(self, contract: Contract) -> None:
        """Begin `MarketEvent`s for a contract; they go on over lost lines. Twice is once.

        Raises `MarketLinesExhausted` where one contract more is too many.
        """

    @abstractmethod
    async def unsubscribe_market_data(self, contract: Contract) -> None:
        """End them. Without a subscription it is no error."""

    @abstractmethod
    async def get_current_price(self, contract: Contract) -> Decimal:
        """Return the middle of the market, the last price or the close, in this order; waits with a
        deadline and raises `IBConnectionError` after it, `BrokerError` where there is no price.
        """

    @abstractmethod
    async def get_next_event(self) -> BrokerEvent:
        """Return the next event, in the order of the log, before any news of a market; waits for
        one.
        """
