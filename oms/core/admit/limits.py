"""The operator's limits: values that a rule of `core.admit.rules` compares an order with.

A limit can be one number, or a number with exceptions: `100, symbol:AAPL=200, sec_type:FUT=5`. The
most specific entry that fits an order counts, whether it is wider or narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final, Literal

from oms.core.bounds import ASKED_LIMIT, brief
from oms.core.contracts import Contract
from oms.core.money import NotANumber, parse_decimal, plain

#: What an entry can be about, the most specific first.
_SCOPES: Final[dict[str, Callable[[str, Contract], str]]] = {
    "con_id": lambda account, contract: str(contract.con_id),
    "symbol": lambda account, contract: contract.symbol.upper(),
    "account": lambda account, contract: account,
    "sec_type": lambda account, contract: contract.sec_type.upper(),
    "currency": lambda account, contract: contract.currency.upper(),
}
#: IB numbers the accounts of its paper gateways with these letters.
PAPER_PREFIXES: Final = ("DU", "DF")
#: The ports that IB sets for TWS and IB Gateway of each kind.
PAPER_PORTS: Final = frozenset({7497, 4002})
LIVE_PORTS: Final = frozenset({7496, 4001})


@dataclass(frozen=True, slots=True)
class Scoped:
    """A limit with exceptions."""

    #: Holds where no exception fits; None is no limit.
    standard: Decimal | None = None
    #: Scope, what it names, and its limit.
    exceptions: tuple[tuple[str, str, Decimal], ...] = ()

    @classmethod
    def read(cls, text: str) -> Scoped:
        """Return the limit that a text spells; raises ValueError naming the part that is none."""
        standard: Decimal | None = None
        exceptions: list[tuple[str, str, Decimal]] = []
        for part in (one.strip() for one in text.split(",") if one.strip()):
            where, separator, number = part.rpartition("=")
            limit = _positive(number)
            if not separator:
                if standard is not None:
                    raise ValueError(f"{part!r} is a second number without a scope")
                standard = limit
                continue
            scope, colon, name = where.strip().partition(":")
            scope, name = scope.strip(), name.strip()
            if scope not in _SCOPES or not colon or not name:
                known = ", ".join(f"{one}:NAME" for one in _SCOPES)
                raise ValueError(f"{part!r} names no scope; write one of {known} before the =")
            name = name if scope == "account" else name.upper()
            if any(one[:2] == (scope, name) for one in exceptions):
                raise ValueError(f"{scope}:{name} is there twice")
            exceptions.append((scope, name, limit))
        if text.strip() and standard is None and not exceptions:
            raise ValueError("it names no limit; leave it empty for none")
        return cls(standard, tuple(exceptions))

    def of(self, account: str, contract: Contract) -> Decimal | None:
        """Return the limit that holds for a contract in an account; None is no limit."""
        for scope, name_of in _SCOPES.items():
            for one, name, limit in self.exceptions:
                if one == scope and name == name_of(account, contract):
                    return limit
        return self.standard

    @property
    def is_set(self) -> bool:
        """Say whether it limits anything."""
        return self.standard is not None or bool(self.exceptions)

    def __str__(self) -> str:
        standard = [] if self.standard is None else [plain(self.standard)]
        exceptions = [f"{scope}:{name}={plain(limit)}" for scope, name, limit in self.exceptions]
        return ", ".join(standard + exceptions)


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's limits; what is not set limits nothing."""

    #: Of one order, in units of the contract.
    order_quantity_max: Scoped = Scoped()
    #: Of one order, in the contract's currency.
    order_notional_max: Scoped = Scoped()
    #: How far a price may be beyond the market, in percent.
    order_collar_percent: Scoped = Scoped()
    collar_without_quote: Literal["refuse", "pass"] = "refuse"
    #: Orders at work in one contract of one account, the new one included.
    open_orders_max: Scoped = Scoped()
    #: Of the whole daemon.
    orders_per_minute_max: int | None = None
    #: How long after an order its like is taken for a slip of the hand; 0 is not at all.
    duplicate_window: timedelta = timedelta()
    #: What becomes of an order that is not a closing one and could open a short position.
    exposure: Literal["off", "warn", "refuse"] = "off"
    #: Accounts that orders may name; empty means those that the gateway manages.
    accounts: tuple[str, ...] = ()
    #: Symbols and con ids that may be ordered; empty means all.
    contracts: tuple[str, ...] = ()
    #: Security types that may be ordered; empty means all.
    sec_types: tuple[str, ...] = ()
    #: What kind of account may be ordered for.
    mode: Literal["paper", "live"] = "paper"
    #: Of the gateway, 0 where it does not matter.
    port: int = 0


def is_paper(account: str) -> bool:
    """Say whether an account is one of a paper gateway."""
    return account.startswith(PAPER_PREFIXES)


def is_advisor(account: str) -> bool:
    """Say whether an account is an advisor's, whose orders are allocated among other accounts."""
    return account.removeprefix("D").startswith("F")


def _positive(text: str) -> Decimal:
    try:
        limit = parse_decimal(text)
    except NotANumber as error:
        raise ValueError(str(error)) from error
    if limit <= 0:
        raise ValueError(f"{brief(limit)} must be more than 0")
    return ASKED_LIMIT.check(limit)
