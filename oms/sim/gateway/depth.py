"""Market depth: a small book round the touch, told as IB tells it.

The book has as many rows as were asked for, a step of price apart, and the size of the touch in
each; exchanges take turns in it where IB names a market maker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.exchange.market import Quote
from oms.sim.gateway.contract_answers import COMPONENTS, DEPTH_EXCHANGES
from oms.sim.protocol.fields import number

#: Subscriptions of one client, and rows of one side of a book.
DEPTHS_MAX: Final = 3
ROWS_MAX: Final = 20
_INSERT, _UPDATE = "0", "1"
_ASKS, _BIDS = "0", "1"


@dataclass(slots=True)
class Depth:
    """A subscription of depth, and what was told of it last."""

    contract: Contract
    #: Who makes each row; nobody where IB names none.
    makers: tuple[str, ...]
    is_smart: bool
    rows: int = 5
    told: dict[tuple[str, int], tuple[Decimal, Decimal]] = field(default_factory=dict)

    @classmethod
    def of(cls, contract: Contract, exchange: str, *, is_smart: bool) -> Depth | None:
        """Return the depth of a contract at an exchange; None where IB shows none."""
        if is_smart and contract.sec_type == "STK":
            return cls(contract, tuple(name for name, _ in COMPONENTS), is_smart)
        for name, sec_type, _, service, _ in DEPTH_EXCHANGES:
            if (name, sec_type) == (exchange, contract.sec_type):
                return cls(contract, (name,) if service == "Deep2" else (), is_smart=False)
        return None

    def news(self, quote: Quote) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield name and values of a message for each row that is another than before."""
        step = self.contract.increment(quote.last)
        for side, touch, size, sign in (
            (_ASKS, quote.ask, quote.ask_size, 1),
            (_BIDS, quote.bid, quote.bid_size, -1),
        ):
            for at in range(self.rows):
                row = (touch + sign * step * at, size)
                before = self.told.get((side, at))
                if row == before or (row[0] <= 0 and self.contract.sec_type != "FUT"):
                    continue
                self.told[side, at] = row
                values = {
                    "position": str(at),
                    "operation": _INSERT if before is None else _UPDATE,
                    "side": side,
                    "price": number(row[0]),
                    "size": number(row[1]),
                }
                if self.makers:
                    values["marketMaker"] = self.makers[at % len(self.makers)]
                    values["isSmartDepth"] = "1" if self.is_smart else "0"
                    yield "updateMktDepthL2", values
                else:
                    yield "updateMktDepth", values
