"""Conditions of an order: may it work now?  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from oms.sim.broker.market import Quote
from oms.sim.clock import order_time
from oms.sim.protocol.frames import to_bool, to_decimal, to_int


@dataclass(frozen=True, slots=True)
class Sight:
    """What a condition may look at."""

    now: datetime
    zone: ZoneInfo
    quote: Callable[[int], Quote | None]
    cushion_percent: Decimal
    executed_symbols: frozenset[str]


def hold(conditions: list[Mapping[str, str]], sight: Sight) -> bool:
    """True when the conditions let the order work.

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
    kind = condition["condType"]
    if kind == "5":
        return condition["symbol"].upper() in sight.executed_symbols
    if kind == "3":
        moment = order_time(condition["time"], sight.zone)
        return moment is not None and _compare(condition, sight.now, moment)
    if kind == "4":
        return _compare(condition, sight.cushion_percent, to_decimal(condition["percent"]))
    quote = sight.quote(to_int(condition["conId"]))
    if quote is None:
        return False
    if kind == "1":
        return _compare(condition, quote.last, to_decimal(condition["price"]))
    if kind == "6":
        return _compare(condition, quote.volume, to_decimal(condition["volume"]))
    change = (quote.last - quote.close) * 100 / quote.close
    return _compare(condition, change, to_decimal(condition["changePercent"]))


def _compare(condition: Mapping[str, str], seen: Any, wanted: Any) -> bool:
    if wanted is None:
        return False
    return bool(seen >= wanted if to_bool(condition["isMore"]) else seen <= wanted)
