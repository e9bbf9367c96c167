"""Generic ticks: what a client may ask for beside the quote, by IB's numbers.

The table is IB's own, as its gateways tell it when they refuse a list: what may be asked for of
which type. A list with anything else in it is refused whole (321), in IB's words.

Some are legal and bring nothing, here as in an account like this one at IB: 225, for there is no
auction going on; 258, for IB sells no fundamental ratios any more; 292, for there are no headlines;
586, for nothing is being listed; 587, which is for quotes that lag behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from oms.sim.broker.exchange.contracts import CONTINUOUS, Contract, Query
from oms.sim.broker.exchange.listings import FUNDS_TRADED
from oms.sim.broker.exchange.market import Quote
from oms.sim.broker.floor import Floor
from oms.sim.protocol.fields import is_digits, number

#: Name and values of a message, without the request's id.
Tick = tuple[str, dict[str, str]]
_DIVIDENDS: Final = "STK FUT OPT IND FOP CFD"
_SHORT_TERM: Final = "STK CFD OPT FOP WAR FUT BOND CRYPTO"
#: Series that come with a print, not with every quote.
PRINTS: Final = frozenset((233, 375))
#: Number, an older number for the same, name, and the types that may ask; none for all.
_TABLE: Final = (
    (100, 0, "Option Volume", ""),
    (101, 0, "Option Open Interest", ""),
    (105, 0, "Average Opt Volume", ""),
    (106, 0, "impvolat", ""),
    (162, 0, "Index Future Premium", "IND"),
    (165, 0, "Misc. Stats", ""),
    (221, 220, "Creditman Mark Price", ""),
    (225, 0, "Auction", ""),
    (232, 221, "Pl Price", ""),
    (233, 0, "RTVolume", ""),
    (236, 0, "inventory", ""),
    (258, 47, "Fundamentals", ""),
    (292, 0, "Wide_news", ""),
    (293, 0, "TradeCount", ""),
    (294, 0, "TradeRate", ""),
    (295, 0, "VolumeRate", ""),
    (318, 0, "LastRTHTrade", ""),
    (375, 0, "RTTrdVolume", ""),
    (411, 0, "rthistvol", ""),
    (456, 59, "IBDividends", _DIVIDENDS),
    (460, 0, "Bond Factor Multiplier", ""),
    (576, 0, "EtfNavBidAsk(navbidask)", "STK"),
    (577, 0, "EtfNavLast(navlast)", ""),
    (578, 0, "EtfNavClose(navclose)", "STK"),
    (586, 0, "IPOHLMPRC", ""),
    (587, 0, "Pl Price Delayed", ""),
    (588, 0, "Futures Open Interest", ""),
    (595, 0, "Short-Term Volume X Mins", _SHORT_TERM),
    (614, 0, "EtfNavMisc(high/low)", ""),
    (619, 0, "Creditman Slow Mark Price", ""),
    (623, 0, "EtfFrozenNavLast(fznavlast)", ""),
)
#: What older numbers stand for; that of historical volatility is in no list of IB's, and taken.
_OLDER: Final = {221: 232, 220: 221, 47: 258, 59: 456}
_VOLATILITY: Final = 104
#: A word in the list that switches the quote off, for those who want news alone.
_QUOTE_OFF: Final = "mdoff"
_MINUTES_A_DAY: Final = 390
#: Futures on an index, whose price above it is a premium.
_INDEX_FUTURES: Final = {"SPX": "ES", "NDX": "NQ"}
_HISTORIES: Final = ((91, "15", "16"), (182, "17", "18"), (364, "19", "20"))
_HUNDRED: Final = Decimal(100)


@dataclass(frozen=True, slots=True)
class Asked:
    """A list that was read."""

    series: frozenset[int]
    with_quote: bool = True


def read(text: str, sec_type: str) -> Asked | None:
    """Return what a list asks for; None for one that IB refuses."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    series: set[int] = set()
    for word in words:
        if word.lower() == _QUOTE_OFF:
            continue
        # What follows a colon narrows it down, as `292:BRFG` does.
        named = word.partition(":")[0]
        if not is_digits(named):
            return None
        wanted = _OLDER.get(int(named), int(named))
        if wanted != _VOLATILITY and not any(
            number_ == wanted and _allows(types, sec_type) for number_, _, _, types in _TABLE
        ):
            return None
        series.add(wanted)
    return Asked(frozenset(series), _QUOTE_OFF not in map(str.lower, words))


