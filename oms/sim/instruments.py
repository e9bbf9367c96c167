"""The contract catalogue: what can be looked up and traded.  Pure.

Symbols are real ones; con ids of the best-known stocks are IB's, the others are made from the
symbol and stay the same for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from oms.sim.wire import number, to_decimal


@dataclass(frozen=True, slots=True)
class Contract:
    """What is traded.  Prices are per unit in `currency`; value = price x multiplier x quantity."""

    con_id: int
    symbol: str
    sec_type: str
    currency: str
    primary_exchange: str
    local_symbol: str
    trading_class: str
    base_price: Decimal
    long_name: str = ""
    minimum_tick: Decimal = Decimal("0.01")
    multiplier: Decimal = Decimal(1)
    multiplier_text: str = ""
    expiry: str = ""
    strike: Decimal | None = None
    right: str = ""
    size_increment: Decimal = Decimal(1)
    valid_exchanges: str = "SMART"
    market_rule: int = 26
    stock_type: str = "COMMON"

    def wire(self, exchange: str = "") -> dict[str, str]:
        """The contract fields of a server message."""
        return {
            "conId": str(self.con_id),
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

    @classmethod
    def from_wire(cls, values: Mapping[str, str]) -> Query:
        strike = to_decimal(values.get("strike", ""))
        right = values.get("right", "")
        con_id = values.get("conId", "")
        return cls(
            con_id=int(con_id) if con_id else 0,
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
        )


# symbol, con id (0: made from the symbol), listing exchange, name, price in round figures
_STOCKS: Final = """
AAPL 265598 NASDAQ 190 APPLE INC
MSFT 272093 NASDAQ 410 MICROSOFT CORP
AMZN 3691937 NASDAQ 180 AMAZON.COM INC
GOOG 208813720 NASDAQ 170 ALPHABET INC-CL C
GOOGL 208813719 NASDAQ 168 ALPHABET INC-CL A
META 107113386 NASDAQ 480 META PLATFORMS INC-CLASS A
NVDA 4815747 NASDAQ 120 NVIDIA CORP
TSLA 76792991 NASDAQ 200 TESLA INC
NFLX 15124833 NASDAQ 620 NETFLIX INC
AMD 4391 NASDAQ 150 ADVANCED MICRO DEVICES
INTC 270639 NASDAQ 32 INTEL CORP
CSCO 268084 NASDAQ 48 CISCO SYSTEMS INC
PEP 0 NASDAQ 172 PEPSICO INC
COST 0 NASDAQ 800 COSTCO WHOLESALE CORP
IBM 8314 NYSE 185 INTL BUSINESS MACHINES CORP
GE 0 NYSE 160 GENERAL ELECTRIC
F 9599491 NYSE 12 FORD MOTOR CO
BAC 10098 NYSE 38 BANK OF AMERICA CORP
JPM 1520593 NYSE 200 JPMORGAN CHASE & CO
WMT 13824 NYSE 66 WALMART INC
KO 8894 NYSE 62 COCA-COLA CO/THE
DIS 6459 NYSE 105 WALT DISNEY CO/THE
XOM 13977 NYSE 115 EXXON MOBIL CORP
BA 4762 NYSE 180 BOEING CO/THE
V 49462172 NYSE 275 VISA INC-CLASS A SHARES
JNJ 8719 NYSE 150 JOHNSON & JOHNSON
PG 0 NYSE 162 PROCTER & GAMBLE CO/THE
T 37018770 NYSE 17 AT&T INC
GS 4627828 NYSE 450 GOLDMAN SACHS GROUP INC
SPY 756733 ARCA 530 SS SPDR S&P 500 ETF TRUST
QQQ 320227571 NASDAQ 455 INVESCO QQQ TRUST SERIES 1
IWM 9579970 ARCA 205 ISHARES RUSSELL 2000 ETF
GLD 51529211 ARCA 215 SPDR GOLD SHARES
TLT 15547841 NASDAQ 92 ISHARES 20+ YEAR TREASURY BD
"""

# The same symbol listed elsewhere: a look-up without exchange and currency finds them all.
_FOREIGN: Final = """
AAPL 0 MEXI 3300 MXN APPLE INC
AAPL 0 IBIS2 175 EUR APPLE INC
IBM 0 LSEETF 145 GBP INTL BUSINESS MACHINES CORP
MSFT 0 IBIS2 380 EUR MICROSOFT CORP
SAP 14204 IBIS 180 EUR SAP SE
VOD 0 LSE 70 GBP VODAFONE GROUP PLC
"""


def stable_id(text: str) -> int:
    """A con id for a contract that has none of IB's: nine digits from its name."""
    return 700_000_000 + zlib.crc32(text.encode()) % 99_000_000


