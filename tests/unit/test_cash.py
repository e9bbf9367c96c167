"""What moves cash, class by class, and what every balance of either side is found to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.core.compare.cash import cash_findings, explained_by
from oms.core.compare.matches import Match
from oms.core.compare.positions import position_findings
from oms.core.compare.repair import cash_openings, openings
from oms.core.compare.run import compare, verdict_of
from oms.core.compare.sides import Answers, OurSide, Row, Scope
from oms.core.contracts import Contract
from oms.core.events import AccountValueReceived, CashOpened, Finding, QueryKind, Question
from oms.core.fold.positions import booked, explained_cash
from oms.core.fold.records import Fill, Position
from oms.core.money_rules import RULES, rule_of

D = Decimal
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SCOPE = Scope(client_id=1, accounts=("DU1",), now=NOON, doubt_settle=timedelta(0), run_id="R1")
PAIR = Contract(con_id=2, symbol="EUR", sec_type="CASH", currency="USD", exchange="IDEALPRO")
KINDS: Sequence[QueryKind] = ("executions", "positions", "account_summary")


def contract(sec_type: str, currency: str = "USD", multiplier: str = "1") -> Contract:
    return Contract(
        con_id=1, symbol="ACME", sec_type=sec_type, currency=currency, multiplier=D(multiplier)
    )


def held(what: Contract, *fills: str, venue: str = "SMART", **more: object) -> Position:
    """Fold fills such as "10 @ 40" or "-4 @ 42" into a position; each costs a dollar."""
    position = Position(account="DU1", contract=what, moved_at=NOON - timedelta(days=1), **more)
    for number, text in enumerate(fills):
        quantity, _, price = text.partition(" @ ")
        fill = Fill(
            account="DU1",
            stem=f"x.{number}",
            exec_id=f"x.{number}.01",
            revision=1,
            order_id="A",
            contract=what,
            side="SELL" if quantity.startswith("-") else "BUY",
            quantity=abs(D(quantity)),
            price=D(price),
            venue=venue,
            time_text="",
            perm_id=1,
            client_id=1,
            broker_order_id=1,
            order_ref="A",
            liquidation=False,
            backfilled=False,
            booked_sequence=number + 1,
            last_sequence=number + 1,
            commission=D(1),
            commission_currency=what.currency,
        )
        position = position.evolve(**booked(position, (fill,)))
    return position


def ours(*positions: Position, openings: Mapping[str, str] | None = None) -> OurSide:
    """Return books that hold these positions; 100,000 USD and 1,000 EUR came first."""
    first = {"USD": "100000", "EUR": "1000"} if openings is None else openings
    return OurSide(
        sequence=1,
        orders={},
        fills={},
        positions={p.key: p for p in positions},
        opened_accounts=("DU1",),
        cash=explained_by(positions, {}),
        cash_openings={f"DU1:{currency}": D(amount) for currency, amount in first.items()},
    )


def answered(tag: str = "TotalCashBalance", **amounts: str) -> Answers:
    """Return whole answers, in which the ledger names these balances; nothing is held."""
    answers = Answers()
    for kind in KINDS:
        question = Question(
            query_id=kind, kind=kind, outcome="complete", asked_at=NOON, answered_at=NOON,
            asked_sequence=1,
        )  # fmt: skip
        rows = [
            Row(
                AccountValueReceived(
                    source="summary", account="DU1", key=tag, value=value, currency=currency
                ),
                5,
            )
            for currency, value in amounts.items()
            if kind == "account_summary"
        ]
        answers = answers.with_answer(question, rows)
    return answers


def found(books: OurSide, answers: Answers, **more: set[str]) -> dict[str, Finding]:
    """Return what each currency is found to be."""
    drawn = [
        f if isinstance(f, Finding) else f.draw()
        for f in cash_findings(books, answers, SCOPE, **more)
    ]
    return {finding.symbol: finding for finding in drawn}


def results(books: OurSide, answers: Answers) -> dict[str, str]:
    return {currency: finding.result for currency, finding in found(books, answers).items()}


# ── the table ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sec_type", "opened", "closed"),
    [
        ("STK", -400, 80),
        ("FUND", -400, 80),
        ("OPT", -400, 80),
        ("WAR", -400, 80),
        ("IOPT", -400, 80),
        ("CASH", -400, 80),
        ("CFD", 0, 80),
        ("FUT", None, 80),
        ("FOP", None, 80),
        ("BOND", None, None),
        ("BILL", None, None),
        ("CRYPTO", None, None),
        ("CMDTY", None, None),
        ("BAG", 0, 0),
        ("EVENT", None, None),
    ],
)
def test_cash_of_a_class_while_it_is_held_and_when_it_is_closed(
    sec_type: str, opened: int | None, closed: int | None
) -> None:
    """Ten are bought at 40 and sold at 48, commissions beside."""
    what = contract(sec_type)
    assert explained_cash(held(what, "10 @ 40")) == opened
    assert explained_cash(held(what, "10 @ 40", "-10 @ 48")) == closed


def test_every_class_has_one_rule_and_every_unknown_one_a_reason() -> None:
    for sec_type, rule in RULES.items():
        assert bool(rule.why) == (rule.cash in ("settled", "unknown")), sec_type
    assert "no rule is known for the type EVENT" in rule_of("EVENT").why


# ── futures ──────────────────────────────────────────────────────────────────────────────────────


def test_currency_in_which_futures_are_held_is_listed_as_unknown_with_its_reason() -> None:
    books = ours(held(contract("FUT", multiplier="50"), "2 @ 5300"))
    seen = found(books, answered(USD="50000", EUR="1000"))
    assert {c: f.result for c, f in seen.items()} == {"USD": "unknown", "EUR": "match"}
    assert "settled every day" in seen["USD"].text
    assert seen["USD"].theirs == "50000 USD"
    assert verdict_of(seen.values()) == "unknown"


@pytest.mark.parametrize(("told", "result"), [("104998", "match"), ("54998", "break")])
def test_currency_is_compared_again_once_the_futures_are_closed(told: str, result: str) -> None:
    books = ours(held(contract("FUT", multiplier="50"), "2 @ 5300", "-2 @ 5350"))
    assert results(books, answered(USD=told, EUR="1000"))["USD"] == result


def test_futures_that_were_held_before_the_log_leave_their_currency_unknown() -> None:
    books = ours(held(contract("FUT"), quantity=D(2), opening_quantity=D(2)))
    assert results(books, answered(USD="50000", EUR="1000"))["USD"] == "unknown"


def test_first_balance_of_a_currency_comes_when_its_futures_are_closed() -> None:
    what = contract("FUT", multiplier="50")
    before = {"quantity": D(2), "opening_quantity": D(2), "opening_average_price": D(5300)}
    after = held(what, "-2 @ 5350", average_price=D(5300), **before)
    books, answers = ours(after, openings={"EUR": "1000"}), answered(USD="70000", EUR="1000")
    (opened,) = cash_openings(books, answers, SCOPE)
    assert isinstance(opened, CashOpened)
    assert (opened.currency, opened.amount, opened.explained) == ("USD", 70000, 4999)


@pytest.mark.parametrize("kind", KINDS)
def test_first_balance_waits_for_whole_answers_to_all_that_explains_it(kind: QueryKind) -> None:
    """A silent question leaves seconds in which others trade: the money would count twice."""
    whole = answered(USD="70000")
    assert list(cash_openings(ours(openings={}), whole, SCOPE)) != []
    silent = whole.questions[kind].evolve(outcome="timed_out")
    answers = replace(whole, questions={**whole.questions, kind: silent})
    assert list(cash_openings(ours(openings={}), answers, SCOPE)) == []


# ── what is not paid for ─────────────────────────────────────────────────────────────────────────


def test_cfd_moves_cash_by_its_result_alone() -> None:
    assert results(ours(held(contract("CFD"), "10 @ 40")), answered(USD="99999", EUR="1000")) == {
        "EUR": "match",
        "USD": "match",
    }
    closed = ours(held(contract("CFD"), "10 @ 40", "-4 @ 45"))
    assert results(closed, answered(USD="100018", EUR="1000"))["USD"] == "match"


def test_conversion_moves_both_balances_and_no_position() -> None:
    position = held(PAIR, "5000 @ 1.1", "-1000 @ 1.2", venue="FXCONV")
    assert (position.quantity, position.realised_pnl, position.live) == (0, 0, False)
    seen = results(ours(position), answered(USD="95698", EUR="5000"))
    assert seen == {"USD": "match", "EUR": "match"}


def test_conversion_is_known_by_the_venue_of_the_execution_or_of_the_contract() -> None:
    by_contract = held(PAIR.evolve(exchange="FXCONV"), "5000 @ 1.1")
    traded = held(PAIR, "5000 @ 1.1", venue="IDEALPRO")
    assert (by_contract.quantity, traded.quantity) == (0, 5000)


@pytest.mark.parametrize(("euros", "result"), [("6000", "match"), ("1000", "unknown")])
def test_pair_that_ib_does_not_name_agrees_where_both_of_its_balances_do(
    euros: str, result: str
) -> None:
    books, answers = ours(held(PAIR, "5000 @ 1.1")), answered(USD="94499", EUR=euros)
    (pair,) = [
        f if isinstance(f, Finding) else f.draw()
        for f in position_findings(books, books, answers, SCOPE)
    ]
    assert (pair.subject, pair.result) == ("position", result)


def test_pair_that_ib_does_not_name_is_no_news_where_balances_are_not_asked_for() -> None:
    books, answers = ours(held(PAIR, "5000 @ 1.1")), answered()
    del answers.questions["account_summary"]
    (pair,) = position_findings(books, books, answers, SCOPE)
    assert not isinstance(pair, Finding)


def test_pair_that_ib_does_not_name_gets_no_opening_that_takes_it_away() -> None:
    books = replace(ours(held(PAIR, "5000 @ 1.1")), opened_accounts=())
    assert list(openings(books, answered(), SCOPE)) == []


# ── every balance ────────────────────────────────────────────────────────────────────────────────


def test_deposit_program_counts_a_balance_twice_under_one_tag_only() -> None:
    twice = answered("CashBalance", USD="200000", EUR="1000")
    once = answered(USD="100000", EUR="1000")
    both = once.with_answer(
        once.questions["account_summary"], [*twice.account_summary, *once.account_summary]
    )
    assert results(ours(), both) == {"USD": "match", "EUR": "match"}


def test_gateway_that_names_only_the_older_tag_is_compared_by_it() -> None:
    assert results(ours(), answered("CashBalance", USD="100000", EUR="900")) == {
        "USD": "match",
        "EUR": "break",
    }


def test_currency_that_the_ledger_leaves_out_is_unknown_unless_it_is_empty() -> None:
    books = ours(openings={"USD": "100000", "EUR": "1000", "GBP": "0"})
    seen = found(books, answered(USD="100000"))
    assert {c: f.result for c, f in seen.items()} == {
        "USD": "match",
        "EUR": "unknown",
        "GBP": "match",
    }
    assert "leaves the currency out" in seen["EUR"].text


def test_currency_that_only_our_books_know_and_account_without_a_balance_are_unknown() -> None:
    euros = held(contract("STK", "EUR"), "10 @ 40")
    assert results(ours(euros), answered(USD="100000"))["EUR"] == "unknown"
    bare = ours(euros, openings={})
    assert results(bare, answered(USD="1")) == {"EUR": "unknown", "USD": "unknown"}
    nothing = answered("NetLiquidation", USD="5")
    assert results(ours(openings={}), nothing) == {"": "unknown"}


_SEC_TYPES = st.sampled_from([*RULES, "EVENT"])
_CURRENCIES = st.sampled_from(["USD", "EUR", "CHF"])


@given(
    st.lists(st.tuples(_SEC_TYPES, _CURRENCIES, st.integers(-5, 5).filter(bool)), max_size=5),
    st.dictionaries(_CURRENCIES, st.integers(-9, 9).map(str)),
    st.dictionaries(_CURRENCIES, st.integers(-9, 9).map(str)),
)
def test_every_balance_of_either_side_is_one_finding_and_no_missing_money_is_clean(
    deals: list[tuple[str, str, int]], first: dict[str, str], told: dict[str, str]
) -> None:
    positions = [
        held(contract(sec_type, currency).evolve(con_id=number), f"{quantity} @ 40")
        for number, (sec_type, currency, quantity) in enumerate(deals, start=1)
    ]
    books = ours(*positions, openings=first)
    drawn = [
        f.draw() if isinstance(f, Match) else f
        for f in cash_findings(books, answered(**told), SCOPE)
    ]
    assert len({f.key for f in drawn}) == len(drawn)
    assert {*first, *told} <= {f.symbol for f in drawn}
    for finding in drawn:
        key = f"DU1:{finding.symbol}"
        moved = books.cash.amounts.get(key, D(0))
        expected = D(first.get(finding.symbol, "0")) + moved
        if finding.result == "match":
            assert key not in books.cash.unknown
            assert abs(D(told.get(finding.symbol, "0")) - expected) <= D("0.02")


def test_balance_beside_a_break_and_one_without_a_first_balance_are_unknown() -> None:
    seen = found(ours(openings={"USD": "5"}), answered(USD="7", CHF="3"), drifting={"DU1:USD"})
    assert {c: f.result for c, f in seen.items()} == {"USD": "unknown", "CHF": "unknown"}
    assert "break about a position" in seen["USD"].text


def test_a_whole_comparison_with_unknown_money_is_not_clean() -> None:
    books = ours(held(contract("FUT"), "2 @ 5300"), held(PAIR, "100 @ 1.1", venue="FXCONV"))
    whole = compare(books, books, answered(USD="1", EUR="1100"), SCOPE)
    assert verdict_of(f for f in whole.findings if f.subject == "cash") == "unknown"
