"""The text form of order lives says what it looks like it says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.core.events import ExecutionReceived, OrderStatusReceived
from oms.core.fold.records import OrderState
from tests.lives import Line, play, terms


def test_terms_are_read_by_their_words() -> None:
    assert terms("SELL 5 STP LMT 9 8.5").stop_price == Decimal(9)
    assert terms("SELL 5 STP LMT 9 8.5").limit_price == Decimal("8.5")
    assert terms("BUY 100 MKT").limit_price is None


def test_line_names_order_verb_words_and_options() -> None:
    line = Line.of("B: fill 40 @ 10 exec=x.1.01   # first of two")
    assert line == Line("B", "fill", ["40", "@", "10"], {"exec": "x.1.01"})


@pytest.mark.parametrize("text", ["", "   ", "# nothing"])
def test_line_without_words_says_nothing(text: str) -> None:
    assert Line.of(text) is None


def test_facts_carry_the_ids_of_their_letter() -> None:
    life = play("B: intent BUY 5 MKT\nB: sent\nB: status Submitted 2\nB: fill 2 @ 9")
    status, execution = (e.event for e in life.envelopes[-2:])
    assert isinstance(status, OrderStatusReceived)
    assert isinstance(execution, ExecutionReceived)
    assert (status.broker_order_id, status.perm_id, status.remaining) == (2, 1002, Decimal(3))
    assert (execution.order_ref, execution.price) == ("B", Decimal(9))
    assert life.order("B").state is OrderState.PARTIALLY_FILLED
