"""What can mean an order, and what cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.core.admit.validity import check_order_id, validate
from oms.core.events import Terms
from oms.errors import InvalidRequest

TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)
LIMIT = oms.Limit("BUY", 10, "100")
TRAIL = oms.TrailingStop("SELL", 10, amount="2")


def _with(terms: Terms, **changes: Any) -> Terms:
    return terms.evolve(**changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: oms.TrailingStop("SELL", 1), "exactly one of them; found neither"),
        (lambda: oms.TrailingStop("SELL", 1, amount="1", percent="1"), "and trailing percent"),
        (lambda: oms.TrailingStop("SELL", 1, percent="100"), "below 100"),
        (lambda: oms.TrailingStop("SELL", 1, amount="0"), "above zero"),
        (
            lambda: oms.TrailingStopLimit("SELL", 1, amount="1", stop="5", limit_offset="-1"),
            "not be below zero",
        ),
        (lambda: _with(LIMIT, trail_amount=Decimal(1)), "LMT order takes no trailing amount"),
        (lambda: _with(LIMIT, limit_offset=Decimal(1)), "LMT order takes no limit offset"),
        (lambda: _with(TRAIL, limit_offset=Decimal(1)), "TRAIL order takes no limit offset"),
        (lambda: _with(TRAIL, stop_price=Decimal(1)), "TRAIL order takes no stop price"),
        (lambda: oms.Stop("BUY", 1, "5", tif="OPG"), "opening auction"),
        (lambda: _with(oms.MarketOnClose("BUY", 1), tif="GTC"), "today's close"),
        (lambda: oms.Limit("BUY", 1, "5", tif="GTD"), "found none"),
        (lambda: oms.Limit("BUY", 1, "5", good_till=TILL), "found one with tif DAY"),
        (lambda: oms.Limit("BUY", 1, "5", tif="OPG", outside_rth=True), "auction"),
        (lambda: oms.Limit("BUY", 5, "5", min_quantity=6), "above the quantity 5"),
        (lambda: oms.Limit("BUY", 5, "5", display_size="1.5"), "a whole number"),
        (lambda: oms.Limit("BUY", 5, "5", display_size=0), "above zero"),
        (lambda: oms.Limit("BUY", 5, "5", min_quantity=2, all_or_none=True), "exclude"),
        (lambda: oms.Limit("BUY", 5, "5", display_size=2, hidden=True), "no display size"),
        (lambda: _with(LIMIT, oca_group="g"), "go together"),
        (lambda: _with(LIMIT, oca_group="g", oca_type=4), "1, 2 or 3"),
        (lambda: _with(LIMIT, oca_group="g\a", oca_type=1), "printable"),
    ],
)
def test_terms_that_cannot_mean_an_order_are_refused_with_the_reason(
    make: Callable[[], Terms], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        validate(make())


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 65, "a\0b", "a/b"])
def test_a_key_that_could_not_travel_to_ib_and_back_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot travel"):
        check_order_id(key)
