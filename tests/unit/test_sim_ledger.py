"""Positions, cash and commission by the rules of IB that are known."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.sim.broker.books.ledger import Charge, Position, cash_flows, commission
from oms.sim.broker.exchange.contracts import Contract

D = Decimal


def contract(sec_type: str = "STK", multiplier: str = "1") -> Contract:
    return Contract(
        con_id=1, symbol="EUR", sec_type=sec_type, currency="USD", primary_exchange="X",
        local_symbol="X", trading_class="X", base_price=D(1), multiplier=D(multiplier),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "signed", "price", "charge", "after", "realized"),
    [
        # Bought: price and commission; the field sample of a gold future is exact to the cent.
        (Position(), "100", "10", "1", ("100", "10.01"), None),
        # Sold short: what a unit brought in, commission off.
        (Position(), "-100", "10", "1", ("-100", "9.99"), None),
        # Closed in part: the cost stays, the gain is less the commission.
        (Position(D(100), D("10.01")), "-40", "12", "1", ("60", "10.01"), "78.6"),
        # Covered: a fall is a gain.
        (Position(D(-100), D("9.99")), "100", "9", "1", ("0", "0"), "98"),
        # Crossed: the commission is shared by quantity.
        (Position(D(50), D(10)), "-100", "11", "2", ("-50", "10.98"), "49"),
    ],
)
def test_a_position_after_an_execution(
    *,
    before: Position,
    signed: str,
    price: str,
    charge: str,
    after: tuple[str, str],
    realized: str | None,
) -> None:
    row, gain = before.after(D(signed), D(price), D(1), D(charge))
    assert (row.quantity, row.average_cost) == (D(after[0]), D(after[1]))
    assert gain == (None if realized is None else D(realized))


def test_the_average_cost_of_a_future_has_its_multiplier_in_it() -> None:
    row, _ = Position().after(D(1), D("1477.3"), D(100), D("2.37"))
    assert row.average_cost == D("147732.37")


@given(
    st.lists(
        st.tuples(
            st.integers(-50, 50).filter(bool),
            st.decimals("0.01", "500", places=2),
            st.decimals("0", "5", places=2),
        ),
        max_size=12,
    ),
    st.decimals("0.01", "500", places=2),
)
def test_gains_are_cash_flow_plus_what_is_held(
    fills: list[tuple[int, Decimal, Decimal]], mark: Decimal
) -> None:
    """Realised and unrealised P&L together are the money that went in and out, and the holding."""
    row, flow = Position(), D(0)
    for signed, price, charge in fills:
        row, _ = row.after(D(signed), price, D(1), charge)
        flow -= signed * price + charge
    unrealized = row.quantity * (mark - row.average_cost)
    assert abs(row.realized + unrealized - (flow + row.quantity * mark)) < D("0.0001")


@pytest.mark.parametrize(
    ("kind", "quantity", "price", "schedule", "expected"),
    [
        ("STK", "100", "50", "fixed", "1.00"),
        ("STK", "1000", "50", "fixed", "5.00"),
        ("STK", "10", "2", "fixed", "0.20"),
        ("STK", "100", "50", "tiered", "0.35"),
        ("OPT", "1", "2", "fixed", "1.00"),
        ("OPT", "10", "2", "fixed", "6.50"),
        ("FUT", "2", "5000", "fixed", "4.50"),
        ("CASH", "1000000", "1.1", "fixed", "22.00"),
        ("STK", "1000", "50", "none", "0"),
    ],
)
def test_a_commission_follows_its_schedule(
    kind: str, quantity: str, price: str, schedule: str, expected: str
) -> None:
    charge = commission(contract(kind), D(quantity), D(price), schedule, "USD")
    assert charge == Charge(D(expected), "USD")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("STK", {"USD": D("-1001")}),
        ("FUT", {"USD": D(0)}),
        ("CASH", {"USD": D("-1001"), "EUR": D(100)}),
    ],
)
def test_an_execution_moves_cash_as_its_kind_of_contract_does(
    kind: str, expected: dict[str, Decimal]
) -> None:
    assert cash_flows(contract(kind), D(100), D(10), None, Charge(D(1), "USD")) == expected


def test_a_future_pays_its_commissions_once() -> None:
    row, first = Position().after(D(1), D(5300), D(50), D("2.25"))
    opening = cash_flows(contract("FUT", "50"), D(1), D(5300), first, Charge(D("2.25"), "USD"))
    row, second = row.after(D(-1), D(5310), D(50), D("2.25"))
    closing = cash_flows(contract("FUT", "50"), D(-1), D(5310), second, Charge(D("2.25"), "USD"))
    assert opening["USD"] + closing["USD"] == 500 - D("4.50")
