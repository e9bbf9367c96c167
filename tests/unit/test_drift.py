"""What explains a position that changed without an execution, and what does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from oms.core.compare.drift import explained
from oms.core.compare.repair import by_policy
from oms.core.compare.sides import Row, Scope
from oms.core.contracts import Contract
from oms.core.events import Adjustment, Finding, PositionReceived
from oms.core.fold.records import Position
from oms.core.ratio import Ratio

NOW = datetime(2026, 3, 20, 22, 0, tzinfo=UTC)
SCOPE = Scope(client_id=1, accounts=(), now=NOW, doubt_settle=timedelta(0), run_id="R1")
KO = Contract(con_id=1, symbol="KO")
PEP = Contract(con_id=2, symbol="PEP")


def option(right: str = "P", expiry: str = "20260619") -> Contract:
    """Return an option on KO with a strike of 70."""
    return Contract(
        con_id=9,
        symbol="KO",
        sec_type="OPT",
        right=right,
        strike=Decimal(70),
        multiplier=Decimal(100),
        expiry=expiry,
    )


def drift(
    *moves: tuple[str, Contract, int, int, str], spare: dict[str, str] | None = None
) -> list[Adjustment]:
    """Judge moves of (account, contract, ours, theirs, IB's cost per unit); ours cost 60 each."""
    positions, rows, findings = {}, {}, []
    for account, contract, ours, theirs, cost in moves:
        key = f"{account}:{contract.con_id}"
        positions[key] = Position(
            account=account,
            contract=contract,
            quantity=Decimal(ours),
            average_price=Decimal(60) if ours else Decimal(0),
        )
        event = PositionReceived(
            account=account,
            contract=contract,
            quantity=Decimal(theirs),
            average_cost=Decimal(cost),
        )
        rows[key] = Row(event, 1)
        wanted = Adjustment(account=account, contract=contract, quantity=Decimal(theirs - ours))
        findings.append(
            Finding(
                result="break",
                subject="position",
                break_class="quantity_drift",
                key=f"quantity_drift:{key}",
                account=account,
                proposed=wanted,
            )
        )
    cash = {key: Decimal(amount) for key, amount in (spare or {}).items()}
    judged = list(explained(findings, positions, rows, spare=cash, fills=(), now=NOW))
    return [f.proposed for f in judged if f.proposed is not None]


def found_as(wanted: Adjustment) -> Finding:
    """Return the break that proposes an adjustment."""
    return Finding(result="break", subject="position", key="quantity_drift:x", proposed=wanted)


def causes(*moves: tuple[str, Contract, int, int, str]) -> list[Any]:
    """Return the causes that are found."""
    return [wanted.cause for wanted in drift(*moves)]


@pytest.mark.parametrize(
    ("right", "held", "shares", "cause"),
    [
        ("P", -2, 200, "assignment"),
        ("C", -2, -200, "assignment"),
        ("P", 2, -200, "exercise"),
        ("C", 2, 200, "exercise"),
    ],
)
def test_option_and_its_underlying_that_move_together_are_one_event(
    right: str, held: int, shares: int, cause: str
) -> None:
    gone, came = drift(("A", option(right), held, 0, "0"), ("A", KO, 0, shares, "70"))
    assert (gone.cause, gone.price, gone.moves_cash) == (cause, 0, False)
    assert (came.cause, came.price, came.moves_cash) == (cause, 70, True)


@pytest.mark.parametrize("shares", [100, -200, 199])
def test_shares_of_another_size_or_direction_are_no_assignment(shares: int) -> None:
    assert causes(("A", option(), -2, 0, "0"), ("A", KO, 0, shares, "70")) == [None, None]


def test_shares_in_another_account_are_no_assignment() -> None:
    assert causes(("A", option(), -2, 0, "0"), ("B", KO, 0, 200, "70")) == [None, None]


@pytest.mark.parametrize(
    ("expiry", "theirs", "cause"),
    [("20260320", 0, "expiry"), ("20260321", 0, None), ("20260320", 1, None), ("202603", 0, None)],
)
def test_option_is_expired_when_it_is_gone_whole_after_its_last_day(
    expiry: str, theirs: int, cause: str | None
) -> None:
    assert causes(("A", option(expiry=expiry), 2, theirs, "0")) == [cause]


@pytest.mark.parametrize(
    ("held", "spare", "price"),
    [
        # No money came: it was worth nothing. Some did: that is its settlement, 40 for each of 200.
        (2, "0", "0"),
        (2, "8000", "40"),
        (-2, "-8000", "40"),
        # What a long option cannot have paid, and a balance of which nothing is known.
        (2, "-8000", None),
        (2, None, None),
    ],
)
def test_what_an_option_was_worth_in_the_end_is_the_money_that_nothing_else_explains(
    held: int, spare: str | None, price: str | None
) -> None:
    cash = {} if spare is None else {"A:USD": spare}
    (wanted,) = drift(("A", option(expiry="20260320"), held, 0, "0"), spare=cash)
    assert (wanted.cause, wanted.moves_cash) == ("expiry", True)
    assert wanted.price == (None if price is None else Decimal(price))
    # A policy waits for the night in which IB would pay, and books no payment.
    for hours, is_booked in ((0, False), (14, price == "0")):
        scope = replace(SCOPE, now=NOW + timedelta(hours=hours))
        assert bool(list(by_policy([found_as(wanted)], ["expiry"], scope))) == is_booked


def test_money_of_an_assignment_is_not_the_settlement_of_what_expired_beside_it() -> None:
    other = option("C", "20260320").evolve(con_id=10)
    gone, came, ended = drift(
        ("A", option(), -2, 0, "0"),
        ("A", KO, 0, 200, "70"),
        ("A", other, 3, 0, "0"),
        spare={"A:USD": "-14000"},
    )
    assert (gone.cause, came.cause, ended.cause) == ("assignment", "assignment", "expiry")
    assert ended.price == 0


def test_money_that_two_expired_contracts_can_be_paid_by_is_left_to_a_person() -> None:
    two = [option(right, "20260320").evolve(con_id=n) for n, right in enumerate("CP", start=20)]
    found = drift(*(("A", one, 1, 0, "0") for one in two), spare={"A:USD": "500"})
    assert [(wanted.cause, wanted.price) for wanted in found] == [("expiry", None)] * 2


def test_future_that_expired_waits_for_its_settlement_price() -> None:
    future = Contract(con_id=11, symbol="ES", sec_type="FUT", expiry="20260320")
    (wanted,) = drift(("A", future, 2, 0, "0"), spare={"A:USD": "0"})
    assert (wanted.cause, wanted.price) == ("expiry", None)


@pytest.mark.parametrize(
    ("theirs", "cost", "ratio"),
    [
        (40, "15", "4:1"),
        (5, "120", "1:2"),
        (15, "40", "3:2"),
        (3, "180", "1:3"),
        (40, "60", None),
        (-40, "15", None),
        (4, "180", None),
    ],
)
def test_split_is_a_small_ratio_of_quantities_and_inversely_of_costs(
    theirs: int, cost: str, ratio: str | None
) -> None:
    (wanted,) = drift(("A", KO, 10, theirs, cost))
    assert wanted.ratio == (Ratio.parse(ratio) if ratio else None)
    assert wanted.cause == ("split" if ratio else None)


@pytest.mark.parametrize(
    ("charged", "realised", "ratio"), [("3", "0", "103:100"), ("0", "0", None), ("3", "1", None)]
)
def test_commissions_tell_ratios_apart_that_are_near_each_other(
    charged: str, realised: str, ratio: str | None
) -> None:
    ratios = [ratio] if ratio else ["8 for 7", "57 for 50"]
    held, told = (300, 309) if ratio else (50, 57)
    position = Position(
        account="A",
        contract=KO,
        quantity=Decimal(held),
        average_price=Decimal(60),
        commissions=(("USD", Decimal(charged)),),
        realised_pnl=Decimal(realised),
        fill_count=1,
    )
    cost = (60 + Decimal(3) / held) * held / told
    event = PositionReceived(
        account="A", contract=KO, quantity=Decimal(told), average_cost=round(cost, 8)
    )
    finding = found_as(Adjustment(account="A", contract=KO, quantity=Decimal(told - held)))
    (judged,) = explained(
        [finding], {"A:1": position}, {"A:1": Row(event, 1)}, spare={}, fills=(), now=NOW
    )
    assert judged.proposed is not None
    assert judged.proposed.ratio == (Ratio.parse(ratio) if ratio else None)
    assert ratio or all(words in judged.text for words in ratios)


def test_what_leaves_one_account_and_comes_into_another_is_a_transfer() -> None:
    assert causes(("A", KO, 10, 6, "60"), ("B", KO, 0, 4, "60")) == ["transfer", "transfer"]
    assert causes(("A", KO, 10, 6, "60"), ("B", KO, 0, 5, "60")) == [None, None]


@pytest.mark.parametrize(
    ("became", "cost", "is_one"), [(10, "60", True), (100, "6", True), (10, "61", False)]
)
def test_holding_that_goes_on_under_another_contract_changed_its_symbol(
    became: int, cost: str, is_one: bool
) -> None:
    found = causes(("A", KO, 10, 0, "0"), ("A", PEP, 0, became, cost))
    assert found == (["symbol_change", "symbol_change"] if is_one else [None, None])


def test_shares_that_came_from_nowhere_are_proposed_at_the_cost_that_ib_names() -> None:
    (wanted,) = drift(("A", KO, 0, 4, "33"))
    assert (wanted.cause, wanted.quantity, wanted.price) == (None, 4, 33)
