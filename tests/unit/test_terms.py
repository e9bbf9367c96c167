"""Which terms of an order count as different."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import oms
from oms.core.events import OpenOrderReceived, Terms
from oms.core.terms import differing, is_resized
from oms.core.values import fields_of

SPY = oms.Stock("SPY").evolve(con_id=756733)
TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)
#: Parts of a second, which the wire leaves out.
PARTS = timedelta(microseconds=123456)
LIMIT = oms.Limit("BUY", 10, "100")
TRAIL = oms.TrailingStop("SELL", 10, amount="2")


def _with(terms: Terms, **changes: Any) -> Terms:
    return terms.evolve(**changes)


def shown(terms: Terms, **changes: Any) -> OpenOrderReceived:
    """What IB shows of an order on these terms."""
    fields = fields_of(terms) | changes
    return OpenOrderReceived(
        broker_order_id=1, client_id=7, perm_id=9, account="DU1", contract=SPY,
        status="Submitted", **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "SELL"),
        ("quantity", Decimal(11)),
        ("order_type", "MIT"),
        ("limit_price", Decimal(101)),
        ("tif", "GTC"),
        ("outside_rth", True),
        ("oca_group", "x"),
        ("all_or_none", True),
        ("min_quantity", Decimal(5)),
        ("hidden", True),
    ],
)
def test_a_term_that_ib_has_otherwise_is_named(name: str, value: object) -> None:
    assert differing(LIMIT, shown(LIMIT)) == ()
    assert differing(LIMIT, shown(LIMIT, **{name: value})) == (name,)


@pytest.mark.parametrize(
    ("terms", "name", "value"),
    [
        (TRAIL, "trail_amount", Decimal(3)),
        (oms.TrailingStop("SELL", 10, percent="2"), "trail_percent", Decimal(3)),
        (oms.Limit("BUY", 10, "5", display_size=2), "display_size", None),
        (oms.Limit("BUY", 10, "5", tif="GTD", good_till=TILL), "good_till", TILL.replace(hour=20)),
        (_with(LIMIT, oca_group="g", oca_type=1), "oca_type", 3),
        (oms.Stop("BUY", 10, "5"), "stop_price", Decimal(6)),
    ],
)
def test_what_was_asked_for_must_be_what_ib_has(terms: Terms, name: str, value: object) -> None:
    assert differing(terms, shown(terms, **{name: value})) == (name,)


@pytest.mark.parametrize(
    ("terms", "name", "value"),
    [
        (oms.Market("BUY", 10), "limit_price", Decimal("190.5")),
        (TRAIL, "trail_stop_price", Decimal("188.5")),
        (TRAIL, "limit_price", Decimal(0)),
        (LIMIT, "display_size", Decimal(10)),
        (oms.Limit("BUY", 10, "5", tif="GTD", good_till=TILL), "good_till", None),
        (oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL + PARTS), "good_till", TILL),
    ],
)
def test_what_ib_fills_in_by_itself_is_no_difference(
    terms: Terms, name: str, value: object
) -> None:
    assert differing(terms, shown(terms, **{name: value})) == ()


@pytest.mark.parametrize(
    ("terms", "parent", "quantity", "resized"),
    [
        (_with(LIMIT, oca_group="g", oca_type=2), "", 6, True),
        (_with(LIMIT, oca_group="g", oca_type=1), "", 6, False),
        (_with(LIMIT, oca_group="g", oca_type=3), "", 12, False),
        (LIMIT, "entry", 6, True),
        (LIMIT, "entry", 10, False),
        (LIMIT, "entry", 12, True),
        (LIMIT, "entry", 21, False),
        (LIMIT, "", 6, False),
    ],
)
def test_only_a_reducing_group_and_a_bracket_change_the_size_of_an_order(
    terms: Terms, parent: str, quantity: int, resized: bool
) -> None:
    event = shown(terms, quantity=Decimal(quantity))
    assert is_resized(Decimal(20), terms, parent, event) is resized
