"""Orders in the words of a trader, and changes of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import oms
from oms.core.admit.validity import validate
from oms.core.order_types import changed
from oms.errors import InvalidRequest

TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)
LIMIT = oms.Limit("BUY", 10, "100")
TRAIL = oms.TrailingStop("SELL", 10, amount="2")


@pytest.mark.parametrize("text", ["1_000", "1e", "", "0x10", "١٢", "1,5", "--1"])
def test_a_number_that_a_person_would_not_write_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="quantity"):
        oms.Market("BUY", text)


def test_a_trailing_percentage_takes_the_place_of_the_amount_and_the_reverse() -> None:
    percent = changed(TRAIL, {"trail_percent": "5"})
    assert (percent.trail_amount, percent.trail_percent) == (None, 5)
    amount = changed(percent, {"trail_amount": "3"})
    assert (amount.trail_amount, amount.trail_percent) == (3, None)


def test_another_time_in_force_takes_the_end_away() -> None:
    dated = oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL)
    validate(changed(dated, {"tif": "GTC"}))
    assert changed(dated, {"limit": "6"}).good_till == TILL


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a change needs one of"):
        changed(LIMIT, {"limit": None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"outside_rth": "yes"}, "outside_rth"), ({"price": True}, "price")],
)
def test_change_of_an_order_names_the_term_that_cannot_be(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        changed(oms.Limit("BUY", 1, "5"), changes)  # type: ignore[typeddict-item]
