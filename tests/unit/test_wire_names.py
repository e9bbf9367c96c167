"""The names of wire fields, held against the simulator's layouts and our own translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.broker.translate import NEWEST_VERSION, OLDEST_VERSION, Unreadable, translate
from oms.core import wire_names
from oms.core.values import fields_of
from oms.core.wire_names import named, names_of
from oms.sim.protocol.layout import Layout
from oms.sim.protocol.messages import LAYOUTS
from oms.sim.protocol.requests import PLACE_ORDER

VERSIONS = range(OLDEST_VERSION, NEWEST_VERSION + 1)
RECEIVED = {
    layout.encode(NEWEST_VERSION, {})[0]: layout
    for layout in LAYOUTS.values()
    if layout.encode(NEWEST_VERSION, {})[0] in wire_names._RECEIVED
}
#: Ours: IB's word for it. The simulator's layouts say it otherwise.
SAID_OTHERWISE = {"message": "id", "id": "reqId", "errorCode": "code", "errorMsg": "text"}
#: What gives a layout every block that it can have.
EVERYTHING: Mapping[str, Any] = {
    "secType": "BAG",
    "exchange": "IBKRATS",
    "orderType": "PEG BENCH",
    "deltaNeutralOrderType": "MKT",
    "scalePriceIncrement": "0.5",
    "hedgeType": "D",
    "deltaNeutralContract": "1",
    "algoStrategy": "Twap",
    "comboLegs": [{}, {}],
    "orderComboLegs": [{}],
    "smartComboRoutingParams": [{}],
    "algoParams": [{}, {}],
    "conditions": [{"condType": "1"}, {"condType": "3"}, {"condType": "7"}],
    "conditionsIgnoreRth": "0",
    "conditionsCancelOrder": "0",
}


def _agree(layout: Layout, version: int, values: Mapping[str, Any], *, sent: bool) -> None:
    """Write a text of its own into each field that decides nothing, and find it by its name."""
    fields = layout.encode(version, values)
    fields[0] = fields[0] or "3"
    names = names_of(fields, version, sent=sent)
    last = {name: at for at, name in enumerate(names)}
    free = [at for n, at in last.items() if n not in EVERYTHING and "[" not in n and at]
    for at in free:
        fields[at] = f"text {at}"
    found = layout.decode(version, fields)
    assert {n: found[SAID_OTHERWISE.get(n, n)] for n in names if last[n] in free} == {
        names[at]: f"text {at}" for at in free
    }
    assert not [name for name in names if name.startswith("field ")]
    assert names_of(fields, version, sent=sent) == names


@pytest.mark.parametrize("message", sorted(RECEIVED))
def test_names_agree_with_the_simulators_layouts_at_every_version(message: str) -> None:
    for version in VERSIONS:
        for values in ({}, EVERYTHING, {"deltaNeutralOrderType": ""}):
            _agree(RECEIVED[message], version, values, sent=False)


@pytest.mark.parametrize("order_type", ["LMT", "PEG BENCH", "PEG BEST", "PEG MID"])
def test_names_of_an_order_agree_with_what_the_simulator_reads(order_type: str) -> None:
    for version in VERSIONS:
        for values in ({}, EVERYTHING):
            _agree(PLACE_ORDER, version, {**values, "orderType": order_type}, sent=True)


def test_every_message_that_is_translated_has_names() -> None:
    from oms.broker.translate.messages import _TRANSLATORS

    assert set(wire_names._RECEIVED) == set(_TRANSLATORS)


#: Fields of the fact, and the names of the wire fields that each is made from, where they differ
#: from the names that most have.
CONTRACT = {
    "con_id": "conId",
    "symbol": "symbol",
    "sec_type": "secType",
    "expiry": "lastTradeDateOrContractMonth",
    "multiplier": "multiplier",
    "currency": "currency",
    "local_symbol": "localSymbol",
    "trading_class": "tradingClass",
}
ORDER = {
    **CONTRACT,
    "exchange": "exchange",
    "perm_id": "permId",
    "order_ref": "orderRef",
    "account": "account",
    "side": "action",
    "quantity": "totalQuantity",
    "order_type": "orderType",
    "limit_price": "lmtPrice",
    "tif": "tif",
    "status": "status",
}
MADE_FROM: Mapping[str, Mapping[str, str]] = {
    "3": {
        "broker_order_id": "orderId",
        "status": "status",
        "filled": "filled",
        "remaining": "remaining",
        "average_fill_price": "avgFillPrice",
        "perm_id": "permId",
        "parent_broker_order_id": "parentId",
        "last_fill_price": "lastFillPrice",
        "client_id": "clientId",
        "why_held": "whyHeld",
    },
    "4": {
        "subject_id": "id",
        "code": "errorCode",
        "text": "errorMsg",
        "advanced_reject": "advancedOrderRejectJson",
    },
    "5": {
        **ORDER,
        "broker_order_id": "orderId",
        "client_id": "clientId",
        "oca_group": "ocaGroup",
        "outside_rth": "outsideRth",
        "parent_broker_order_id": "parentId",
        "warning_text": "warningText",
        "good_till_text": "goodTillDate",
        "all_or_none": "allOrNone",
        "min_quantity": "minQty",
        "display_size": "displaySize",
        "hidden": "hidden",
    },
    "6": {"account": "account", "key": "key", "value": "value", "currency": "currency"},
    "7": {
        **CONTRACT,
        "primary_exchange": "primaryExchange",
        "account": "account",
        "quantity": "position",
        "market_price": "marketPrice",
        "market_value": "marketValue",
        "average_cost": "averageCost",
        "unrealised_pnl": "unrealizedPNL",
        "realised_pnl": "realizedPNL",
    },
    "9": {"broker_order_id": "orderId"},
    "11": {
        **CONTRACT,
        "exchange": "exchange",
        "broker_order_id": "orderId",
        "client_id": "clientId",
        "perm_id": "permId",
        "order_ref": "orderRef",
        "account": "acctNumber",
        "exec_id": "execId",
        "side": "side",
        "quantity": "shares",
        "price": "price",
        "venue": "venue",
        "time_text": "time",
        "cumulative_quantity": "cumQty",
        "average_price": "avgPrice",
        "liquidation": "liquidation",
        "price_may_change": "pendingPriceRevision",
    },
    "15": {"accounts": "accounts"},
    "55": {"request_id": "reqId"},
    "59": {
        "exec_id": "execId",
        "commission": "commission",
        "currency": "currency",
        "realised_pnl": "realizedPNL",
    },
    "61": {
        **CONTRACT,
        "exchange": "exchange",
        "account": "account",
        "quantity": "position",
        "average_cost": "avgCost",
    },
    "63": {"account": "account", "key": "tag", "value": "value", "currency": "currency"},
    "71": {
        **CONTRACT,
        "exchange": "exchange",
        "account": "account",
        "quantity": "position",
        "average_cost": "avgCost",
    },
    "73": {"account": "account", "key": "key", "value": "value", "currency": "currency"},
    "100": {"perm_id": "permId", "client_id": "clientId", "broker_order_id": "orderId"},
    "101": {
        **ORDER,
        "filled_quantity": "filledQuantity",
        "completed_time": "completedTime",
        "completed_status": "completedStatus",
    },
}
#: Texts that read as whatever stands in their field.
VALID = {
    "action": "BUY",
    "side": "BOT",
    "orderType": "LMT",
    "secType": "STK",
    "status": "Submitted",
    "accounts": "DU1",
    "execId": "a.b.c.01",
    "acctNumber": "DU1",
    "account": "DU1",
    "key": "NetLiquidation",
    "tag": "NetLiquidation",
    "totalQuantity": "7",
    "shares": "7",
    "position": "7",
    "price": "7",
    "orderId": "7",
    "permId": "7",
    "clientId": "7",
    "reqId": "7",
    "code": "201",
}
#: Another text for a field of the kind, to see which member of the fact it moves.
OTHERS = ("9", "1", "SELL", "SLD", "Filled", "MKT", "FUT", "GTC", "x", "20260105-14:30:00")


@pytest.mark.parametrize("version", [157, 165, 166, 170, 176, 177, 178])
@pytest.mark.parametrize("message", sorted(MADE_FROM))
def test_translation_reads_each_field_under_the_name_that_it_has(
    message: str, version: int
) -> None:
    """Change one field after the other: what of the fact changes with it is made from it."""
    fields = RECEIVED[message].encode(version, VALID)
    before = _members(fields, version)
    made_from: dict[str, set[str]] = {}
    for at, (name, text) in enumerate(named(fields, version)):
        for other in OTHERS:
            if at and other != text:
                after = _members([*fields[:at], other, *fields[at + 1 :]], version)
                for member in after.keys() & before.keys():
                    if after[member] != before[member]:
                        made_from.setdefault(member, set()).add(name)
    names = set(names_of(fields, version))
    for member, name in MADE_FROM[message].items():
        if name in names:
            assert name in made_from.get(member, set()), f"{member} is not made from {name}"


def _members(fields: list[str], version: int) -> dict[str, object]:
    try:
        translated = translate(fields, version, None)
    except Unreadable:
        return {}
    if translated is None:
        return {}
    found = fields_of(translated.event)
    contract = found.pop("contract", None)
    return {**found, **(fields_of(contract) if contract is not None else {})}


@given(st.lists(st.text(max_size=3)), st.integers(0, 200), st.booleans())
def test_every_field_has_a_name_whatever_the_fields_hold(
    fields: list[str], version: int, sent: bool
) -> None:
    for message in ("3", "5", "11", "101", "4", "999", ""):
        whole = [message, *fields]
        assert [value for _, value in named(whole, version, sent=sent)] == whole


def test_a_message_that_ends_early_is_named_as_far_as_it_goes() -> None:
    assert names_of(["3", "7", "Filled"], 178) == ("message", "orderId", "status")
    assert names_of(["203", "x"], 178) == ("field 0", "field 1")
    assert names_of(["102", "more"], 178) == ("message", "field 1")
