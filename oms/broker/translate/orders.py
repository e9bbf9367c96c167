"""Messages about orders: their status, their terms, what one would cost, and those that ended.

Every field is found by reading from the left, because an openOrder has optional blocks in its
middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from oms.broker.translate.fields import (
    Fields,
    Translated,
    Translator,
    at_least,
    contract_at,
    count_of,
    figure_of,
    flag_of,
    id_of,
    moment_from_wire,
    number_of,
    perm_id_of,
    quantity_of,
    required,
    side_of,
)
from oms.core.contracts import ComboLeg, Contract
from oms.core.events import (
    CompletedOrderReceived,
    OpenOrderReceived,
    OrderBoundReceived,
    OrderStatusReceived,
    WhatIfReceived,
)

_WITH_LIMIT: Final = frozenset({"LMT", "STP LMT", "LIT", "LOC", "TRAIL LIMIT", "REL", "PEG BEST"})
_WITH_STOP: Final = frozenset({"STP", "STP LMT", "STP PRT", "MIT", "LIT"})
#: Their auxPrice is the distance that they trail by.
_TRAILING: Final = frozenset({"TRAIL", "TRAIL LIMIT"})


def _price(text: str, order_type: str, users: frozenset[str]) -> Decimal | None:
    """A price of an order; IB writes 0.0 where the type has no such price (spreads trade at 0)."""
    price = number_of(text)
    if price is not None and not price and order_type not in users:
        return None
    return price


def _order_status(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    at_least(12, fields)
    return Translated(
        OrderStatusReceived(
            broker_order_id=id_of(required("order id", fields[1])),
            status=required("status", fields[2]),
            filled=number_of(fields[3]),
            remaining=number_of(fields[4]),
            average_fill_price=figure_of(fields[5]),
            perm_id=perm_id_of(fields[6]),
            parent_broker_order_id=id_of(fields[7]),
            last_fill_price=figure_of(fields[8]),
            client_id=id_of(fields[9]),
            why_held=fields[10],
        )
    )


def _open_order(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    order_type, oca_group = fields[15], fields[19]
    model = 34 if version >= 177 else 35  # faProfile stands before it
    delta_neutral = fields[model + 27]
    at = model + 29
    if delta_neutral:  # the literal "None" counts as set, and the gateway does send it
        at += 8
    trail_percent = _positive(fields[at + 3])
    legs_at = at + 7
    at = _after_combo(fields, legs_at)
    at = _after_scale_and_hedge(fields, at)
    state = _after_algo(fields, at + 4)
    flag_of(fields[state])  # solicited: not 0 or 1 means that we are not where we think we are
    at = _after_conditions(fields, state + 19, order_type)
    newer = (version >= 159) + (version >= 160) + (version >= 162) + 5 * (version >= 170)
    at_least(at + 16 + newer, fields)
    if flag_of(fields[state + 1]):
        return Translated(_what_if(fields, state))
    trails = order_type in _TRAILING
    return Translated(
        OpenOrderReceived(
            broker_order_id=id_of(fields[1]),
            client_id=id_of(fields[24]),
            perm_id=perm_id_of(fields[25]),
            order_ref=fields[23],
            account=fields[20],
            contract=_with_legs(contract_at(fields, 2), fields, legs_at),
            side=side_of(fields[13]),
            quantity=quantity_of(fields[14]),
            order_type=order_type,
            limit_price=_price(fields[16], order_type, _WITH_LIMIT),
            stop_price=None if trails else _price(fields[17], order_type, _WITH_STOP),
            tif=fields[18],
            oca_group=oca_group,
            outside_rth=flag_of(fields[26]),
            parent_broker_order_id=id_of(fields[model + 23]),
            status=required("status", fields[state + 2]),
            warning_text=fields[state + 16],
            # IB names a type for every order; outside a group it means nothing.
            oca_type=id_of(fields[model + 19]) if oca_group else 0,
            # A percentage leaves the last amount standing beside it.
            trail_amount=_positive(fields[17]) if trails and trail_percent is None else None,
            trail_percent=trail_percent if trails else None,
            trail_stop_price=number_of(fields[at + 2]) if trails else None,
            limit_offset=number_of(fields[at + 3]) if order_type == "TRAIL LIMIT" else None,
            good_till=moment_from_wire(fields[model + 1], zone),
            good_till_text=fields[model + 1],
            all_or_none=flag_of(fields[model + 17]),
            min_quantity=_positive(fields[model + 18]),
            display_size=_positive(fields[model + 14]),
            hidden=flag_of(fields[27]),
        )
    )


def _positive(text: str) -> Decimal | None:
    """A size or distance for which IB writes 0 where there is none."""
    return number_of(text) or None


def _what_if(fields: Fields, state: int) -> WhatIfReceived:
    """Read the order state behind the flag at `state + 1`: nine margins, commission, warning."""
    margins = [figure_of(text) for text in fields[state + 3 : state + 12]]
    return WhatIfReceived(
        broker_order_id=id_of(fields[1]),
        client_id=id_of(fields[24]),
        account=fields[20],
        initial_margin_before=margins[0],
        maintenance_margin_before=margins[1],
        equity_with_loan_before=margins[2],
        initial_margin_change=margins[3],
        maintenance_margin_change=margins[4],
        equity_with_loan_change=margins[5],
        initial_margin_after=margins[6],
        maintenance_margin_after=margins[7],
        equity_with_loan_after=margins[8],
        commission=figure_of(fields[state + 12]),
        commission_min=figure_of(fields[state + 13]),
        commission_max=figure_of(fields[state + 14]),
        commission_currency=fields[state + 15],
        warning_text=fields[state + 16],
    )


def _with_legs(contract: Contract, fields: Fields, at: int) -> Contract:
    """Give a combo the legs whose number stands at `at`, eight fields a leg."""
    legs = tuple(
        _leg(fields[start], fields[start + 1], fields[start + 2], fields[start + 3])
        for start in range(at + 1, at + 1 + 8 * count_of(fields[at]), 8)
    )
    return contract.evolve(legs=legs) if legs else contract


def _leg(con_id: str, ratio: str, action: str, exchange: str) -> ComboLeg:
    return ComboLeg(
        con_id=id_of(con_id), ratio=id_of(ratio), side=side_of(action), exchange=exchange
    )


def _completed_order(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    order_type = fields[14]
    at = 31 if version >= 177 else 32  # faProfile
    delta_neutral = fields[at + 21]
    at += 23
    if delta_neutral:
        at += 4
    legs_at = at + 5
    at = _after_combo(fields, legs_at)
    at = _after_scale_and_hedge(fields, at)
    at = _after_algo(fields, at + 3)
    flag_of(fields[at])  # solicited
    status = fields[at + 1]
    at = _after_conditions(fields, at + 4, order_type)
    at_least(at + 15 + 5 * (version >= 170), fields)
    completed_time = fields[at + 13]
    return Translated(
        CompletedOrderReceived(
            perm_id=perm_id_of(fields[23]),
            order_ref=fields[22],
            account=fields[19],
            contract=_with_legs(contract_at(fields, 1), fields, legs_at),
            side=side_of(fields[12]),
            quantity=number_of(fields[13]),
            order_type=order_type,
            limit_price=_price(fields[15], order_type, _WITH_LIMIT),
            stop_price=(
                None if order_type in _TRAILING else _price(fields[16], order_type, _WITH_STOP)
            ),
            tif=fields[17],
            status=required("status", status),
            filled_quantity=number_of(fields[at + 6]),
            completed_time=completed_time,
            completed_status=fields[at + 14],
        ),
        moment_from_wire(completed_time, zone),
    )


def _after_combo(fields: Fields, at: int) -> int:
    """Step over the legs, their prices and the routing parameters of a combo."""
    at += 1 + 8 * count_of(fields[at])
    at += 1 + count_of(fields[at])
    return at + 1 + 2 * count_of(fields[at])


def _after_scale_and_hedge(fields: Fields, at: int) -> int:
    increment = number_of(fields[at + 2])
    at += 3
    if increment is not None and increment > 0:
        at += 7
    return at + (2 if fields[at] else 1)


def _after_algo(fields: Fields, at: int) -> int:
    """Step over the delta-neutral contract, whose flag stands at `at`, and the algo."""
    at += 4 if flag_of(fields[at]) else 1
    if not fields[at]:
        return at + 1
    return at + 2 + 2 * count_of(fields[at + 1])


#: Fields after the type: price, time, margin, execution, volume, percent change.
_CONDITION_FIELDS: Final = MappingProxyType({"1": 6, "3": 3, "4": 3, "5": 4, "6": 5, "7": 5})


def _after_conditions(fields: Fields, at: int, order_type: str) -> int:
    """Step over the block of pegged-to-benchmark orders and over the conditions."""
    if order_type in {"PEG BENCH", "PEGBENCH"}:
        at += 5
    number = count_of(fields[at])
    at += 1
    if not number:
        return at
    for _ in range(number):
        at += 1 + _CONDITION_FIELDS[fields[at]]
    return at + 2


def _order_bound(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    return Translated(
        OrderBoundReceived(
            perm_id=perm_id_of(fields[1]), client_id=int(fields[2]), broker_order_id=int(fields[3])
        )
    )


#: By message id.
TRANSLATORS: Final[Mapping[str, Translator]] = MappingProxyType(
    {
        "3": _order_status,
        "5": _open_order,
        "100": _order_bound,
        "101": _completed_order,
    }
)
