"""What the service needs from the log and from the broker, as small as it can be said.

`store.log.EventLog` and `broker.gateway.Gateway` fit; the daemon is the only place that names them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from oms.core.admit.venue_rules import VenueRules
from oms.core.contracts import Contract
from oms.core.events import Envelope, Pending, Terms, WhatIfReceived
from oms.core.fold.records import AnyRecord
from oms.core.outgoing import Outgoing
from oms.core.quotes import FeedKind, Quote

if TYPE_CHECKING:
    from oms.broker.market_data import Feed


class ReceiptLike(Protocol):
    """Where a fact stands in the log."""

    @property
    def sequence(self) -> int:
        """Return the sequence under which the fact is stored."""
        ...

    @property
    def duplicate(self) -> bool:
        """Say whether the fact was stored before."""
        ...

    @property
    def conflict(self) -> bool:
        """Say whether another fact holds its natural key."""
        ...


class Log(Protocol):
    """The durable log: appending is the only way to change anything."""

    def append(self, pending: Pending) -> asyncio.Future[Any]:
        """Hand a fact over; the future resolves when it is durable."""
        ...

    def append_together(self, pendings: Sequence[Pending]) -> asyncio.Future[Any]:
        """Hand facts over that stand or fall together."""
        ...

    async def flush(self) -> None:
        """Wait until everything handed over so far is durable and published."""
        ...

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call back on the loop after each commit; returns the way to stop."""
        ...


class HeadLike(Protocol):
    """Where the log ends."""

    @property
    def sequence(self) -> int:
        """Return the sequence of the last event, 0 for an empty log."""
        ...


class Reader(Protocol):
    """The stored events and rows."""

    async def head(self) -> HeadLike:
        """Return where the log ends."""
        ...

    async def checkpoints(self) -> dict[str, int]:
        """Return the sequence that the rows of each fold have reached."""
        ...

    async def one(self, table: str, key: str) -> AnyRecord | None:
        """Return the row of a key."""
        ...

    async def rows(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: str = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[AnyRecord]:
        """Return the rows whose columns have these values (a list means any of them)."""
        ...

    async def events(
        self,
        after: int = 0,
        *,
        limit: int = 1000,
        before: int | None = None,
        type: str | Collection[str] | None = None,
        reverse: bool = False,
    ) -> list[Envelope]:
        """Return events with `after < sequence < before` in order of sequence, filtered."""
        ...


class QualifiedLike(Protocol):
    """A contract that IB knows, with the rules its orders must keep."""

    @property
    def contract(self) -> Contract:
        """Return the contract with its con_id."""
        ...

    @property
    def rules(self) -> VenueRules:
        """Return what its venue takes."""
        ...


class Orders(Protocol):
    """The way orders leave: paced, and sent means handed to the socket."""

    @property
    def client_id(self) -> int:
        """Return the client id under which orders leave."""
        ...

    @property
    def session_epoch(self) -> int:
        """Return the number of the current session, 0 without one."""
        ...

    @property
    def managed_accounts(self) -> tuple[str, ...]:
        """Return the accounts that the gateway announced."""
        ...

    async def qualify(self, contract: Contract) -> QualifiedLike:
        """Return the one contract that fits; raises ContractUnknown or ContractAmbiguous."""
        ...

    async def quote(self, contract: Contract) -> Quote:
        """Return the market of a contract as it is now."""
        ...

    async def price(self, contract: Contract) -> Quote:
        """Return a quote that has a price, as soon as there is one."""
        ...

    def feed(self, contract: Contract, kind: FeedKind = "quotes") -> Feed:
        """Return a bounded queue of a contract's quotes, ticks or bars."""
        ...

    def last_quotes(self) -> Mapping[int, Quote]:
        """Return the newest quotes that were heard, by con_id."""
        ...

    def next_broker_order_id(self) -> int:
        """Return an order id that this client id has never used."""
        ...

    def send(self, message: Outgoing) -> object:
        """Send an order message; what cannot leave is reported to the gateway's `on_not_sent`."""
        ...

    async def what_if(self, *, account: str, contract: Contract, terms: Terms) -> WhatIfReceived:
        """Ask what an order would cost; raises IBOrderRejectError or IBConnectionError."""
        ...

    def call_back(self, reason: str) -> tuple[str, ...]:
        """Report what waits to leave as not sent, cancels excepted; return the ids of orders."""
        ...
