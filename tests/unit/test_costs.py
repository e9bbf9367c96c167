"""What shares cost that an option brought: the strike, or the strike with the premium."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from oms.core.compare.positions import position_findings, premiums_of
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.contracts import Contract
from oms.core.events import Finding, PositionReceived, Question
from oms.core.fold.records import Position
from tests.lives import working

NOW = datetime(2026, 3, 20, 22, 0, tzinfo=UTC)
KO = Contract(con_id=1, symbol="KO")
CALL = Contract(
    con_id=9, symbol="KO", sec_type="OPT", right="C", strike=Decimal(70), multiplier=Decimal(100)
)
SCOPE = Scope(client_id=1, accounts=(), now=NOW, doubt_settle=timedelta(0), run_id="R1")


def cost_classes(shares: int, told: str, *realised: str, symbol: str = "KO") -> list[str | None]:
    """Judge IB's cost of shares that came at 70, beside options that realised so much at 0."""
    stock = Position(account="A", contract=KO, quantity=Decimal(shares), average_price=Decimal(70))
    return cost_breaks(stock, told, *realised, symbol=symbol)


def cost_breaks(stock: Position, told: str, *realised: str, symbol: str = "KO") -> list[str | None]:
    """Judge IB's cost of a position."""
    options = [
        Position(
            account="A",
            contract=CALL.evolve(con_id=number, symbol=symbol),
            realised_pnl=Decimal(amount),
            closed_at_zero=Decimal(amount),
            commissions=(("USD", Decimal("1.3")),),
        )
        for number, amount in enumerate(realised, start=9)
    ]
    books = OurSide(
        sequence=1,
        orders={},
        fills={},
        positions={stock.key: stock},
        premiums=premiums_of([stock, *options]),
    )
    question = Question(
        query_id="q", kind="positions", outcome="complete", asked_at=NOW, answered_at=NOW,
        asked_sequence=1,
    )  # fmt: skip
    row = PositionReceived(
        account="A",
        contract=stock.contract,
        quantity=stock.quantity,
        average_cost=Decimal(told),
    )
    answers = Answers().with_answer(question, [Row(row, 5)])
    found = position_findings(books, books, answers, SCOPE)
    return [f.break_class for f in found if isinstance(f, Finding) and f.result == "break"]


@pytest.mark.parametrize(
    ("shares", "realised", "early", "late"),
    [
        (
            200,
            "-770",
            "70",
            "73.8565",
        ),  # a call exercised: the shares cost what it cost, too
        (200, "740", "70", "66.3065"),  # a put assigned: what it brought is taken off
        (-200, "740", "70", "73.6935"),  # a call assigned: sold at the strike and the premium
        (-200, "-770", "70", "66.1435"),
    ],
)
def test_cost_is_the_strike_at_first_and_has_the_premium_in_it_later(
    shares: int, realised: str, early: str, late: str
) -> None:
    assert cost_classes(shares, early, realised) == []
    assert cost_classes(shares, late, realised) == []


@pytest.mark.parametrize("told", ["75", "66", "69"])
def test_cost_that_no_premium_explains_is_a_break(told: str) -> None:
    assert cost_classes(200, told, "-770") == ["cost_drift"]


def test_premium_of_another_underlying_explains_nothing() -> None:
    assert cost_classes(200, "73.8565", "-770", symbol="PEP") == ["cost_drift"]


def test_premiums_of_several_options_lie_between_none_and_all() -> None:
    assert cost_classes(200, "73.85", "-770", "740") == []
    assert cost_classes(200, "66.3", "-770", "740") == []
    assert cost_classes(200, "78", "-770", "740") == ["cost_drift"]


def test_what_was_closed_at_nothing_is_kept_apart_from_what_was_sold() -> None:
    life = working("fill 10 @ 40 exec=x.1.01\nfill 4 @ 45 exec=x.2.01 side=SELL")
    life.play("fill 6 @ 0 exec=x.3.01 side=SELL")
    assert (life.position().realised_pnl, life.position().closed_at_zero) == (-220, -240)
    life.play("fill 10 @ 41 exec=x.1.02")
    assert (life.position().realised_pnl, life.position().closed_at_zero) == (-230, -246)


@pytest.mark.parametrize(
    ("currency", "expected"), [("JPY", ["cost_drift"]), ("EUR", [])], ids=["its own", "the base"]
)
def test_a_commission_in_another_currency_leaves_the_cost_of_a_pair_open(
    currency: str, expected: list[str]
) -> None:
    """1.82 euro on 1,000 dollars are 0.3 yen a dollar, which no rate of ours makes of 1.82."""
    pair = Position(
        account="A",
        contract=Contract(con_id=2, symbol="USD", sec_type="CASH", currency="JPY"),
        quantity=Decimal(1000),
        average_price=Decimal(150),
        commissions=((currency, Decimal("1.82")),),
    )
    assert cost_breaks(pair, "150.303") == expected


def test_a_price_in_per_cent_leaves_the_cost_of_a_bond_open() -> None:
    bond = Position(
        account="A",
        contract=Contract(con_id=3, symbol="AAPL", sec_type="BOND"),
        quantity=Decimal(5),
        average_price=Decimal("98.5"),
    )
    assert cost_breaks(bond, "986") == []
