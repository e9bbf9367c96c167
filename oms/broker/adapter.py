"""What a trading engine expects of a broker: one interface, asynchronous, with typed results.

An engine that is written against `BrokerAdapter` knows nothing of IB and nothing of this program.
The methods promise what the order management system promises: an order is durable before it is
sent and is never sent twice, an event is in the log before an engine hears of it, and silence is an
error (`OutcomeUnknown`), never a guess.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from oms.core.contracts import Contract
from oms.core.events import Side, Terms
from oms.core.quotes import Quote


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
class Holding:
    """What an account holds of a contract."""

    account: str
    contract: Contract
    #: Signed: short is negative.
    quantity: Decimal
    #: Per unit, without commissions; None where the log does not know it.
    average_price: Decimal | None
    realised_pnl: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class AccountValue:
    """One value of an account, as the broker reported it."""

    account: str
    key: str
    value: str
    currency: str
    #: When the broker said so, aware UTC.
    at: datetime


@dataclass(frozen=True, slots=True)
class OrderStateEvent:
    """An order moved."""

    order_id: str
    state: str
    sequence: int


@dataclass(frozen=True, slots=True)
class OrderFillEvent:
    """Part of an order was executed. A correction comes as a fill that replaces the earlier one."""

    order_id: str
    exec_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    #: None until the broker has reported it.
    commission: Decimal | None
    at: datetime | None
    sequence: int


@dataclass(frozen=True, slots=True)
class OrderRejectEvent:
    """An order was refused, by our own checks or by the broker."""

    order_id: str
    #: The broker's code, 0 for our own checks.
    code: int
    reason: str
    sequence: int


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """The market of a subscribed contract changed."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """The line to the broker came up or was lost."""

    state: Literal["up", "down", "gap_opened", "gap_closed"]
    reason: str


@dataclass(frozen=True, slots=True)
class OverflowEvent:
    """The engine was slower than its events: the oldest were dropped. The log has them all."""

    dropped: int


BrokerEvent = (
    OrderStateEvent
    | OrderFillEvent
    | OrderRejectEvent
    | MarketEvent
    | ConnectionEvent
    | OverflowEvent
)


class BrokerAdapter(ABC):
    """A broker, as a trading engine sees it. Errors are those of `oms.errors`."""

    @abstractmethod
    async def connect(self) -> None:
        """Connect, recover and reconcile; returns when orders may leave."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connection and stay down; open orders stay at the broker."""

    @abstractmethod
    async def submit_order(
        self, contract: Contract, terms: Terms, *, order_id: str | None = None, account: str = ""
    ) -> str:
        """Send an order and return its id; the same `order_id` twice is one order.

        Raises `OrderDenied`, `TradingHalted`, `IBOrderRejectError` or `OutcomeUnknown`.
        """

    @abstractmethod
    async def modify_order(self, order_id: str, terms: Terms) -> None:
        """Change an order that can still fill."""

    @abstractmethod
    async def cancel_order(self, order_id: str) -> None:
        """Ask for an order's end; whether it ended is told by an event."""

    @abstractmethod
    async def get_positions(self) -> tuple[Holding, ...]:
        """Return what the accounts hold, as the log knows it."""

    @abstractmethod
    async def get_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return the orders that can still fill, ours and those that were adopted."""

    @abstractmethod
    async def get_account_info(self) -> tuple[AccountValue, ...]:
        """Return the latest values of the accounts, each with its age."""

    @abstractmethod
    async def subscribe_market_data(self, contract: Contract) -> None:
        """Begin `MarketEvent`s for a contract."""

    @abstractmethod
    async def unsubscribe_market_data(self, contract: Contract) -> None:
        """End them."""

    @abstractmethod
    async def get_current_price(self, contract: Contract) -> Decimal:
        """Return the middle of the market, the last price or the close, in this order; waits with a
        deadline and raises `IBConnectionError` after it.
        """

    @abstractmethod
    async def get_next_event(self) -> BrokerEvent:
        """Return the next event, in the order of the log; waits for one."""
