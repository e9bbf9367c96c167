"""The contracts that exist: stocks, indices, currencies, futures, what is derived from them. Pure.

Symbols are real ones; con ids of the best-known stocks are IB's, the others are made from the
symbol and stay the same for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from oms.sim.broker.exchange.contracts import (
    BAG_ID,
    CONVERSION_VENUE,
    MARKET_RULES,
    Contract,
)
from oms.sim.broker.exchange.identifiers import made_isin

#: symbol (_ is a blank), con id (0: made from the symbol), listing exchange, round price, name
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
SGOV 0 ARCA 100 ISHARES 0-3 MONTH TREASURY B
VTI 12340041 ARCA 260 VANGUARD TOTAL STOCK MKT ETF
ABNB 459530964 NASDAQ 145 AIRBNB INC-CLASS A
PLTR 444857009 NASDAQ 24 PALANTIR TECHNOLOGIES INC-A
BRK_B 72063691 NYSE 410 BERKSHIRE HATHAWAY INC-CL B
"""

#: Of those, the exchange-traded funds: they have a net asset value.
FUNDS_TRADED: Final = frozenset(("SPY", "QQQ", "IWM", "GLD", "TLT", "SGOV", "VTI"))

_US_VENUES: Final = ("SMART", "AMEX", "NYSE", "ARCA", "ISLAND", "IEX")

#: The same symbol listed elsewhere: a look-up without exchange and currency finds them all.
_FOREIGN: Final = """
AAPL 0 MEXI 3300 MXN APPLE INC
AAPL 0 IBIS2 175 EUR APPLE INC
AMD 0 MEXI 2600 MXN ADVANCED MICRO DEVICES
AMD 0 IBIS2 138 EUR ADVANCED MICRO DEVICES
IBM 0 LSEETF 145 GBP INTL BUSINESS MACHINES CORP
MSFT 0 IBIS2 380 EUR MICROSOFT CORP
SAP 14204 IBIS 180 EUR SAP SE
VOD 0 LSE 70 GBP VODAFONE GROUP PLC
"""


#: The country in an ISIN, by the listing exchange of a share that has no listing in New York.
_COUNTRIES: Final = {"IBIS": "DE", "IBIS2": "DE", "LSE": "GB", "LSEETF": "GB", "MEXI": "MX"}


def stable_id(text: str) -> int:
    """Return a con id for a contract that has none of IB's: nine digits from its name."""
    return 700_000_000 + zlib.crc32(text.encode()) % 99_000_000


def _rule(tick: str) -> int:
    """The market rule whose one increment is `tick`."""
    wanted = ((Decimal(0), Decimal(tick)),)
    return next(rule for rule, bands in MARKET_RULES.items() if bands == wanted)


def stocks() -> Iterator[Contract]:
    """Yield the stocks, main listings first. A share has one ISIN wherever it is listed."""
    american = {line.split(" ", 4)[4] for line in _STOCKS.strip().splitlines()}
    for line in _STOCKS.strip().splitlines():
        symbol, con_id, listing, price, name = line.split(" ", 4)
        symbol = symbol.replace("_", " ")
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
            valid_exchanges=",".join(dict.fromkeys((*_US_VENUES, listing))),
            stock_type="ETF" if symbol in FUNDS_TRADED else "COMMON",
            isin=made_isin("US", name),
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
            isin=made_isin("US" if name in american else _COUNTRIES[listing], name),
        )


#: symbol, con id, price, tick
_FOREX: Final = """
EUR.USD 12087792 1.0850 0.00005
GBP.USD 12087797 1.2700 0.00005
AUD.USD 14433401 0.6600 0.00005
USD.CHF 12087820 0.8850 0.00005
USD.CAD 15016062 1.3600 0.00005
USD.JPY 15016059 151.50 0.005
EUR.GBP 12087807 0.8540 0.00005
"""

#: symbol, exchange, multiplier, tick, price, months a year, name
_FUTURES: Final = """
ES CME 50 0.25 5300 4 E-mini S&P 500
NQ CME 20 0.25 18500 4 E-mini NASDAQ 100
MES CME 5 0.25 5300 4 Micro E-Mini S&P 500
CL NYMEX 1000 0.01 80 12 Light Sweet Crude Oil
GC COMEX 100 0.1 2300 12 Gold
ZN CBOT 1000 0.015625 110 4 10 Year US Treasury Note
"""
_MONTH_CODES: Final = "FGHJKMNQUVXZ"


