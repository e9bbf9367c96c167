"""Values: a copy is checked as the value itself was."""

from __future__ import annotations

import pydantic
import pytest

from oms.core.contracts import Stock
from oms.core.order_types import Limit, changed
from oms.errors import InvalidRequest

SPY = Stock("SPY")


def test_copy_has_the_changes_and_the_rest() -> None:
    assert SPY.evolve(con_id=756733, currency="EUR") == Stock("SPY", currency="EUR").evolve(
        con_id=756733
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"conid": 1}, "Extra inputs"), ({"con_id": "1"}, "valid integer")],
    ids=["a field that is none", "a value of another type"],
)
def test_copy_refuses_what_the_class_does_not_take(changes: dict[str, object], says: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=says):
        SPY.evolve(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"outside_rth": "yes"}, "outside_rth"), ({"price": True}, "price")],
)
def test_change_of_an_order_names_the_term_that_cannot_be(
    changes: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        changed(Limit("BUY", 1, "5"), changes)  # type: ignore[typeddict-item]
