"""Values: a copy is checked as the value itself was."""

from __future__ import annotations

import pytest

from oms.core.contracts import Stock
from oms.errors import InvalidValue

SPY = Stock("SPY")


def test_copy_has_the_changes_and_the_rest() -> None:
    assert SPY.evolve(con_id=756733, currency="EUR") == Stock("SPY", currency="EUR").evolve(
        con_id=756733
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"conid": 1}, "conid is not known"), ({"con_id": "1"}, "valid integer")],
    ids=["a field that is none", "a value of another type"],
)
def test_copy_refuses_what_the_class_does_not_take(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        SPY.evolve(**changes)