def forex() -> Iterator[Contract]:
    """Yield the currency pairs."""
    for line in _FOREX.strip().splitlines():
        pair, con_id, price, tick = line.split()
        symbol, _, currency = pair.partition(".")
        yield Contract(
            con_id=int(con_id),
            symbol=symbol,
            sec_type="CASH",
            currency=currency,
            primary_exchange="IDEALPRO",
            local_symbol=pair,
            trading_class=pair,
            base_price=Decimal(price),
            long_name=f"{symbol}.{currency}",
            minimum_tick=Decimal(tick),
            valid_exchanges=f"IDEALPRO,{CONVERSION_VENUE}",
            market_rule=_rule(tick),
        )


def futures(today: date) -> Iterator[Contract]:
    """Yield the futures that are listed on a day."""
    for line in _FUTURES.strip().splitlines():
        symbol, exchange, multiplier, tick, price, months, name = line.split(" ", 6)
        for expiry in expiries(today, int(months)):
            code = f"{symbol}{_MONTH_CODES[expiry.month - 1]}{expiry.year % 10}"
            yield Contract(
                con_id=stable_id(f"{code}.{expiry:%Y%m%d}"),
                symbol=symbol,
                sec_type="FUT",
                currency="USD",
                primary_exchange=exchange,
                local_symbol=code,
                trading_class=symbol,
                base_price=Decimal(price),
                long_name=name,
                minimum_tick=Decimal(tick),
                multiplier=Decimal(multiplier),
                multiplier_text=multiplier,
                expiry=f"{expiry:%Y%m%d}",
                valid_exchanges=exchange,
                market_rule=_rule(tick),
            )


#: symbol, con id, exchange, price, name: an index has a price and is not traded
_INDICES: Final = """
SPX 416904 CBOE 5300 S&P 500 Stock Index
NDX 416843 NASDAQ 18500 NASDAQ 100 Stock Index
VIX 13455763 CBOE 15 CBOE Volatility Index
"""


def indices() -> Iterator[Contract]:
    """Yield the indices."""
    for line in _INDICES.strip().splitlines():
        symbol, con_id, exchange, price, name = line.split(" ", 4)
        yield Contract(
            con_id=int(con_id),
            symbol=symbol,
            sec_type="IND",
            currency="USD",
            primary_exchange=exchange,
            local_symbol=symbol,
            trading_class=symbol,
            base_price=Decimal(price),
            long_name=name,
            valid_exchanges=exchange,
            stock_type="",
        )


def expiries(today: date, months_a_year: int) -> list[date]:
    """Return the third Fridays of the next months that have a future: four of them."""
    found: list[date] = []
    year, month = today.year, today.month
    while len(found) < 4:
        day = third_friday(year, month)
        if month % (12 // months_a_year) == 0 and day >= today:
            found.append(day)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def third_friday(year: int, month: int) -> date:
    """Return the day on which a month's futures and options expire."""
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)


def strike_step(price: Decimal) -> Decimal:
    """Return the distance of two strikes at a price of the underlying."""
    if price < 25:
        return Decimal("0.5")
    return Decimal(1) if price < 100 else Decimal(5)


#: Options on these trade in cents at every price, on others in five from 3 on.
_PENNY_OPTIONS: Final = frozenset(("SPY", "QQQ", "IWM"))


def option(underlying: Contract, expiry: str, strike: Decimal, right: str) -> Contract:
    """Return an option on a stock or, settled in cash, on an index.

    Its base price is a first guess; its market is made by a model, see `valuation`.
    """
    strike_text = f"{int(strike * 1000):08d}"
    local = f"{underlying.symbol:<6}{expiry[2:]}{right}{strike_text}"
    return Contract(
        con_id=stable_id(local),
        symbol=underlying.symbol,
        sec_type="OPT",
        currency=underlying.currency,
        primary_exchange="CBOE",
        local_symbol=local,
        trading_class=underlying.symbol,
        base_price=_worth(underlying, strike, right),
        long_name=underlying.long_name,
        multiplier=Decimal(100),
        multiplier_text="100",
        expiry=expiry,
        strike=strike,
        right=right,
        under_id=underlying.con_id,
        valid_exchanges="SMART,CBOE,AMEX,PHLX,ISE",
        market_rule=26 if underlying.symbol in _PENNY_OPTIONS else 32,
        stock_type="",
    )


