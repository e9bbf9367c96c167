"""Market data as it stands on the wire, read without a float."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from oms.broker.ticks import BarRead, QuoteChange, SnapshotEnd, TickRead, read
from oms.core.money import NotANumber

D = Decimal
AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
SECONDS = str(int(AT.timestamp()))


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        ("1|6|9|1|99.50|300|0", {"bid": D("99.50"), "bid_size": D(300)}),
        ("1|6|9|2|0.30000000000000004|1|0", {"ask": D("0.30000000000000004"), "ask_size": D(1)}),
        ("1|6|9|4|100|5|0", {"last": D(100), "last_size": D(5)}),
        ("1|6|9|9|101|0|0", {"close": D(101)}),
        # Delayed ticks have numbers of their own.
        ("1|6|9|66|99|300|0", {"bid": D(99), "bid_size": D(300)}),
        ("1|6|9|75|101|0|0", {"close": D(101)}),
        # Nobody quotes that side; with a size, a spread is quoted below zero.
        ("1|6|9|1|-1|0|0", {"bid": None, "bid_size": None}),
        ("1|6|9|1|-1|7|0", {"bid": D(-1), "bid_size": D(7)}),
        ("2|6|9|8|1234567", {"volume": D(1234567)}),
        ("2|6|9|70|12", {"ask_size": D(12)}),
        (f"46|6|9|45|{SECONDS}", {"last_at": AT}),
        ("58|1|9|3", {"market_type": "delayed"}),
    ],
)
def test_a_tick_changes_these_fields_of_a_quote(wire: str, fields: dict[str, object]) -> None:
    assert read(wire.split("|")) == (9, QuoteChange(fields))


def test_the_end_of_a_snapshot_is_known() -> None:
    assert read(["57", "1", "9"]) == (9, SnapshotEnd())


@pytest.mark.parametrize(
    ("wire", "fields"),
    [
        (
            f"99|9|1|{SECONDS}|99.5|3|0|ARCA|I",
            {
                "kind": "last",
                "price": D("99.5"),
                "size": D(3),
                "exchange": "ARCA",
                "conditions": "I",
            },
        ),
        (
            f"99|9|3|{SECONDS}|99|101|3|4|0",
            {"kind": "bid_ask", "bid": D(99), "ask": D(101), "bid_size": D(3), "ask_size": D(4)},
        ),
        (f"99|9|4|{SECONDS}|99.25", {"kind": "midpoint", "price": D("99.25")}),
    ],
)
def test_a_single_tick_has_the_exchanges_time(wire: str, fields: dict[str, object]) -> None:
    assert read(wire.split("|")) == (9, TickRead({"at": AT, **fields}))


def test_a_bar_has_its_five_prices() -> None:
    bar = {"at": AT, "open": D(1), "high": D(3), "low": D("0.5"), "close": D(2)}
    assert read(f"50|3|9|{SECONDS}|1|3|0.5|2|1000|1.75|12".split("|")) == (
        9,
        BarRead({**bar, "volume": D(1000), "average": D("1.75"), "count": 12}),
    )


@pytest.mark.parametrize("wire", ["21|9|13|1|0.2", "45|6|9|49|0", "1|6|9|37|5|0|0", "81|9|0.01|x"])
def test_what_no_quote_has_says_nothing(wire: str) -> None:
    assert read(wire.split("|")) is None


@pytest.mark.parametrize("wire", ["1|6|9|1|abc|0|0", f"99|9|4|{SECONDS}|", "99|9|4|noon|99"])
def test_a_tick_that_is_no_number_is_an_error(wire: str) -> None:
    with pytest.raises(NotANumber):
        read(wire.split("|"))
