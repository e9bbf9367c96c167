"""Brackets, OCA groups and denials, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import oms
from oms.core.admit.groups import (
    attach_denial,
    bracket_of,
    check_distinct,
    check_same,
    complete,
    oca_of,
)
from oms.core.events import OrderIntended
from oms.core.fold.records import Order, OrderState
from oms.errors import (
    BrokerError,
    ContractAmbiguous,
    ContractUnknown,
    IBConnectionError,
    InvalidRequest,
    OmsError,
)
from oms.service.entry import as_denial

SPY = oms.Stock("SPY")
ENTRY = oms.NewOrder(SPY, oms.Limit("BUY", 10, "100"), order_id="e", account="DU1")
OUT = oms.Limit("SELL", 10, "120")


def test_a_bracket_is_held_until_its_last_order_and_names_its_parent() -> None:
    group = bracket_of(ENTRY, take_profit="120", stop_loss="90")
    assert [one.order_id for one in group.orders] == ["e", "e-tp", "e-sl"]
    assert group.parents == {"e-tp": "e", "e-sl": "e"}
    assert group.held == {"e", "e-tp"}
    entry, profit, loss = (one.terms for one in group.orders)
    assert (profit.order_type, profit.side, profit.tif, profit.limit_price) == (
        *("LMT", "SELL", "GTC"),
        120,
    )
    assert (loss.order_type, loss.stop_price, loss.quantity) == ("STP", 90, entry.quantity)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bracket_of(ENTRY, take_profit="90", stop_loss="120"), "losing side"),
        (lambda: bracket_of(ENTRY, take_profit=1.5, stop_loss="90"), "take-profit must be"),  # type: ignore[arg-type]
        (
            lambda: bracket_of(ENTRY, take_profit=oms.Limit("BUY", 10, "9"), stop_loss="90"),
            "take-profit must be a SELL",
        ),
        (
            lambda: bracket_of(ENTRY, take_profit=oms.Limit("SELL", 9, "120"), stop_loss="90"),
            "closes the whole entry of 10",
        ),
        (lambda: oca_of([ENTRY], "g", 1), "two orders or more"),
        (lambda: oca_of([ENTRY, complete((SPY, OUT), "out")], "g", 1), "of one account"),
        (lambda: oca_of([ENTRY, ENTRY], "g", 7), "1, 2 or 3"),
        (lambda: check_distinct([ENTRY, ENTRY]), "'e' is there twice"),
    ],
)
def test_orders_that_do_not_go_together_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        make()


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (ContractUnknown("no"), "contract"),
        (ContractAmbiguous("two"), "contract"),
        (IBConnectionError("away"), "connected"),
        (BrokerError("no"), "broker"),
        (InvalidRequest("what"), "request"),
    ],
)
def test_an_error_is_filed_under_the_rule_that_it_is_about(error: OmsError, rule: str) -> None:
    assert as_denial(error).rule == rule


CHILD = OrderIntended(
    order_id="child", account="DU1", contract=SPY, terms=OUT, parent_order_id="entry"
)
PARENT = Order(
    order_id="entry",
    origin="ours",
    account="DU1",
    contract=SPY,
    terms=oms.Limit("BUY", 10, "100"),
    actor="test",
)


@pytest.mark.parametrize(
    ("parent", "is_own", "value"),
    [
        (PARENT, True, None),
        (None, False, "unknown"),
        (PARENT.evolve(denied=True, state=OrderState.DENIED), True, "DENIED"),
        (PARENT, False, "another client's"),
        (PARENT.evolve(contract=SPY.evolve(con_id=9)), True, "SPY STK USD"),
    ],
    ids=["live and ours", "unknown", "ended", "of another client", "of another contract"],
)
def test_order_is_attached_only_to_a_live_one_of_ours_in_its_contract(
    parent: Order | None, is_own: bool, value: str | None
) -> None:
    denial = attach_denial(CHILD, parent, is_own=is_own)
    assert (denial.value if denial else None) == value
    assert denial is None or denial.rule == "parent"


FIRST = OrderIntended(order_id="entry", account="DU1", contract=SPY, terms=PARENT.terms)


@pytest.mark.parametrize(
    ("again", "parent", "words"),
    [
        (ENTRY, "", ""),
        (replace(ENTRY, account=""), "", ""),
        (replace(ENTRY, terms=oms.Limit("BUY", "10.0", "100.00")), "", ""),
        (replace(ENTRY, terms=OUT), "", "BUY SPY"),
        (replace(ENTRY, terms=oms.Limit("BUY", 11, "100")), "", "quantity 10"),
        (replace(ENTRY, terms=oms.Market("BUY", 10)), "", "order type LMT, limit price 100"),
        (replace(ENTRY, account="DU2"), "", "account DU1"),
        (replace(ENTRY, closing=True), "", "not closing"),
        (ENTRY, "other", "parent none"),
    ],
)
def test_key_of_another_order_is_refused_with_what_the_order_has(
    again: oms.NewOrder, parent: str, words: str
) -> None:
    # A change since then makes it no other order.
    changed = PARENT.evolve(terms=oms.Limit("BUY", 12, "101"))
    if not words:
        check_same(again, changed, FIRST, parent)
        return
    with pytest.raises(InvalidRequest, match=f"belongs to another order: {words}"):
        check_same(again, changed, FIRST, parent)


def test_key_of_an_order_that_ib_showed_is_refused_for_another_side_or_contract() -> None:
    check_same(replace(ENTRY, terms=oms.Market("BUY", 99)), PARENT)
    with pytest.raises(InvalidRequest, match="belongs to another order: BUY SPY"):
        check_same(oms.NewOrder(SPY, OUT, "entry"), PARENT)