def _stocks() -> Iterator[Contract]:
    for line in _STOCKS.strip().splitlines():
        symbol, con_id, listing, price, name = line.split(" ", 4)
        yield Contract(
            con_id=int(con_id) or stable_id(f"{symbol}.{listing}"),
            symbol=symbol,
            sec_type="STK",
            currency="USD",
            primary_exchange=listing,
            local_symbol=symbol,
            trading_class="NMS" if listing == "NASDAQ" else symbol,
            base_price=Decimal(price),
            long_name=name,
            valid_exchanges=f"SMART,AMEX,NYSE,ARCA,ISLAND,IEX,{listing}",
        )
    for line in _FOREIGN.strip().splitlines():
        symbol, con_id, listing, price, currency, name = line.split(" ", 5)
        yield Contract(
            con_id=int(con_id) or stable_id(f"{symbol}.{listing}"),
            symbol=symbol,
            sec_type="STK",
            currency=currency,
            primary_exchange=listing,
            local_symbol=symbol,
            trading_class=symbol,
            base_price=Decimal(price),
            long_name=name,
            valid_exchanges=f"SMART,{listing}",
        )


class Catalogue:
    """Every contract the gateway knows, by con id and by description."""

    def __init__(self) -> None:
        self._by_id: dict[int, Contract] = {}
        self._by_symbol: dict[str, list[Contract]] = {}
        for contract in _stocks():
            self.add(contract)

    def add(self, contract: Contract) -> None:
        self._by_id[contract.con_id] = contract
        self._by_symbol.setdefault(contract.symbol, []).append(contract)

    def by_id(self, con_id: int) -> Contract | None:
        return self._by_id.get(con_id)

    def resolve(self, query: Query) -> list[Contract]:
        """Every contract that fits what the client said; empty when none does."""
        if query.con_id:
            found = self._by_id.get(query.con_id)
            return [found] if found is not None and _exchange_fits(found, query.exchange) else []
        candidates = self._by_symbol.get(query.symbol or query.local_symbol.upper(), [])
        return [contract for contract in candidates if _fits(contract, query)]

    def one(self, symbol: str) -> Contract | None:
        """The main listing of a symbol, or the contract with that local symbol."""
        listed = self._by_symbol.get(symbol.upper())
        return listed[0] if listed else None


def _fits(contract: Contract, query: Query) -> bool:
    return (
        contract.sec_type == query.sec_type
        and query.currency in ("", contract.currency)
        and query.local_symbol in ("", contract.local_symbol)
        and query.trading_class in ("", contract.trading_class)
        and query.primary_exchange in ("", contract.primary_exchange, "SMART")
        and (not query.expiry or contract.expiry.startswith(query.expiry))
        and (query.strike is None or contract.strike == query.strike)
        and query.right in ("", contract.right)
        and query.multiplier in ("", contract.multiplier_text)
        and _exchange_fits(contract, query.exchange)
    )


def _exchange_fits(contract: Contract, exchange: str) -> bool:
    return exchange in ("", contract.primary_exchange) or exchange in (
        contract.valid_exchanges.split(",")
    )


def relisted(contract: Contract, **changes: object) -> Contract:
    """The same contract with other terms: after a split, for example."""
    return replace(contract, **changes)  # type: ignore[arg-type]
