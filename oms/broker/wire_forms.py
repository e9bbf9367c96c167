"""Our contracts and orders in ib_async's form, numbers as the text that goes on the wire.

Text, because ib_async writes floats by repr and Decimals with exponents (1E-7).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import ib_async

from oms.core.admit.validity import TRAILING
from oms.core.contracts import Contract
from oms.core.events import Terms
from oms.core.money import plain
from oms.core.outgoing import Outgoing
from oms.core.values import fields_of

#: What a request needs beside con id and exchange, by security type, and why; the other types need
#: nothing. In the broker notes as well.
BESIDE_CON_ID: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "BAG": MappingProxyType(
            {
                "secType": "legs follow in the message only after this type",
                "comboLegs": "a combo has no con id of its own: the legs say what it is",
                "symbol": "IB looks for it among the symbols of the legs (478)",
                "currency": "of the combo's price",
            }
        )
    }
)


@lru_cache(maxsize=1024)
def wire_contract(contract: Contract) -> Any:
    """Return the contract's form on the wire; None where its text cannot go there."""
    texts = [value for value in fields_of(contract).values() if isinstance(value, str)]
    texts += [leg.exchange for leg in contract.legs]
    return contract_for_ib(contract) if all(map(is_clean, texts)) else None


def is_clean(text: str) -> bool:
    """Say whether a text can be a field: a zero byte would end it early."""
    return "\0" not in text


def contract_for_ib(contract: Contract) -> ib_async.Contract:
    """Return ib_async's form of a contract: con id, exchange and what IB cannot derive from them
    (`BESIDE_CON_ID`), or its description where IB has not named it yet.

    Nothing else, because IB refuses a request whose fields contradict the con id (478), and writes
    such fields itself: the last day in another zone, one day off in positions
    (erdewit/ib_insync#605, #641, #693).
    """
    fields: dict[str, Any] = {
        "conId": contract.con_id,
        "symbol": contract.symbol,
        "secType": contract.sec_type,
        "lastTradeDateOrContractMonth": contract.expiry,
        "right": contract.right,
        "multiplier": plain(contract.multiplier),
        "exchange": contract.exchange,
        "primaryExchange": contract.primary_exchange,
        "currency": contract.currency,
        "localSymbol": contract.local_symbol,
        "tradingClass": contract.trading_class,
        "strike": 0.0 if contract.strike is None else plain(contract.strike),
        "comboLegs": [
            ib_async.ComboLeg(
                conId=leg.con_id, ratio=leg.ratio, action=leg.side, exchange=leg.exchange
            )
            for leg in contract.legs
        ],
    }
    if contract.is_combo:
        # What identifies a combo is its legs; the number that IB shows for one is the same for all.
        fields["conId"] = 0
    if contract.is_combo or contract.con_id:
        sent = {"conId", "exchange", *BESIDE_CON_ID.get(contract.sec_type, ())}
        fields = {name: value for name, value in fields.items() if name in sent}
    return ib_async.Contract(**fields)


def order_for_ib(message: Outgoing) -> Any:
    """Return ib_async's form of an order.

    Account and tif always, because a preset of TWS would fill them otherwise.
    """
    terms = message.terms
    assert terms is not None, "only a cancel has no terms"
    order: Any = ib_async.Order(
        action=terms.side,
        orderType=terms.order_type,
        tif=terms.tif,
        ocaGroup=terms.oca_group,
        ocaType=terms.oca_type,
        account=message.account,
        orderRef=message.order_ref,
        transmit=message.transmit,
        parentId=message.parent_broker_order_id,
        outsideRth=terms.outside_rth,
        goodTillDate=wire_time(terms),
        allOrNone=terms.all_or_none,
        hidden=terms.hidden,
        whatIf=message.kind == "what_if",
    )
    order.totalQuantity = plain(terms.quantity)
    order.lmtPrice = plain(terms.limit_price)
    # One field on the wire: a stop's price, or a trailing stop's distance.
    order.auxPrice = plain(terms.trail_amount if terms.order_type in TRAILING else terms.stop_price)
    order.trailingPercent = plain(terms.trail_percent)
    order.trailStopPrice = plain(terms.trail_stop_price)
    order.lmtPriceOffset = plain(terms.limit_offset)
    order.minQty = plain(terms.min_quantity)
    order.displaySize = plain(terms.display_size)
    return order


def wire_time(terms: Terms) -> str:
    """Return the end of a GTD order as IB reads it without a zone: `yyyymmdd-hh:mm:ss` is UTC."""
    if terms.good_till is None:
        return ""
    return terms.good_till.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
