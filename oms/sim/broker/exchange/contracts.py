"""What is traded: contracts, how clients describe them, and the prices they may have. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from oms.sim.protocol.fields import number, to_bool, to_decimal, to_int

#: IB's security types that exist here: stock, option, future, option on a future, currency pair,
#: combination, index, contract for difference, crypto currency, bond, warrant, fund, metal.
SecType = Literal[
    "STK",
    "OPT",
    "FUT",
    "FOP",
    "CASH",
    "BAG",
    "IND",
    "CFD",
    "CRYPTO",
    "BOND",
    "WAR",
    "FUND",
    "CMDTY",
]
#: A look-up of this type finds the front future of a symbol: it has that one's con id.
CONTINUOUS: Final = "CONTFUT"
#: What has a right, a strike and an end, and is worth what a model makes of its underlying.
OPTIONS: Final = frozenset(("OPT", "FOP", "WAR"))
#: Where currencies are converted: both balances move, and there is no position in the pair.
CONVERSION_VENUE: Final = "FXCONV"
#: The con id that IB shows for every combination in US dollars.
BAG_ID: Final = 28812380

#: Price increments, each from a lower edge on. The smallest is the contract's minTick.
MARKET_RULES: Final[Mapping[int, tuple[tuple[Decimal, Decimal], ...]]] = {
    rule: tuple((Decimal(edge), Decimal(step)) for edge, step in bands)
    for rule, bands in {
        26: (("0", "0.01"),),
        32: (("0", "0.01"), ("3", "0.05")),
        67: (("0", "0.25"),),
        239: (("0", "0.00005"),),
        # IB's numbers of the next five are not known here.
        9001: (("0", "0.1"),),
        9002: (("0", "0.015625"),),
        9003: (("0", "0.005"),),
        9004: (("0", "0.0001"),),
        9005: (("0", "0.001"),),
    }.items()
}


@dataclass(frozen=True, slots=True)
class Contract:
    """What is traded. Prices are per unit in `currency`; value = price x multiplier x quantity."""

    con_id: int
    symbol: str
    sec_type: SecType
    currency: str
    primary_exchange: str
    local_symbol: str
    trading_class: str
    #: The price round which its market begins.
    base_price: Decimal
    long_name: str = ""
    minimum_tick: Decimal = Decimal("0.01")
    multiplier: Decimal = Decimal(1)
    #: The multiplier as clients see it: empty where there is none.
    multiplier_text: str = ""
    #: `yyyymmdd`; empty for what does not expire.
    expiry: str = ""
    strike: Decimal | None = None
    #: C or P of an option.
    right: str = ""
    #: What a size must be a multiple of.
    size_increment: Decimal = Decimal(1)
    #: Con id of the underlying.
    under_id: int = 0
    #: By commas.
    valid_exchanges: str = "SMART"
    #: The number of its price increments, see `MARKET_RULES`.
    market_rule: int = 26
    stock_type: str = "COMMON"
    #: Made up, see `identifiers`; empty where IB tells none.
    isin: str = ""
    cusip: str = ""

    def increment(self, price: Decimal) -> Decimal:
        """Return the step that a price of this size must be a multiple of."""
        size = abs(price)
        steps = [step for edge, step in MARKET_RULES[self.market_rule] if edge <= size]
        return steps[-1]

    def on_tick(self, price: Decimal) -> Decimal:
        """Return the price nearest to `price` that the market rule allows."""
        step = self.increment(price)
        return (price / step).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * step

    def expired(self, today: date) -> bool:
        """Say whether its last trading day was before `today`."""
        return bool(self.expiry) and self.expiry < f"{today:%Y%m%d}"

    def to_json(self) -> str:
        """Return it as the books keep it."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read what `to_json` wrote."""
        row = json.loads(text)
        for name in ("base_price", "minimum_tick", "multiplier", "size_increment", "strike"):
            row[name] = None if row[name] is None else Decimal(row[name])
        return cls(**row)

    def wire(self, exchange: str = "") -> dict[str, str]:
        """Return the contract fields of a server message."""
        return {
            "conId": str(BAG_ID if self.sec_type == "BAG" else self.con_id),
            "symbol": self.symbol,
            "secType": self.sec_type,
            "lastTradeDateOrContractMonth": self.expiry,
            "strike": number(self.strike) if self.strike is not None else "0",
            "right": self.right,
            "multiplier": self.multiplier_text,
            "exchange": exchange or self.primary_exchange,
            "primaryExchange": self.primary_exchange,
            "currency": self.currency,
            "localSymbol": self.local_symbol,
            "tradingClass": self.trading_class,
        }


@dataclass(frozen=True, slots=True)
class Query:
    """What a client says about a contract: any field may be empty."""

    con_id: int
    symbol: str
    sec_type: str
    expiry: str
    strike: Decimal | None
    right: str
    multiplier: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    include_expired: bool = False
    #: ISIN or CUSIP, and the number; IB knows more.
    sec_id_type: str = ""
    sec_id: str = ""

    @classmethod
    def from_wire(cls, values: Mapping[str, str]) -> Query:
        """Read the contract fields of a client's message."""
        strike = to_decimal(values.get("strike", ""))
        right = values.get("right", "")
        return cls(
            con_id=to_int(values.get("conId", "")),
            symbol=values.get("symbol", "").upper(),
            sec_type=values.get("secType", ""),
            expiry=values.get("lastTradeDateOrContractMonth", ""),
            strike=strike or None,
            right=right[:1] if right in ("C", "P", "CALL", "PUT") else "",
            multiplier=values.get("multiplier", ""),
            exchange=values.get("exchange", ""),
            primary_exchange=values.get("primaryExchange", ""),
            currency=values.get("currency", ""),
            local_symbol=values.get("localSymbol", ""),
            trading_class=values.get("tradingClass", ""),
            include_expired=to_bool(values.get("includeExpired", "")),
            sec_id_type=values.get("secIdType", "").upper(),
            sec_id=values.get("secId", "").upper(),
        )

    def conflict(self, found: Contract) -> str:
        """Return what the client says against the contract that its con id names, in IB's words;
        "" for nothing.
        """
        pairs = (
            ("symbol", self.symbol, found.symbol),
            ("expiry", self.expiry, found.expiry),
            ("strike", self.strike, found.strike),
            ("right", self.right, found.right),
            ("multiplier", self.multiplier, found.multiplier_text),
            ("currency", self.currency, found.currency),
        )
        return " ".join(
            f"requested {name} {said}, in contract {is_};"
            for name, said, is_ in pairs
            if said and said != is_
        )
