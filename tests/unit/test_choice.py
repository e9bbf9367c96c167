"""Which records an export takes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.fold.records import Position
from oms.history.choice import Choice
from oms.history.query import parse
from tests.lives import ACCOUNT, ACME


@pytest.mark.parametrize(
    ("quantity", "sides"), [("5", ["BUY"]), ("-5", ["SELL"]), ("0", [])], ids=str
)
def test_a_position_is_chosen_by_the_side_that_is_held(quantity: str, sides: list[str]) -> None:
    position = Position(account=ACCOUNT, contract=ACME, quantity=Decimal(quantity))
    taken = [
        side
        for side in ("BUY", "SELL")
        if Choice(parse({"side": side}), frozenset(), 1, 9, None, None).takes(position)
    ]
    assert taken == sides