def _worth(underlying: Contract, strike: Decimal, right: str) -> Decimal:
    """What exercise would bring now, and two per cent of the price of the underlying."""
    worth = underlying.base_price - strike if right == "C" else strike - underlying.base_price
    base = max(worth, Decimal(0)) + underlying.base_price / 50
    return base.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def futures_option(future: Contract, strike: Decimal, right: str) -> Contract:
    """Return an option on a future that expires with it, on its exchange and price steps."""
    local = f"{future.local_symbol} {right}{strike.normalize():f}"
    return Contract(
        con_id=stable_id(f"{local}.{future.expiry}"),
        symbol=future.symbol,
        sec_type="FOP",
        currency=future.currency,
        primary_exchange=future.primary_exchange,
        local_symbol=local,
        trading_class=future.trading_class,
        base_price=future.on_tick(_worth(future, strike, right)),
        long_name=future.long_name,
        minimum_tick=future.minimum_tick,
        multiplier=future.multiplier,
        multiplier_text=future.multiplier_text,
        expiry=future.expiry,
        strike=strike,
        right=right,
        under_id=future.con_id,
        valid_exchanges=future.valid_exchanges,
        market_rule=future.market_rule,
        stock_type="",
    )


#: symbol, currency, price, name: an index one can trade as a CFD
_INDEX_CFDS: Final = """
IBUS500 USD 5300 US 500
IBUS30 USD 39000 US 30
IBUST100 USD 18500 US Tech 100
IBDE40 EUR 18400 Germany 40
IBGB100 GBP 8200 UK 100
"""


INDEX_CFDS: Final = frozenset(line.split()[0] for line in _INDEX_CFDS.strip().splitlines())


def contracts_for_difference() -> Iterator[Contract]:
    """Yield CFDs on the stocks that are listed in New York, and on five indices."""
    for one in stocks():
        if one.currency == "USD":
            yield _difference(one.symbol, one.currency, one.base_price, one.long_name, one.con_id)
    under = {"IBUS500": "SPX", "IBUST100": "NDX"}
    indices_by_symbol = {one.symbol: one.con_id for one in indices()}
    for line in _INDEX_CFDS.strip().splitlines():
        symbol, currency, price, name = line.split(" ", 3)
        under_id = indices_by_symbol.get(under.get(symbol, ""), 0)
        yield _difference(symbol, currency, Decimal(price), name, under_id)


def _difference(symbol: str, currency: str, price: Decimal, name: str, under_id: int) -> Contract:
    return Contract(
        con_id=stable_id(f"CFD.{symbol}"),
        symbol=symbol,
        sec_type="CFD",
        currency=currency,
        primary_exchange="SMART",
        local_symbol=symbol,
        trading_class=symbol,
        base_price=price,
        long_name=name,
        valid_exchanges="SMART",
        under_id=under_id,
        stock_type="",
    )


#: symbol, con id, tick, price, name: crypto currencies against the dollar at Paxos
_CRYPTO: Final = """
BTC 479624278 0.25 65000 Bitcoin cryptocurrency
ETH 495759171 0.01 3400 Ethereum cryptocurrency
LTC 498989715 0.01 80 Litecoin cryptocurrency
BCH 498989721 0.01 450 Bitcoin Cash cryptocurrency
"""


def crypto() -> Iterator[Contract]:
    """Yield the crypto currencies: for sale in a hundred-millionth of one."""
    for line in _CRYPTO.strip().splitlines():
        symbol, con_id, tick, price, name = line.split(" ", 4)
        yield Contract(
            con_id=int(con_id),
            symbol=symbol,
            sec_type="CRYPTO",
            currency="USD",
            primary_exchange="PAXOS",
            local_symbol=f"{symbol}.USD",
            trading_class=symbol,
            base_price=Decimal(price),
            long_name=name,
            minimum_tick=Decimal(tick),
            size_increment=Decimal("0.00000001"),
            valid_exchanges="PAXOS",
            market_rule=_rule(tick),
            stock_type="",
        )


#: issuer, coupon, matures, price in per cent of its face, name
_BONDS: Final = """
AAPL 3.25 20290223 96.4 APPLE INC
AAPL 4.65 20460223 92.8 APPLE INC
MSFT 3.5 20350212 93.9 MICROSOFT CORP
JPM 5.04 20330123 99.2 JPMORGAN CHASE & CO
US-T 4.125 20330815 98.6 UNITED STATES TREASURY
"""


#: The currency of a bond by the country in its ISIN; of all others the euro.
_ISSUED_IN: Final = {"US": "USD", "GB": "GBP", "CH": "CHF", "JP": "JPY", "CA": "CAD"}


def bonds() -> Iterator[Contract]:
    """Yield the bonds that are known without having been asked for."""
    for line in _BONDS.strip().splitlines():
        symbol, coupon, matures, price, issuer = line.split(" ", 4)
        isin = made_isin("US", f"{issuer} {coupon} {matures}")
        yield _bond(symbol, isin, coupon, matures, Decimal(price))


