"""The floor: what every part of the broker works with, handed on as one value.

A part takes the floor and the few functions of other parts that it needs, and knows nothing of who
put it together: that is `broker`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from oms.sim.broker.books.books import Books
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange.catalogue import Catalogue
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Market
from oms.sim.broker.exchange.past import Past
from oms.sim.broker.exchange.sessions import Sessions
from oms.sim.clock import Clock, midnight_before
from oms.sim.settings import Settings


class Notify(Protocol):
    """Who is told, and what. The gateway decides which sessions may hear it."""

    def accepted(self, order: Order) -> None:
        """Hear that a new order has its permanent id; nothing was said about it yet."""

    def order(self, order: Order) -> None:
        """Say openOrder, then orderStatus."""

    def status(self, order: Order) -> None:
        """Say orderStatus alone."""

    def execution(self, execution: Execution) -> None:
        """Say execDetails."""

    def commission(self, execution: Execution) -> None:
        """Say the commissionReport of an execution."""

    def error(self, client_id: int, request_id: int, code: int, text: str) -> None:
        """Say an error with the id of an order or of a request."""

    def position(self, account: str, con_id: int) -> None:
        """Hear that a position is another than before."""

    def quote(self, contract: Contract) -> None:
        """Hear that the market of a contract has moved."""

    def margin_preview(self, order: Order, contract: Contract) -> None:
        """Say what a whatIf order would do."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What is known, what is traded, what time it is, by which rules, and who is told."""

    settings: Settings
    clock: Clock
    #: The gateway's time zone: of its midnight and of times that name none.
    zone: ZoneInfo
    books: Books
    market: Market
    catalogue: Catalogue
    notify: Notify

    def contract(self, con_id: int) -> Contract:
        """Return the contract of a con id. Raises LookupError where there is none."""
        found = self.catalogue.by_id(con_id)
        if found is None:
            raise LookupError(f"con id {con_id} is not in the catalogue")
        return found

    def day_start(self) -> datetime:
        """Return the midnight before now: how far back executions are answered."""
        return midnight_before(self.clock.now(), self.zone)


def open_floor(settings: Settings, clock: Clock, notify: Notify) -> Floor:
    """Open the books and go on from them: known contracts, prices, and the opening balance."""
    zone = ZoneInfo(settings.zone)
    books = Books(settings.books)
    past = Past(settings.seed, Sessions(settings.hours == "always", zone))
    catalogue = Catalogue(lambda: clock.now().astimezone(zone).date())
    market = Market(
        settings.seed, contract_of=catalogue.by_id, now=clock.now, past=past, record=books.tape
    )
    for contract in books.contracts():
        catalogue.restore(contract)
    # Options that nobody traded are listed, and quoted, anew when somebody asks for them.
    market.restore({con_id: body for con_id, body in books.quotes().items()
                    if catalogue.by_id(con_id)})  # fmt: skip
    books.before_commit.append(lambda: books.save_quotes(market.changes()))
    for account in settings.accounts:
        if (account, settings.base_currency) not in books.cash:
            books.add_cash(account, settings.base_currency, settings.cash)
    books.commit()
    return Floor(settings, clock, zone, books, market, catalogue, notify)
