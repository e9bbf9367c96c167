"""What goes out on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import oms
from oms.broker.wire_forms import wire_time

TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)


def test_the_end_of_an_order_goes_out_in_utc_whatever_zone_it_was_given_in() -> None:
    assert wire_time(oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL)) == "20261218-21:00:00"
