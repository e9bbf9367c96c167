"""An event that the books cannot take is left out, and the rest goes on."""

from __future__ import annotations

import random

import pytest

from oms.core.codec import decode_stored
from oms.core.events import EventSetAside, GapOpened, TradingHaltedByPerson
from oms.core.fold import apply as folds
from oms.core.fold.books import Books
from oms.core.fold.fold import Fold
from oms.core.fold.records import Anomaly
from oms.errors import UnknownEventType
from tests.lives import working

TOO_LARGE = 2**63
_REQUEST = (
    '{"order_id":"A","account":"DU1","contract":{"con_id":1,"symbol":"KO"},'
    '"terms":{"quantity":"1","order_type":"MKT","tif":"DAY",%s}}'
)


def anomalies(books: Books) -> list[Anomaly]:
    return [a for a in books.all(Anomaly) if a.kind == "set_aside"]


def test_stored_request_with_a_number_out_of_bounds_is_set_aside() -> None:
    text = f'{{"order_id":"A","account":"DU1","contract":{{"con_id":{TOO_LARGE},"symbol":"KO"}}}}'
    event = decode_stored("OrderRequested", 1, text)
    assert isinstance(event, EventSetAside)
    assert (event.order_id, event.account, event.con_id, event.symbol) == ("A", "DU1", 0, "KO")


def test_text_that_is_no_json_is_set_aside() -> None:
    assert isinstance(decode_stored("GapOpened", 1, '{"cause":'), EventSetAside)


@pytest.mark.parametrize(
    ("name", "payload", "words"),
    [
        ("GapOpened", '{"cause":"x","newer":1}', "newer is not known, found 1"),
        ("OrderRequested", _REQUEST % '"side":"LONG"', "terms.side must be 'BUY' or 'SELL'"),
        ("OrderRequested", _REQUEST % '"side":"BUY","iceberg":true', "terms.iceberg is not known"),
    ],
)
def test_field_or_word_that_is_not_known_under_a_known_version_is_set_aside(
    name: str, payload: str, words: str
) -> None:
    event = decode_stored(name, 1, payload)
    assert isinstance(event, EventSetAside)
    assert words in event.reason


@pytest.mark.parametrize(
    ("name", "version", "payload"),
    [("Newer", 1, "{}"), ("GapOpened", 99, "{}"), ("GapOpened", 2, '{"cause":"x","newer":1}')],
)
def test_what_a_newer_version_wrote_is_refused(name: str, version: int, payload: str) -> None:
    with pytest.raises(UnknownEventType):
        decode_stored(name, version, payload)


@pytest.mark.parametrize("seed", range(5))
def test_fold_that_fails_half_way_changes_nothing_else(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = working()
    order = next(iter(life.books.tables["orders"].values()))
    before = {name: dict(rows) for name, rows in life.books.tables.items()}
    error = random.Random(seed).choice([ZeroDivisionError, OverflowError, RecursionError])

    def fails(books: Books, envelope: object, event: object) -> None:
        books.put(order.evolve(account="elsewhere"))
        books.put(order.evolve(order_id="new", perm_ids=(77,)))
        books.link(order.order_id, 1)
        raise error("a bug")

    true = folds.FOLDS[TradingHaltedByPerson]
    monkeypatch.setitem(
        folds.FOLDS, TradingHaltedByPerson, Fold(TradingHaltedByPerson, fails, true.wants)
    )
    life.apply(TradingHaltedByPerson(reason="x"))
    assert [a.severity for a in anomalies(life.books)] == ["high"]
    life.books.tables["anomalies"].clear()
    before["anomalies"].clear()
    assert life.books.tables == before
    assert life.books.owner_of(77) is None


def test_fault_of_the_memory_is_not_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(books: Books, envelope: object, event: object) -> None:
        raise MemoryError

    life = working()
    monkeypatch.setitem(
        folds.FOLDS, GapOpened, Fold(GapOpened, fails, folds.FOLDS[GapOpened].wants)
    )
    with pytest.raises(MemoryError):
        life.apply(GapOpened(cause="1100"))


def test_fold_that_cannot_say_which_rows_it_needs_is_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wants(event: object, context: object, books: Books) -> tuple[()]:
        raise KeyError("a bug")

    life = working()
    true = folds.FOLDS[GapOpened]
    monkeypatch.setitem(folds.FOLDS, GapOpened, Fold(GapOpened, true.apply, wants))
    life.apply(GapOpened(cause="1100"))
    (found,) = anomalies(life.books)
    assert "the rows it needs are not known: KeyError" in found.text
    assert life.books.system.gap_sequence == 0