def refusal(text: str, sec_type: str) -> str:
    """Return IB's words for a list that it refuses: what would be legal."""
    legal = ",".join(
        f"{wanted}/{older}({name})" if older else f"{wanted}({name})"
        for wanted, older, name, types in _TABLE
        if _allows(types, sec_type)
    )
    return (
        f"Error validating request.-'bW' : cause - Incorrect generic tick list of {text}."
        f"  Legal ones for ({sec_type}) are: {legal}"
    )


def _allows(types: str, sec_type: str) -> bool:
    return not types or sec_type in types.split()


def at_first(floor: Floor, contract: Contract, series: frozenset[int]) -> Iterator[Tick]:
    """Yield what is told once: what does not hang on the quote."""
    for wanted in sorted(series & _ONCE.keys()):
        yield from _ONCE[wanted](floor, contract)


def with_quote(
    floor: Floor, contract: Contract, quote: Quote, series: frozenset[int]
) -> Iterator[Tick]:
    """Yield what is told with every quote."""
    for wanted in sorted(series & _QUOTED.keys()):
        yield from _QUOTED[wanted](floor, contract, quote)


# ── ticks ────────────────────────────────────────────────────────────────────────────────────────


def _price(kind: str, amount: Decimal) -> Tick:
    return "tickPrice", {"tickType": kind, "price": number(amount), "size": "0"}


def _size(kind: str, amount: Decimal | int) -> Tick:
    return "tickSize", {"tickType": kind, "size": number(amount)}


def _generic(kind: str, amount: Decimal | float) -> Tick:
    exact = amount if isinstance(amount, Decimal) else Decimal(repr(amount))
    return "tickGeneric", {"tickType": kind, "value": number(round(exact, 8))}


def _string(kind: str, text: str) -> Tick:
    return "tickString", {"tickType": kind, "value": text}


def _seeded(floor: Floor, contract: Contract, what: str, least: int, most: int) -> int:
    """A figure of a contract that nothing else follows from: chosen by the seed."""
    return random.Random(f"{floor.settings.seed}:{what}:{contract.con_id}").randint(least, most)


def _by_right(kinds: tuple[str, str], contract: Contract, figure: Decimal | int) -> Iterator[Tick]:
    """An option has its figure on its own side, and none on the other."""
    call, put = kinds
    yield _size(call, figure if contract.right == "C" else 0)
    yield _size(put, figure if contract.right == "P" else 0)


