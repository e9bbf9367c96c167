"""What is traded.

The functions describe a contract in the words of a trader; `OrderManager.qualify` asks IB for the
one contract that fits. Strikes and multipliers are Decimals or their text, never floats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, get_args

from oms.core.asked import door
from oms.core.bounds import ConId, Price, Units, Word, brief
from oms.core.members import members
from oms.core.money import ONE, Number, number, plain
from oms.core.values import Given
from oms.errors import InvalidRequest

Right = Literal["C", "P"]


class ComboLeg(Given):
    """One leg of a combo: so many of a contract, bought or sold when the combo is bought."""

    con_id: ConId
    side: Literal["BUY", "SELL"]
    ratio: Units = 1
    exchange: Word = ""


#: Combos have no con_id of their own, their legs name them.
Identity = tuple[int, tuple[ComboLeg, ...]]


class Contract(Given):
    """A contract as IB describes it; `con_id` identifies it, 0 means that IB has not been asked
    yet.
    """

    con_id: ConId = 0
    symbol: Word
    #: IB's security type: STK, OPT, FUT, FOP, CASH, BAG, IND ...
    sec_type: Word = "STK"
    currency: Word = "USD"
    #: Where orders are routed; the venue, not a property of the contract. Often empty in position
    #: messages.
    exchange: Word = ""
    primary_exchange: Word = ""
    local_symbol: Word = ""
    trading_class: Word = ""
    #: yyyymm or yyyymmdd for derivatives, else empty.
    expiry: Word = ""
    strike: Price | None = None
    #: C or P for options, else empty.
    right: Word = ""
    #: Units of the underlying per contract; None means 1.
    multiplier: Price | None = None
    #: What a BAG is made of, else empty. IB gives combos no con_id of their own: their legs name
    #: them.
    legs: tuple[ComboLeg, ...] = ()

    @property
    def units(self) -> Decimal:
        """Return the multiplier as a number to calculate with."""
        return self.multiplier if self.multiplier is not None else ONE

    @property
    def identity(self) -> Identity:
        """Return what tells a contract that IB has named from all others."""
        return self.con_id, self.legs

    @property
    def is_combo(self) -> bool:
        """Say whether it is made of other contracts."""
        return self.sec_type == "BAG"

    def __str__(self) -> str:
        parts = [self.local_symbol or self.symbol, self.sec_type]
        if not self.local_symbol:
            parts += [self.expiry, plain(self.strike), self.right]
        return " ".join(part for part in (*parts, self.currency) if part)


def described(contract: Contract) -> Contract:
    """Return a contract that somebody describes; raises `InvalidRequest` where a word or a number
    of it cannot stand on IB's wire as it was written.
    """
    words = {name: getattr(contract, name) for name in _WORDS}
    words |= {f"legs[{n}].exchange": leg.exchange for n, leg in enumerate(contract.legs)}
    for name, text in words.items():
        if not text.isprintable():
            raise InvalidRequest(f"{name} must be printable text, found {brief(text)}")
    for name, value in (("strike", contract.strike), ("multiplier", contract.multiplier)):
        if value is not None:
            number(name, value)
    for leg in contract.legs:
        if not leg.con_id or leg.ratio > _RATIO_MAX:
            raise InvalidRequest(
                f"a leg needs a con_id and a ratio of at most {_RATIO_MAX:,}, found"
                f" {leg.side}:{leg.ratio}:{leg.con_id}"
            )
    return contract


@door
def Stock(
    symbol: str, exchange: str = "SMART", currency: str = "USD", *, primary_exchange: str = ""
) -> Contract:
    """Describe a stock; qualify it before use."""
    contract = Contract(
        symbol=_symbol(symbol),
        sec_type="STK",
        exchange=exchange,
        currency=currency,
        primary_exchange=primary_exchange,
    )
    return described(contract)


@door
def Option(
    symbol: str,
    expiry: str,
    strike: Number,
    right: str,
    exchange: str = "SMART",
    *,
    currency: str = "USD",
    multiplier: Number | None = None,
    trading_class: str = "",
) -> Contract:
    """Describe an option on a stock or an index: expiry yyyymmdd, right C or P."""
    contract = Contract(
        symbol=_symbol(symbol),
        sec_type="OPT",
        exchange=exchange,
        currency=currency,
        expiry=_expiry(expiry),
        strike=number("strike", strike),
        right=_right(right),
        multiplier=_positive("multiplier", multiplier),
        trading_class=trading_class,
    )
    return described(contract)


@door
def FuturesOption(
    symbol: str,
    expiry: str,
    strike: Number,
    right: str,
    exchange: str,
    *,
    currency: str = "USD",
    multiplier: Number | None = None,
    trading_class: str = "",
) -> Contract:
    """Describe an option on a future: the option's own expiry yyyymmdd, right C or P."""
    option = Option(
        symbol,
        expiry,
        strike,
        right,
        exchange,
        currency=currency,
        multiplier=multiplier,
        trading_class=trading_class,
    )
    return option.evolve(sec_type="FOP")


@door
def Future(
    symbol: str,
    expiry: str,
    exchange: str,
    currency: str = "USD",
    *,
    multiplier: Number | None = None,
    trading_class: str = "",
) -> Contract:
    """Describe a future by its month (yyyymm) or its last day (yyyymmdd)."""
    contract = Contract(
        symbol=_symbol(symbol),
        sec_type="FUT",
        exchange=exchange,
        currency=currency,
        expiry=_expiry(expiry),
        multiplier=_positive("multiplier", multiplier),
        trading_class=trading_class,
    )
    return described(contract)


