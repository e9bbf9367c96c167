"""What can be a contract, and what cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import oms
from oms.core.contracts import contradiction
from oms.errors import InvalidRequest

SPY = oms.Stock("SPY").evolve(con_id=756733)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: oms.Forex("EUREUR"), "two different currencies"),
        (lambda: oms.Forex("EUR"), "two different currencies"),
        (lambda: oms.Option("A", "2026", "1", "C"), "yyyymm or yyyymmdd"),
        (lambda: oms.Future("ES", "202613", "CME"), "yyyymm or yyyymmdd"),
        (lambda: oms.Option("A", "20261218", "1", "X"), "C or P"),
        (lambda: oms.Option("A", "20261218", 1.5, "C"), "float"),
        (lambda: oms.Stock(" "), "needs a symbol"),
        (lambda: oms.Leg("BUY", oms.Stock("A")), "without a con_id"),
        (lambda: oms.Leg("BUY", SPY, 0), "from 1 on"),
        (lambda: oms.Combo("A", [oms.Leg("BUY", SPY)]), "2 to 8 legs"),
        (lambda: oms.Combo("A", [oms.Leg("BUY", SPY), oms.Leg("SELL", SPY)]), "more than one leg"),
        (lambda: oms.Future("ES", "202612", "CME", multiplier=0), "above zero"),
    ],
)
def test_a_contract_that_cannot_be_is_refused_with_the_reason(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        make()


@pytest.mark.parametrize("pair", ["EURUSD", "eur.usd", "EUR/USD"])
def test_a_currency_pair_is_read_in_every_usual_spelling(pair: str) -> None:
    found = oms.Forex(pair)
    assert (found.symbol, found.currency, found.sec_type) == ("EUR", "USD", "CASH")


NAMED = oms.Option("AAPL", "20261218", 190, "C").evolve(con_id=7, local_symbol="AAPL  261218C")


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (NAMED.evolve(local_symbol=""), ""),
        (oms.Option("AAPL", "202612", "190.0", "C"), ""),
        (oms.Option("AAPL", "20261218", 190, "C", "CBOE", currency="EUR"), ""),
        (oms.Option("AAPL", "20261217", 190, "C"), "20261217 is 20261218"),
        (oms.Option("MSFT", "20261218", 195, "P"), "MSFT is AAPL, P is C, 195 is 190"),
        (oms.Stock("AAPL"), "STK is OPT"),
        # IB's own description of an earlier day, and none at all.
        (NAMED.evolve(symbol="OLD", expiry="20261219"), ""),
        (oms.Contract(symbol="", sec_type="", currency=""), ""),
    ],
)
def test_a_persons_description_must_not_contradict_the_con_id_beside_it(
    described: oms.Contract, words: str
) -> None:
    assert contradiction(described, NAMED) == words
