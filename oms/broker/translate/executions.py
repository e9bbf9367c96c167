"""Messages about executions: what was traded, and what it cost."""

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
from oms.core.events import CommissionReceived, ExecutionReceived


def _execution(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    at_least(31, fields)
    time_text = fields[15]
    return Translated(
        ExecutionReceived(
            broker_order_id=id_of(fields[2]),
            client_id=id_of(fields[22]),
            perm_id=perm_id_of(fields[21]),
            order_ref=fields[26],
            account=fields[16],
            contract=contract_at(fields, 3),
            exec_id=required("exec id", fields[14]),
            side=side_of(fields[18]),
            quantity=quantity_of(fields[19]),
            price=quantity_of(fields[20]),
            venue=fields[17],
            time_text=time_text,
            cumulative_quantity=number_of(fields[24]),
            average_price=figure_of(fields[25]),
            liquidation=bool(id_of(fields[23])),
            price_may_change=version >= 178 and flag_of(fields[31]),
            fetched=int(fields[1]) != -1,
        ),
        moment_from_wire(time_text, zone),
    )


_UNKNOWN_COMMISSION: Final = Decimal(-1)


def _commission(fields: Fields, version: int, zone: ZoneInfo | None) -> Translated:
    at_least(8, fields)
    commission = figure_of(fields[3])
    return Translated(
        CommissionReceived(
            exec_id=required("exec id", fields[2]),
            # Rebates are negative, but exactly -1 is IB's "not known yet".
            commission=None if commission == _UNKNOWN_COMMISSION else commission,
            currency=fields[4],
            realised_pnl=figure_of(fields[5]),
        )
    )


#: By message id.
TRANSLATORS: Final[Mapping[str, Translator]] = MappingProxyType(
    {
        "11": _execution,
        "59": _commission,
    }
)