@door
def Forex(pair: str, exchange: str = "IDEALPRO") -> Contract:
    """Describe a currency pair: EURUSD, EUR.USD or EUR/USD; the quantity is in the first one."""
    found = _PAIR.fullmatch(pair.strip().upper())
    if found is None or found[1] == found[2]:
        raise InvalidRequest(
            f"a currency pair is two different currencies such as EUR.USD, found {brief(pair)}"
        )
    return described(
        Contract(symbol=found[1], sec_type="CASH", exchange=exchange, currency=found[2])
    )


@door
def Index(symbol: str, exchange: str, currency: str = "USD") -> Contract:
    """Describe an index: it has quotes and cannot be ordered."""
    return described(
        Contract(symbol=_symbol(symbol), sec_type="IND", exchange=exchange, currency=currency)
    )


@door
def Leg(side: str, contract: Contract, ratio: int = 1) -> ComboLeg:
    """Describe a leg of a combo, from a contract that is qualified."""
    if contract.con_id <= 0:
        raise InvalidRequest(
            f"a leg needs a qualified contract, found {contract} without a con_id",
            hint="`await om.qualify(...)` gives it",
        )
    if side not in {"BUY", "SELL"}:
        raise InvalidRequest(f"a leg is a BUY or a SELL, found {brief(side)}")
    if isinstance(ratio, bool) or not isinstance(ratio, int) or not 1 <= ratio <= _RATIO_MAX:
        raise InvalidRequest(f"a leg's ratio is a whole number from 1 on, found {brief(ratio)}")
    return ComboLeg(
        con_id=contract.con_id,
        side="BUY" if side == "BUY" else "SELL",
        ratio=ratio,
        exchange=contract.exchange or "SMART",
    )


@door
def Combo(
    symbol: str, legs: Sequence[ComboLeg], exchange: str = "SMART", currency: str = "USD"
) -> Contract:
    """Describe a combo of two to eight legs under the symbol of their underlying; buying it buys
    the BUY legs and sells the SELL legs, at the difference of their prices.
    """
    if not _LEGS_MIN <= len(legs) <= _LEGS_MAX:
        raise InvalidRequest(f"a combo has {_LEGS_MIN} to {_LEGS_MAX} legs, found {len(legs)}")
    twice = [leg.con_id for leg in legs if [one.con_id for one in legs].count(leg.con_id) > 1]
    if twice:
        raise InvalidRequest(f"contract {twice[0]} is in more than one leg of the combo")
    contract = Contract(
        symbol=_symbol(symbol),
        sec_type="BAG",
        exchange=exchange,
        currency=currency,
        legs=tuple(legs),
    )
    return described(contract)


_WORDS: Final = tuple(
    name for name, one in members(Contract).items() if get_args(one.hint)[:1] == (str,)
)
#: IB's greatest number of legs on a guaranteed combo, and a ratio that no exchange reaches.
_LEGS_MIN: Final = 2
_LEGS_MAX: Final = 8
_RATIO_MAX: Final = 10_000
_PAIR: Final = re.compile(r"([A-Z]{3})[./]?([A-Z]{3})")
_EXPIRY: Final = re.compile(r"\d{6}(\d{2})?", re.ASCII)
_RIGHTS: Final[dict[str, Right]] = {"C": "C", "CALL": "C", "P": "P", "PUT": "P"}


def _right(text: str) -> Right:
    found = _RIGHTS.get(text.upper())
    if found is None:
        raise InvalidRequest(f"an option's right is C or P, found {brief(text)}")
    return found


def _symbol(text: str) -> str:
    if not text.strip():
        raise InvalidRequest("a contract needs a symbol, found none")
    return text.strip().upper()


def _expiry(text: str) -> str:
    if not _EXPIRY.fullmatch(text) or not 1 <= int(text[4:6]) <= 12:
        raise InvalidRequest(f"an expiry is yyyymm or yyyymmdd, found {brief(text)}")
    return text


def _positive(name: str, value: Number | None) -> Decimal | None:
    if value is None:
        return None
    found = number(name, value)
    if found <= 0:
        raise InvalidRequest(f"{name} must be above zero, found {found}")
    return found


def may_be_same(one: Contract, other: Contract) -> bool:
    """Say whether two descriptions can mean one contract; what one leaves open settles nothing.

    Expiries are not compared: a contract's month is not always the month of its last day.
    """
    if (one.symbol, one.sec_type) != (other.symbol, other.sec_type):
        return False
    pairs = (
        (one.con_id, other.con_id),
        (one.strike, other.strike),
        (one.right, other.right),
        (_legs(one), _legs(other)),
    )
    return all(not first or not second or first == second for first, second in pairs)


def contradiction(described: Contract, found: Contract) -> str:
    """Return what a person's description says against the contract that its con id names, "" for
    nothing.

    A description with a local symbol is IB's own of an earlier day: a symbol may have changed since
    under the same con id. The currency says nothing: it has a default, and a con id is often given
    to choose among equal symbols. A month is not compared with a day.
    """
    if not described.symbol or described.local_symbol:
        return ""
    pairs = (
        (described.symbol, found.symbol),
        (described.sec_type, found.sec_type),
        (described.right, found.right),
        (plain(described.strike), plain(found.strike)),
        (described.expiry if described.expiry[6:] else "", found.expiry),
    )
    return ", ".join(f"{said} is {is_}" for said, is_ in pairs if said and is_ and said != is_)


def _legs(contract: Contract) -> frozenset[tuple[int, str, int]]:
    return frozenset((leg.con_id, leg.side, leg.ratio) for leg in contract.legs)
