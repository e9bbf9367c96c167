"""One rule of money for each of IB's security types: what moves cash, and when.

The table is the only place that knows it. Where cash does not follow from executions, the rule says
why, and what depends on it is *unknown* in a report, never left out. A type that is not in the
table has no rule, which is said as well. Sources: broker notes, balances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal

#: `price`: quantity times price times multiplier, with the execution.
#: `pair`: that, and the quantity itself in the first currency.
#: `result`: only what a closing realises; nothing while it is held, but financing.
#: `settled`: the gain or loss of each day while it is held, without a message; over its life that
#: is what it realised.
#: `legs`: nothing by itself, its legs have executions of their own.
#: `unknown`: not what the execution says.
CashRule = Literal["price", "pair", "result", "settled", "legs", "unknown"]


@dataclass(frozen=True, slots=True)
class MoneyRule:
    """What executions in one type of security do to cash."""

    cash: CashRule
    #: Why cash cannot be followed, always or while something is held; empty where it can.
    why: str = ""
    #: Ends on its last day, and may end with a payment.
    expires: bool = False
    #: Gives a right to something else, at a strike.
    is_option: bool = False
    #: Its price is in per cent of a face that no message names, so that cost cannot be compared.
    in_percent: bool = False


_OPTION: Final = MoneyRule("price", expires=True, is_option=True)
_DAILY: Final = "it is settled every day, which moves cash without a message"
_BY_PERCENT: Final = "its price is a percentage, and accrued interest is paid beside it"

RULES: Final[Mapping[str, MoneyRule]] = MappingProxyType(
    {
        "STK": MoneyRule("price"),
        "FUND": MoneyRule("price"),
        "OPT": _OPTION,
        "WAR": _OPTION,
        "IOPT": _OPTION,
        "CASH": MoneyRule("pair"),
        "CFD": MoneyRule("result"),
        "FUT": MoneyRule("settled", _DAILY, expires=True),
        # Some exchanges have the premium paid at once, others settle it day by day.
        "FOP": MoneyRule("settled", _DAILY, expires=True, is_option=True),
        "BOND": MoneyRule("unknown", _BY_PERCENT, in_percent=True),
        "BILL": MoneyRule("unknown", _BY_PERCENT, in_percent=True),
        "CRYPTO": MoneyRule("unknown", "it is paid through the account of a custodian"),
        "CMDTY": MoneyRule("unknown", "how spot metals are paid is in no message"),
        "BAG": MoneyRule("legs"),
    }
)

#: The tags of a balance in IB's ledger, the one that counts first: `CashBalance` has twice what a
#: bank deposit program keeps, and older gateways name nothing else.
CASH_TAGS: Final = ("TotalCashBalance", "CashBalance")
#: IB rounds each balance to the cent; the first and the last are two.
CASH_TOLERANCE: Final = Decimal("0.02")
#: Where currencies are converted: both balances move, and IB keeps no position in the pair.
CONVERSION_VENUE: Final = "FXCONV"


def rule_of(sec_type: str) -> MoneyRule:
    """Return the rule of a security type; what executions of an unlisted one do is unknown."""
    return RULES.get(sec_type) or MoneyRule("unknown", f"no rule is known for the type {sec_type}")
