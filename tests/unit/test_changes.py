"""Whether an order that exists may be changed, cancelled or resolved."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import pytest

import oms
from oms.core.admit.changes import cancel_refusal, change_denial, check_resolution
from oms.core.fold.records import Order, OrderState
from oms.errors import InvalidRequest

CLIENT = 7
WORKING = Order(
    order_id="a",
    origin="ours",
    account="DU1",
    contract=oms.Stock("SPY"),
    terms=oms.Limit("BUY", 10, "5"),
    actor="test",
    state=OrderState.WORKING,
    sent=True,
    acknowledged=True,
    client_id=CLIENT,
    broker_order_id=1,
)
DOUBTFUL = WORKING.evolve(state=OrderState.IN_DOUBT, acknowledged=False)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"acknowledged": False}, "state"),
        ({"state": OrderState.FILLED}, "state"),
        ({"state": OrderState.CANCEL_PENDING, "cancel_pending": True}, "state"),
        ({"client_id": 0}, "owner"),
        ({"broker_order_id": -1}, "owner"),
        ({"filled": Decimal(10)}, "filled"),
        ({"filled": Decimal(9)}, None),
    ],
)
def test_only_a_working_order_of_ours_takes_terms_above_what_is_filled(
    changes: dict[str, Any], rule: str | None
) -> None:
    denial = change_denial(WORKING.evolve(**changes), WORKING.terms, client_id=CLIENT)
    assert (denial.rule if denial else None) == rule


@pytest.mark.parametrize(
    ("changes", "has_number", "refusal"),
    [
        ({}, True, ""),
        ({"sent": False}, True, ""),
        ({"sent": False}, False, "the order has not left"),
        ({"client_id": 0}, True, "another client owns the order"),
        (
            {"origin": "manual", "sent": False, "broker_order_id": 0},
            False,
            "it was sent by client 0, which is TWS",
        ),
    ],
)
def test_only_an_order_of_ours_that_is_on_its_way_can_be_cancelled(
    changes: dict[str, Any], has_number: bool, refusal: str
) -> None:
    order = WORKING.evolve(**changes)
    found = cancel_refusal(order, client_id=CLIENT, has_number=has_number)
    assert found.startswith(refusal)
    assert bool(found) is bool(refusal)


@pytest.mark.parametrize(
    ("client_id", "number", "is_ours"),
    [(0, -2, True), (0, 7, True), (0, 0, False), (0, -1, False), (7, -2, False)],
)
def test_order_of_a_person_is_client_zeros_once_it_is_bound(
    client_id: int, number: int, is_ours: bool
) -> None:
    order = WORKING.evolve(origin="manual", client_id=0, broker_order_id=number)
    assert (cancel_refusal(order, client_id=client_id, has_number=True) == "") is is_ours
    assert (change_denial(order, order.terms, client_id=client_id) is None) is is_ours


def test_doubt_can_be_resolved_by_a_person_with_a_reason() -> None:
    check_resolution(DOUBTFUL, "not_received", "the gateway's log does not have it")


@pytest.mark.parametrize(
    ("order", "outcome", "reason", "says"),
    [
        (DOUBTFUL, "ended", " ", "with a reason"),
        (WORKING, "ended", "seen", "only an order in doubt"),
        (DOUBTFUL.evolve(acknowledged=True), "not_received", "seen", "so it was received"),
        (DOUBTFUL.evolve(filled=Decimal(1)), "not_received", "seen", "so it was received"),
    ],
)
def test_doubt_is_not_resolved_against_what_ib_said(
    order: Order, outcome: Literal["not_received", "ended"], reason: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        check_resolution(order, outcome, reason)