def _open_interest(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if contract.right:
        figure = _seeded(floor, contract, "open interest", 100, 20_000)
        yield from _by_right(("27", "28"), contract, figure)
    elif contract.sec_type in ("STK", "IND"):
        for kind, what in (("27", "calls open"), ("28", "puts open")):
            yield _size(kind, _seeded(floor, contract, what, 100_000, 2_000_000))


def _option_volume(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    if contract.right:
        yield from _by_right(("29", "30"), contract, quote.volume)
    elif contract.sec_type in ("STK", "IND"):
        for kind, what in (("29", "calls traded"), ("30", "puts traded")):
            yield _size(kind, _seeded(floor, contract, what, 1_000, 500_000))


def _average_option_volume(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if contract.sec_type == "STK":
        yield _size("87", _seeded(floor, contract, "options a day", 2_000, 1_000_000))


def _has_options(contract: Contract) -> bool:
    return contract.sec_type in ("STK", "IND")


def _historical_volatility(floor: Floor, contract: Contract) -> Iterator[Tick]:
    """Nine tenths of what options are made of: the two are seldom the same."""
    if _has_options(contract):
        yield _generic("23", floor.market.volatility(contract) * 0.9)


def _implied_volatility(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if _has_options(contract):
        yield _generic("24", floor.market.volatility(contract))


def _running_volatility(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if _has_options(contract):
        yield _generic("58", floor.market.volatility(contract) * 0.9)


def _future_premium(floor: Floor, contract: Contract) -> Iterator[Tick]:
    symbol = _INDEX_FUTURES.get(contract.symbol, "")
    query = Query.from_wire({"symbol": symbol, "secType": CONTINUOUS})
    for future in floor.catalogue.resolve(query) if symbol else ():
        yield _generic("31", floor.market.quote(future).last - floor.market.quote(contract).last)


def _stats(floor: Floor, contract: Contract) -> Iterator[Tick]:
    """The lows and highs of 13, 26 and 52 weeks of history, and the volume of a day."""
    quote, today = floor.market.quote(contract), floor.clock.now().date()
    days = list(floor.market.days(contract, today - timedelta(days=_HISTORIES[-1][0])))
    for length, low_kind, high_kind in _HISTORIES:
        since = today - timedelta(days=length)
        within = [one for one in days if one.day >= since]
        yield _price(low_kind, min((one.low for one in within), default=quote.low))
        yield _price(high_kind, max((one.high for one in within), default=quote.high))
    if contract.sec_type == "STK":
        yield _size("21", _seeded(floor, contract, "volume a day", 1_000, 500_000))


def _shortable(floor: Floor, contract: Contract) -> Iterator[Tick]:
    """More than 2.5: there are a thousand shares or more to borrow."""
    if contract.sec_type == "STK":
        yield _generic("46", Decimal(3))
        yield _size("89", _seeded(floor, contract, "to borrow", 100_000, 20_000_000))


def _dividends(floor: Floor, contract: Contract) -> Iterator[Tick]:
    """Of the past and the next year, the next day and amount: nothing is paid here."""
    if contract.sec_type == "STK":
        yield _string("59", ",,,")


def _bond_factor(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if contract.sec_type == "BOND":
        yield _generic("60", Decimal(1))


def _futures_interest(floor: Floor, contract: Contract) -> Iterator[Tick]:
    if contract.sec_type == "FUT":
        yield _size("86", _seeded(floor, contract, "futures open", 1_000, 2_500_000))


def _mark(quote: Quote) -> Decimal:
    """The price at which IB marks a position: the last, or the side of the touch it is beyond."""
    return min(max(quote.last, quote.bid), quote.ask)


def _mark_price(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _price("37", _mark(quote))


def _creditor_mark(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _price("78", _mark(quote))


def _slow_mark(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _price("79", _mark(quote))


def _last_regular(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _price("57", quote.last)


def print_text(floor: Floor, quote: Quote) -> str:
    """Return a print as ticks 48 and 77 have it: price, size, time, volume, average, single."""
    milliseconds = int(floor.clock.now().timestamp() * 1000)
    average = round((quote.open + quote.high + quote.low + quote.last) / 4, 8)
    fields: list[Decimal | int] = [quote.last, quote.last_size, milliseconds, quote.volume, average]
    return ";".join([*(number(one) for one in fields), "true"])


def _printed(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    if contract.sec_type != "IND":
        yield _string("48", print_text(floor, quote))


def _reported(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    if contract.sec_type != "IND":
        yield _string("77", print_text(floor, quote))


def _print_count(quote: Quote) -> Decimal:
    return quote.volume // _HUNDRED


def _count_of_prints(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _generic("54", _print_count(quote))


def _rate_of_prints(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _generic("55", _print_count(quote) / _MINUTES_A_DAY)


def _volume_rate(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    yield _generic("56", quote.volume / _MINUTES_A_DAY)


def _short_term(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
    for kind, minutes in (("63", 3), ("64", 5), ("65", 10)):
        yield _size(kind, quote.volume * minutes // _MINUTES_A_DAY)


def _net_asset_value(*told: tuple[str, str]) -> Callable[[Floor, Contract, Quote], Iterator[Tick]]:
    """The value of a traded fund, which is its price here."""

    def ticks(floor: Floor, contract: Contract, quote: Quote) -> Iterator[Tick]:
        if contract.symbol in FUNDS_TRADED and contract.sec_type == "STK":
            for kind, name in told:
                yield _price(kind, getattr(quote, name))

    return ticks


_ONCE: Final[Mapping[int, Callable[[Floor, Contract], Iterator[Tick]]]] = {
    101: _open_interest,
    _VOLATILITY: _historical_volatility,
    105: _average_option_volume,
    106: _implied_volatility,
    162: _future_premium,
    165: _stats,
    236: _shortable,
    411: _running_volatility,
    456: _dividends,
    460: _bond_factor,
    588: _futures_interest,
}
_QUOTED: Final[Mapping[int, Callable[[Floor, Contract, Quote], Iterator[Tick]]]] = {
    100: _option_volume,
    221: _creditor_mark,
    232: _mark_price,
    233: _printed,
    293: _count_of_prints,
    294: _rate_of_prints,
    295: _volume_rate,
    318: _last_regular,
    375: _reported,
    576: _net_asset_value(("94", "bid"), ("95", "ask")),
    577: _net_asset_value(("96", "last")),
    578: _net_asset_value(("92", "close"), ("93", "close")),
    595: _short_term,
    614: _net_asset_value(("98", "high"), ("99", "low")),
    619: _slow_mark,
    623: _net_asset_value(("97", "last")),
}
