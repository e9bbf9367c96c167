"""Each row of the table of codes says what a code does to an order, and what it never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.core.codes import TABLE, ends, may_refuse, meaning, state_named


@pytest.mark.parametrize(
    ("code", "new", "live"),
    [
        (201, "ends", "unknown"),
        (103, "ends", "keeps"),
        (110, "ends", "keeps"),
        (321, "ends", "keeps"),
        (200, "ends", "keeps"),
        (434, "ends", "keeps"),
        (451, "ends", "keeps"),
        (10274, "ends", "keeps"),
        (10329, "ends", "unknown"),
        (202, "ends", "ends"),
        (161, "unknown", "keeps"),
        (10147, "unknown", "unknown"),
        (10148, "unknown", "unknown"),
        (105, "unknown", "keeps"),
        (104, "unknown", "unknown"),
        (2102, "unknown", "keeps"),
        (399, "keeps", "keeps"),
        (404, "keeps", "keeps"),
        (10349, "keeps", "keeps"),
        (100, "unknown", "unknown"),
        (322, "unknown", "unknown"),
        (10333, "unknown", "unknown"),
        (1100, "keeps", "keeps"),
        (2104, "keeps", "keeps"),
        (354, "unknown", "keeps"),
        (344, "unknown", "keeps"),
        (501, "unknown", "keeps"),
        (99_999, "unknown", "unknown"),
    ],
)
def test_a_code_ends_new_and_live_orders_as_the_table_of_ib_says(
    code: int, new: str, live: str
) -> None:
    assert (ends(code, False), ends(code, True)) == (new, live)


@given(st.integers())
def test_only_202_ends_an_acknowledged_order(code: int) -> None:
    assert (ends(code, True) == "ends") == (code == 202)


def test_no_row_of_the_table_ends_an_acknowledged_order_but_202() -> None:
    assert [code for code in TABLE if ends(code, True) == "ends"] == [202]


@given(st.integers().filter(lambda code: code not in TABLE))
def test_a_code_nobody_described_never_ends_an_order_and_asks_the_broker(code: int) -> None:
    assert meaning(code).kind == "unknown"
    assert (ends(code, False), ends(code, True)) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("code", "refuses"),
    [
        *((code, True) for code in (201, 103, 104, 105, 161, 344, 354, 100, 322, 10328, 99_999)),
        *((code, False) for code in (399, 10349, 404, 2109, 1100, 2104)),
        # The order may wait in TWS for a person, where no list shows it.
        *((code, False) for code in (10331, 10332, 10333, 10334)),
    ],
)
def test_every_code_but_a_warning_may_refuse_the_new_order_that_it_names(
    code: int, refuses: bool
) -> None:
    assert may_refuse(code) is refuses


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10331, "confirmation"),
        (202, "cancelled"),
        (201, "reject_or_modify_reject"),
        (137, "cancel_reject"),
        (10341, "reject_or_modify_reject"),
        (326, "connectivity"),
        (2110, "connectivity"),
        (2158, "farm"),
        (10197, "market_data"),
        (2100, "account"),
        (327, "configuration"),
        (320, "protocol"),
        (586, "local"),
    ],
)
def test_a_code_is_of_its_kind(code: int, kind: str) -> None:
    assert meaning(code).kind == kind


def test_every_row_says_what_it_means_and_where_that_is_known_from() -> None:
    assert [row for row in TABLE.values() if not row.text or not row.source] == []
    assert [code for code, row in TABLE.items() if code != row.code] == []


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("OrderId 7 that needs to be cancelled can not be cancelled, state: Filled.", "Filled"),
        ("... can not be cancelled, state: PendingCancel.", "PendingCancel"),
        ("Order cannot be cancelled", None),
    ],
)
def test_a_refused_cancel_names_the_state_that_the_order_is_in(
    text: str, state: str | None
) -> None:
    assert state_named(text) == state
