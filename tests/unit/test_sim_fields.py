"""The text of a field, as clients spell it and as the gateway does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from oms.sim.protocol.errors import WireError
from oms.sim.protocol.fields import ascii7, number, to_bool, to_int


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+3", "1000"), ("0.10", "0.1"), ("-0.0", "0"), ("100", "100"), ("1E-7", "0.0000001")],
)
def test_a_number_is_written_plainly(value: str, text: str) -> None:
    assert number(Decimal(value)) == text


def test_every_spelling_of_a_flag_and_an_integer_is_read() -> None:
    assert [to_bool(text) for text in ("", "0", "false", "1", "true")] == [False] * 3 + [True] * 2
    assert [to_int(text) for text in ("", "2147483647", "7", "-3")] == [0, 0, 7, -3]
    with pytest.raises(WireError):
        to_int("900.0")
    assert ascii7("Caf\xe9 \U0001f600") == "Caf\\u00e9 \\ud83d\\ude00"
