"""Records are copied by the name of a field, and read back from their rows to the last digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest
from msgspec import structs

from oms.core.contracts import Contract
from oms.core.events import (
    AccountValueReceived,
    AlarmRaised,
    BreakOpened,
    Finding,
    ReconciliationStarted,
    Terms,
)
from oms.core.fold.records import (
    TABLE_OF,
    TABLES,
    AnyRecord,
    Order,
    Part,
    decode_record,
    differing_fields,
    encode_record,
)
from oms.core.members import members
from oms.core.values import Value
from tests.lives import Life, working


def test_copy_with_a_misspelt_field_is_refused() -> None:
    order = working().order()
    assert order.evolve(held=True).held
    with pytest.raises(AssertionError, match=r"Order has no .'hold'"):
        order.evolve(hold=True)


def test_every_record_reads_back_as_it_was_written() -> None:
    life = working(
        "cancel\nfill 40 @ 10 exec=x.1.01\ncommission x.1.01 1\ncommission x.9.01 unknown\n"
        "position 40 10\nunreadable\nadopt Submitted origin=manual"
    )
    life.play("fill 1 @ 1 perm=5 ref= id=0\nopen Submitted ref=older perm=6")
    life.apply(ReconciliationStarted(run_id="R1", trigger="session"))
    life.apply(AccountValueReceived(account="DU1", key="Cash", value="1", source="updates"))
    finding = Finding(result="break", subject="order", key="lost_order:A")
    life.apply(BreakOpened(break_id="B1", run_id="R1", finding=finding))
    since = datetime(2026, 1, 5, tzinfo=UTC)
    life.apply(
        AlarmRaised(alarm_id="outage:line", kind="outage", subject="line", since=since, text="x")
    )
    for table, rows in life.books.tables.items():
        assert rows or table in {"early_commissions"}, table
        for record in rows.values():
            again = decode_record(table, encode_record(record))
            assert again == record, differing_fields(again, record)
            # To the last digit: 0.00 equals 0, but what is added to it later shows the difference.
            assert _digits(again) == _digits(record)
            assert encode_record(again) == encode_record(record)
            assert tuple(record.columns()) == tuple(TABLES[table].columns)


def test_a_zero_reads_back_with_the_digits_that_it_had() -> None:
    life = working(
        "fill 1.50 @ 10.10 exec=x.1.01\ncommission x.1.01 1.00\n"
        "fill 0.00 @ 10.10 exec=x.1.02\nposition 0.00 0.00"
    )
    assert str(life.order().filled) == "0.00"
    for table in ("orders", "fills", "positions"):
        for record in life.books.tables[table].values():
            assert _digits(decode_record(table, encode_record(record))) == _digits(record)


def test_equal_values_in_two_records_each_keep_their_own_digits() -> None:
    """The row of an order may not depend on which orders this process wrote before."""
    for price in ("10.5", "10.50", "10.500"):
        life = Life().play(f"session\nintent BUY 100 LMT {price}")
        body = json.loads(encode_record(life.order()))
        assert body["terms"]["limit_price"] == price


def _digits(record: AnyRecord) -> dict[str, str]:
    return {n: str(v) for n, v in structs.asdict(record).items() if isinstance(v, Decimal)}


def test_what_has_its_default_is_not_in_the_row() -> None:
    life = Life().play("session\nintent BUY 100 LMT 10")
    body = json.loads(encode_record(life.order()))
    assert body["terms"] == {
        "side": "BUY",
        "quantity": "100",
        "order_type": "LMT",
        "limit_price": "10",
    }
    assert not {"status", "cancel_pending", "filled"} & set(body)


def test_no_value_inside_a_record_has_a_number_of_money_for_default() -> None:
    """`encode_record` looks at the record's own zeros only."""
    seen: set[object] = set()
    waiting: list[Any] = [spec.record for spec in TABLES.values()]
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if isinstance(kind, type) and issubclass(kind, Value):
            defaults = [f.default for f in members(kind).values()]
            waiting += [f.hint for f in members(kind).values()]
        elif isinstance(kind, type) and issubclass(kind, Part):
            found = structs.fields(kind)
            defaults = [] if kind in TABLE_OF else [f.default for f in found]
            waiting += [f.type for f in found]
        else:
            defaults = []
            waiting += get_args(kind)
        assert not [d for d in defaults if isinstance(d, Decimal)], kind
    assert {Terms, Contract} <= seen


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("code", "1", "code of Order must be int, found '1'"),
        ("status", None, "status of Order must be str, found None"),
        ("filled", 1, "filled of Order must be Decimal, found 1"),
        ("end", "gone", "end of Order must be "),
        ("perm_ids", ("1",), "perm_ids of Order must be "),
        ("commissions", (("USD", 1),), "commissions of Order must be "),
    ],
)
def test_what_could_not_be_read_back_does_not_come_into_a_record(
    field: str, value: object, words: str
) -> None:
    order = working().order()
    with pytest.raises(ValueError, match=words):
        order.evolve(**{field: value})
    with pytest.raises(ValueError, match=words):
        Order(**structs.asdict(order) | {field: value})
