"""The texts of incident files: contracts of any class, fields of any record, how they compare."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import oms
from oms.core.events import CaseRequested, Terms
from oms.core.ratio import Ratio
from tests.incident_texts import contract, contradiction, field_of, is_named, made, text_of

CALL = oms.Option("AAPL", "20270115", "200", "C")


@pytest.mark.parametrize(
    ("word", "options", "text"),
    [
        ("AAPL", {}, "AAPL STK USD"),
        ("AAPL/20270115/200/C", {}, str(CALL)),
        ("AAPL", {"sec_type": "CFD", "currency": "EUR"}, "AAPL CFD EUR"),
        ("BTC", {"sec_type": "CRYPTO", "exchange": "PAXOS"}, "BTC CRYPTO USD"),
        ("X", {"local_symbol": "X 27", "sec_type": "WAR"}, "X 27 WAR USD"),
        ("DAX", {"sec_type": "IND", "exchange": "EUREX", "currency": "EUR"}, "DAX IND EUR"),
    ],
)
def test_a_contract_of_any_class_is_named(word: str, options: dict[str, str], text: str) -> None:
    assert str(contract(word, {**options, "limit": "1"})) == text


def test_a_record_is_read_by_paths_and_compared_as_text() -> None:
    assert [text_of(one) for one in (None, True, Decimal("1E+3"), (Decimal(1), "a"))] == [
        "none", "yes", "1000", "1,a"]  # fmt: skip
    terms = Terms(side="BUY", quantity=Decimal(5), order_type="LMT", limit_price=Decimal("1.50"))
    assert field_of((terms,), "0.quantity") == Decimal(5)
    assert field_of((), "0.quantity") is None
    assert contradiction(terms, {"limit_price": "1.5", "stop_price": "none"}) == ""
    assert contradiction(terms, {"tif": "*", "stop_price!": "*", "order_type~": "M"}) == ""
    assert contradiction(terms, {"quantity!": "5"}) == "quantity is 5"
    assert contradiction(terms, {"hidden": "yes"}) == "hidden is no"
    assert contradiction(terms, {"side": "SELL"}, side="SELL") == ""
    with pytest.raises(AssertionError, match="Terms has no field colour"):
        contradiction(terms, {"colour": "red"})


def test_texts_become_values_of_a_fields_type() -> None:
    request = made(CaseRequested, {
        "request_id": "1", "break_id": "b", "action": "adjust", "ratio": "1:3", "price": "2.5",
    })  # fmt: skip
    assert (request.ratio, request.price) == (Ratio(new=1, old=3), Decimal("2.5"))
    terms = made(Terms, {
        "side": "SELL", "quantity": "1", "order_type": "MKT", "hidden": "yes", "oca_type": "2",
        "good_till": "2026-12-01T00:00:00+00:00",
    })  # fmt: skip
    assert (terms.hidden, terms.oca_type) == (True, 2)
    assert terms.good_till == datetime(2026, 12, 1, tzinfo=UTC)


def test_a_word_names_every_contract_that_it_fits() -> None:
    listed = CALL.evolve(con_id=7, local_symbol="AAPL  270115C00200000")
    for word in ("AAPL", "7", "AAPL  270115C00200000", "AAPL/202701/200/C", "AAPL/20270115/200/C"):
        assert is_named(listed, word)
    for word in ("MSFT", "AAPL/20270115/210/C", "AAPL/20270115/200/P", "8", "EUR.USD"):
        assert not is_named(listed, word)
    assert is_named(listed.evolve(sec_type="FOP"), "AAPL/20270115/200/C")