def bond_of(isin: str) -> Contract:
    """Return the bond of an ISIN that nobody has asked for yet."""
    made = zlib.crc32(isin.encode())
    coupon = str(Decimal(made % 28 + 8) / 4)
    matures = f"{2031 + made % 20}{made % 12 + 1:02d}15"
    return _bond(isin[2:8], isin, coupon, matures, 90 + Decimal(made % 200) / 10)


def _bond(symbol: str, isin: str, coupon: str, matures: str, price: Decimal) -> Contract:
    """A bond: an order counts pieces of 1,000 of its face, the price is in per cent of it."""
    return Contract(
        con_id=stable_id(f"BOND.{isin}"),
        symbol=symbol,
        sec_type="BOND",
        currency=_ISSUED_IN.get(isin[:2], "EUR"),
        primary_exchange="SMART",
        local_symbol=f"IBCID{stable_id(f'IBCID.{isin}')}",
        trading_class=symbol,
        base_price=price,
        long_name=f"{symbol} {coupon} {matures[4:6]}/{matures[6:]}/{matures[2:4]}",
        minimum_tick=Decimal("0.001"),
        multiplier=Decimal(10),
        expiry=matures,
        valid_exchanges="SMART",
        market_rule=_rule("0.001"),
        stock_type="",
        isin=isin,
        cusip=isin[2:11] if isin.startswith("US") else "",
    )


#: symbol, con id, price, name: metals, by the ounce
_METALS: Final = """
XAUUSD 69067924 2300 London Gold
XAGUSD 77124483 29 London Silver
"""
#: symbol, price, name: funds that are bought for an amount
_FUNDS: Final = """
VFIAX 480 VANGUARD 500 INDEX FUND-ADM
VINIX 430 VANGUARD INSTL INDEX FD-INST
"""


def metals_and_funds() -> Iterator[Contract]:
    """Yield the metals and the mutual funds."""
    for line in _METALS.strip().splitlines():
        symbol, con_id, price, name = line.split(" ", 3)
        yield Contract(
            con_id=int(con_id),
            symbol=symbol,
            sec_type="CMDTY",
            currency="USD",
            primary_exchange="SMART",
            local_symbol=symbol,
            trading_class=symbol,
            base_price=Decimal(price),
            long_name=name,
            stock_type="",
        )
    for line in _FUNDS.strip().splitlines():
        symbol, price, name = line.split(" ", 2)
        yield Contract(
            con_id=stable_id(f"FUND.{symbol}"),
            symbol=symbol,
            sec_type="FUND",
            currency="USD",
            primary_exchange="FUNDSERV",
            local_symbol=symbol,
            trading_class=symbol,
            base_price=Decimal(price),
            long_name=name,
            size_increment=Decimal("0.001"),
            valid_exchanges="FUNDSERV",
            stock_type="",
            isin=made_isin("US", name),
        )


def warrants(today: date) -> Iterator[Contract]:
    """Yield the warrants on SAP: calls and puts, three strikes, settled in cash."""
    under = next(one for one in stocks() if one.symbol == "SAP")
    for expiry in expiries(today, 4)[:2]:
        for strike in (160, 180, 200):
            for right in ("C", "P"):
                name = f"{under.symbol}{expiry:%y%m}{right}{strike}"
                yield Contract(
                    con_id=stable_id(f"WAR.{name}.{expiry:%Y%m%d}"),
                    symbol=under.symbol,
                    sec_type="WAR",
                    currency=under.currency,
                    primary_exchange="FWB",
                    local_symbol=name,
                    trading_class=under.symbol,
                    base_price=_worth(under, Decimal(strike), right),
                    long_name=under.long_name,
                    multiplier_text="1",
                    expiry=f"{expiry:%Y%m%d}",
                    strike=Decimal(strike),
                    right=right,
                    under_id=under.con_id,
                    valid_exchanges="FWB",
                    stock_type="",
                    isin=made_isin("DE", name),
                )


def combination(symbol: str, currency: str) -> Contract:
    """Return the contract of a combo order: its legs are with the order, its price is theirs."""
    return Contract(
        con_id=stable_id(f"BAG.{symbol}.{currency}"),
        symbol=symbol,
        sec_type="BAG",
        currency=currency,
        primary_exchange="SMART",
        local_symbol=str(BAG_ID),
        trading_class="COMB",
        base_price=Decimal(0),
        valid_exchanges="SMART",
    )
