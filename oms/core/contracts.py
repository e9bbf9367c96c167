"""What is traded."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from oms.core.money import ONE


class Contract(BaseModel):
    """A contract as IB describes it; `con_id` identifies it, 0 means that IB has not been asked
    yet.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    con_id: int = 0
    symbol: str
    #: IB's security type: STK, OPT, FUT, FOP, CASH, BAG, IND ...
    sec_type: str = "STK"
    currency: str = "USD"
    #: Where orders are routed; the venue, not a property of the contract. Often empty in position
    #: messages.
    exchange: str = ""
    primary_exchange: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    #: yyyymm or yyyymmdd for derivatives, else empty.
    expiry: str = ""
    strike: Decimal | None = None
    #: C or P for options, else empty.
    right: str = ""
    #: Units of the underlying per contract; None means 1.
    multiplier: Decimal | None = None

    @property
    def units(self) -> Decimal:
        """Return the multiplier as a number to calculate with."""
        return self.multiplier if self.multiplier is not None else ONE

    def __str__(self) -> str:
        parts = [self.local_symbol or self.symbol, self.sec_type]
        if self.expiry and not self.local_symbol:
            parts.append(self.expiry)
        return " ".join([*parts, self.currency])


def Stock(symbol: str, exchange: str = "SMART", currency: str = "USD") -> Contract:
    """Describe a stock; qualify it before use."""
    return Contract(symbol=symbol.upper(), sec_type="STK", exchange=exchange, currency=currency)
