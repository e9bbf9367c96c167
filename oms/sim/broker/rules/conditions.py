"""Conditions of an order: may it work now? Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeVar, assert_never
from zoneinfo import ZoneInfo

from oms.sim.broker.books.orders import ConditionKind
from oms.sim.broker.exchange.market import Quote
from oms.sim.clock import order_time
from oms.sim.protocol.fields import to_bool, to_decimal, to_int

_Seen = TypeVar("_Seen", Decimal, datetime)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a condition may look at."""

    now: datetime
    zone: ZoneInfo
    #: The quote of a con id; None where there is none.
    quote: Callable[[int], Quote | None]
    #: What the account has beyond its maintenance margin, in per cent of its worth.
    cushion_percent: Decimal
    #: What was traded since the order came.
    executed_symbols: frozenset[str]


def hold(conditions: list[Mapping[str, str]], sight: Sight) -> bool:
    """Say whether the conditions let the order work.

    Each condition's conjunction (`a` and, `o` or) joins it to the one after it, left to right.
    """
    result = True
    joined_by = "a"
    for condition in conditions:
        met = is_met(condition, sight)
        result = (result and met) if joined_by == "a" else (result or met)
        joined_by = condition.get("conjunction", "a")
    return result


def is_met(condition: Mapping[str, str], sight: Sight) -> bool:
    """Say whether one condition holds."""
    kind = ConditionKind(condition["condType"])
    match kind:
        case ConditionKind.EXECUTION:
            return condition["symbol"].upper() in sight.executed_symbols
        case ConditionKind.TIME:
            moment = order_time(condition["time"], sight.zone)
            return moment is not None and _compare(condition, sight.now, moment)
        case ConditionKind.MARGIN:
            return _compare(condition, sight.cushion_percent, to_decimal(condition["percent"]))
        case ConditionKind.PRICE | ConditionKind.VOLUME | ConditionKind.PERCENT_CHANGE:
            quote = sight.quote(to_int(condition["conId"]))
            return quote is not None and _quote_meets(kind, condition, quote)
        case _:
            assert_never(kind)


def _quote_meets(
    kind: Literal[ConditionKind.PRICE, ConditionKind.VOLUME, ConditionKind.PERCENT_CHANGE],
    condition: Mapping[str, str],
    quote: Quote,
) -> bool:
    match kind:
        case ConditionKind.PRICE:
            return _compare(condition, quote.last, to_decimal(condition["price"]))
        case ConditionKind.VOLUME:
            return _compare(condition, quote.volume, to_decimal(condition["volume"]))
        case ConditionKind.PERCENT_CHANGE:
            change = (quote.last - quote.close) * 100 / quote.close
            return _compare(condition, change, to_decimal(condition["changePercent"]))
        case _:
            assert_never(kind)


def _compare(condition: Mapping[str, str], seen: _Seen, wanted: _Seen | None) -> bool:
    if wanted is None:
        return False
    return bool(seen >= wanted if to_bool(condition["isMore"]) else seen <= wanted)
