"""Executions and their commissions as the broker keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from oms.sim.broker.books import stored
from oms.sim.broker.books.ledger import ZERO, Charge
from oms.sim.broker.books.stored import number_or_none
from oms.sim.broker.exchange.contracts import CONVERSION_VENUE, Contract
from oms.sim.protocol.fields import number

#: Bought or sold.
Side = Literal["BOT", "SLD"]


@dataclass(slots=True)
class Execution:
    """One revision of one fill."""

    #: The stem of the fill, then the number of the revision.
    exec_id: str
    #: 0, as client and order id, for one that belongs to no order.
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    account: str
    con_id: int
    side: Side
    #: 0 for a bust.
    quantity: Decimal
    price: Decimal
    time: datetime
    venue: str
    #: Quantity and average price of all fills of the order so far.
    cumulative: Decimal
    average_price: Decimal
    liquidation: bool = False
    liquidity: int = 2
    model_code: str = ""
    #: Replaced by a later revision.
    superseded: bool = False
    #: None where none is charged, as of a combination as a whole.
    commission: Decimal | None = None
    commission_currency: str = ""
    #: P&L; None when it only opened a position.
    realized: Decimal | None = None
    pending_revision: bool = False
    #: One that tells of an exercise does not move the position: that is an adjustment of its own.
    #: A conversion of currencies moves none either.
    moves_position: bool = True

    @property
    def is_dealt(self) -> bool:
        """Say whether it was dealt, and does not only tell of an exercise."""
        return self.moves_position or self.venue == CONVERSION_VENUE

    @property
    def signed(self) -> Decimal:
        """Return the quantity, below zero for a sale."""
        return self.quantity if self.side == "BOT" else -self.quantity

    @property
    def stem(self) -> str:
        """Return what all revisions of one fill have in common."""
        return self.exec_id.rpartition(".")[0]

    @property
    def revision(self) -> int:
        """Return the number of the revision, from 1."""
        return int(self.exec_id.rpartition(".")[2])

    def charge(self, contract: Contract) -> Charge:
        """Return what it was charged; nothing where no commission is known."""
        return Charge(self.commission or ZERO, self.commission_currency or contract.currency)

    def to_json(self) -> str:
        """Return it as the books keep it."""
        return stored.dump(self)

    @classmethod
    def from_json(cls, text: str) -> Execution:
        """Read what `to_json` wrote."""
        amounts = ("quantity", "price", "cumulative", "average_price", "commission", "realized")
        return cls(**stored.load(text, decimals=amounts, times=("time",)))

    def public(self, symbol: str) -> dict[str, Any]:
        """Return it as the control port shows it."""
        return {
            "exec_id": self.exec_id,
            "perm_id": self.perm_id,
            "client_id": self.client_id,
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "account": self.account,
            "con_id": self.con_id,
            "symbol": symbol,
            "side": self.side,
            "quantity": number(self.quantity),
            "price": number(self.price),
            "time": self.time.astimezone(UTC).isoformat(),
            "superseded": self.superseded,
        }

    def public_commission(self) -> dict[str, Any]:
        """Return its commission as the control port shows it."""
        return {
            "exec_id": self.exec_id,
            "commission": number_or_none(self.commission),
            "currency": self.commission_currency,
            "realized_pnl": number_or_none(self.realized),
        }
