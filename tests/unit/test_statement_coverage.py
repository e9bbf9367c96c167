"""Only what a statement covers is compared: sections, kind, days and accounts; the rest is unknown.

The file is one of `statements/`: five ACME bought and held, with every section that is compared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from oms.core.compare.statement_days import Span, spans_of
from oms.core.events import Adjustment, BooksAdjusted, Context, Envelope
from oms.core.fold.records import SessionRecord
from oms.core.values import fields_of
from oms.service.statement import Checked
from tests.statement_books import (
    ACCOUNT,
    CONTRACTS,
    FILES,
    Books,
    check,
    found,
)

NAME = "accruals-and-empty-sections"
WHOLE = (FILES / f"{NAME}.xml").read_text()
BOUGHT = "fill 5 ACME @ 12.5 exec=0111.01 order=810000261"
#: What the account holds differs from the file: it has two more.
MORE = f"{BOUGHT}\nheld 7 ACME"
Check = Callable[..., Checked]


def section(name: str) -> str:
    """Return a section of the file, as it stands there."""
    part = re.search(rf"<{name}>.*?</{name}>\n|<{name} />\n", WHOLE, re.DOTALL)
    assert part is not None, name
    return part[0]


def without(*names: str) -> tuple[tuple[str, str], ...]:
    """Return the edits that leave sections out."""
    return tuple((section(name), "") for name in names)


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    def run(books: Books | str, *edits: tuple[str, str]) -> Checked:
        given = Books.of(books) if isinstance(books, str) else books
        return check(NAME, given, tmp_path, *edits)

    return run


# ── sections ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("missing", "books", "expected"),
    [
        ((), BOUGHT, []),
        (("OpenPositions", "CashReport"), BOUGHT, ["unknown section", "unknown section"]),
        (("OpenPositions",), MORE, ["unknown section"]),
        (("Trades",), BOUGHT, ["unknown section", "unknown cash USD"]),
        (("CashReport",), BOUGHT, ["unknown section"]),
        (("OptionEAE", "CorporateActions", "Transfers"), BOUGHT, []),
        (("Trades", "OpenPositions", "CashReport"), BOUGHT, ["unknown section"] * 3),
    ],
)
def test_section_that_the_query_lacks_is_no_answer(
    checked: Check, missing: tuple[str, ...], books: str, expected: list[str]
) -> None:
    run = checked(books, *without(*missing))
    assert found(run) == expected
    assert run.verdict == ("unknown" if expected else "clean")
    (coverage,) = run.coverage
    assert set(coverage.missing) == set(missing)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Trades", ["extra_fill high ACME", "quantity_drift high ACME", "cash_drift medium USD"]),
        ("OpenPositions", ["quantity_drift high ACME"]),
    ],
)
def test_section_without_rows_is_an_answer(checked: Check, name: str, expected: list[str]) -> None:
    assert found(checked(BOUGHT, (section(name), f"<{name}></{name}>\n"))) == expected
    assert found(checked(BOUGHT, (section(name), f"<{name} />\n"))) == expected


@pytest.mark.parametrize("name", ["Trades", "CorporateActions", "Transfers"])
def test_position_that_differs_may_be_explained_by_a_section_that_did_not_come(
    checked: Check, name: str
) -> None:
    assert found(checked(MORE)) == ["quantity_drift high ACME"]
    run = checked(MORE, *without(name))
    assert "unknown position ACME" in found(run)
    assert not run.breaks
    (position,) = [f for f in run.findings if f.subject == "statement_position"]
    assert "which may explain it" in position.text


def test_reason_names_the_section_that_is_missing(checked: Check) -> None:
    run = checked(BOUGHT, *without("OpenPositions", "CashReport"))
    assert [(f.text, f.ours) for f in run.findings] == [
        (
            "the query has no section Open Positions: what the account holds is not compared",
            "1 position",
        ),
        ("the query has no section Cash Report: its cash is not compared", ""),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            'levelOfDetail="EXECUTION"',
            'levelOfDetail="SYMBOL_SUMMARY"',
            "the section Trades has no rows of the level of detail Execution",
        ),
        (
            'currency="USD" levelOfDetail="Currency"',
            'currency="BASE_SUMMARY" levelOfDetail="BaseCurrency"',
            "the section Cash Report has no rows of the level of detail Currency",
        ),
    ],
)
def test_section_with_rows_of_other_levels_only_is_no_answer(
    checked: Check, old: str, new: str, reason: str
) -> None:
    run = checked(BOUGHT, (old, new))
    assert not run.breaks
    assert reason in {f.text.partition(":")[0] for f in run.findings}


@pytest.mark.parametrize("column", ["conid", "position", "quantity", "currency", "proceeds"])
def test_column_that_the_query_lacks_is_named_and_opens_no_break(
    checked: Check, column: str
) -> None:
    text = re.sub(rf' {column}="[^"]*"', "", WHOLE)
    run = checked(BOUGHT, (WHOLE, text))
    assert (run.verdict, run.breaks) == ("unknown", [])
    assert any(column in f.text for f in run.findings)


def test_currency_that_was_dealt_and_has_no_row_of_cash_is_unknown(checked: Check) -> None:
    row = re.search(r'<CashReportCurrency [^>]*currency="USD"[^>]*/>\n', WHOLE)
    assert row is not None
    run = checked(BOUGHT, (row[0], row[0].replace('currency="USD"', 'currency="CHF"')))
    assert "unknown cash USD" in found(run)


def test_coverage_is_one_value_of_the_check(checked: Check) -> None:
    (coverage,) = checked(BOUGHT, *without("Transfers")).coverage
    assert fields_of(coverage) == {
        "account": ACCOUNT,
        "kind": "activity",
        "query": "oms",
        "first_day": "2026-03-10",
        "last_day": "2026-03-10",
        "period": "LastBusinessDay",
        "made": "20260311;043512",
        "sections": ("Trades", "OpenPositions", "CashReport", "OptionEAE", "CorporateActions"),
        "missing": ("Transfers",),
    }


# ── trade confirmations ──────────────────────────────────────────────────────────────────────────


def confirmations(text: str = WHOLE) -> str:
    """Return the file as a query of trade confirmations has it."""
    for name in ("OpenPositions", "CashReport", "OptionEAE", "CorporateActions", "Transfers"):
        text = text.replace(section(name), "")
    for old, new in (
        ('type="AF"', 'type="TCF"'),
        ("Trades>", "TradeConfirms>"),
        ("<Trade ", "<TradeConfirm "),
        (" ibExecID=", " execID="),
        (" tradePrice=", " price="),
        (" ibCommission=", " commission="),
        (" ibOrderID=", " orderID="),
    ):
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("books", "expected"),
    [
        (BOUGHT, []),
        (MORE, []),
        (f"{BOUGHT}\nfill 4 CIRR @ 9 exec=0112.01 order=1", ["unknown deal CIRR"]),
        (BOUGHT.replace("12.5", "12.75"), ["contradiction high ACME"]),
        ("", ["missing_fill high ACME"]),
    ],
)
def test_confirmations_say_what_was_dealt_and_not_what_was_not(
    checked: Check, books: str, expected: list[str]
) -> None:
    run = checked(books, (WHOLE, confirmations()))
    assert found(run) == ["unknown section", "unknown section", *expected]
    assert run.coverage[0].kind == "confirmations"
    assert "a query of trade confirmations has no section Open Positions" in run.findings[0].text


# ── days and accounts ────────────────────────────────────────────────────────────────────────────


def test_deal_before_the_accounts_first_session_is_no_missing_fill(checked: Check) -> None:
    books = Books.of("held 5 ACME")
    books.began = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)
    assert found(checked(books)) == ["unknown deal ACME"]
    books.began = datetime(2026, 3, 11, 14, tzinfo=UTC)
    assert found(checked(books)) == ["unknown days"]


def test_what_happened_after_the_last_session_ended_is_unknown(checked: Check) -> None:
    books = Books.of("")
    assert found(checked(books)) == ["missing_fill high ACME"]
    books.ended = datetime(2026, 3, 10, 14, tzinfo=UTC)
    run = checked(books)
    assert found(run) == ["unknown deal ACME", "unknown position ACME"]
    assert "start the daemon and check again" in run.findings[0].text


def test_span_of_an_account_ends_with_the_last_session_that_served_it() -> None:
    books = Books(accounts=("A", "B"))
    (first,) = _sessions(books)
    later = first.evolve(
        epoch=2, accounts=("A",), opened_at=first.opened_at + timedelta(days=9), closed_at=None
    )
    gone = first.evolve(closed_at=first.opened_at + timedelta(days=1))
    spans = spans_of([later, gone])
    assert spans == {
        "A": Span(first.opened_at),
        "B": Span(first.opened_at, gone.closed_at),
    }


def _sessions(books: Books) -> list[SessionRecord]:

    return asyncio.run(books.rows("sessions"))


MADE_AT_NOON = ("20260311;043512", "20260310;120000")


@pytest.mark.parametrize(
    ("at", "expected"),
    [("11:59:00", ["extra_fill high CIRR"]), ("12:00:30", ["unknown deal CIRR"])],
)
def test_statement_that_was_made_before_the_day_was_over_knows_nothing_of_later(
    checked: Check, at: str, expected: list[str]
) -> None:
    books = f"{BOUGHT}\nfill 4 CIRR @ 9 at={at} exec=0112.01 order=1 charge=0"
    assert found(checked(books, MADE_AT_NOON)) == expected


def adjusted(quantity: str, at: datetime) -> Envelope:
    wanted = Adjustment(account=ACCOUNT, contract=CONTRACTS["ACME"], quantity=Decimal(quantity))
    event = BooksAdjusted(adjustment=wanted, reason="seen")
    return Envelope(9, event, Context(actor="person:a"), at, 1, None)


@pytest.mark.parametrize(
    ("days", "changes", "held", "expected"),
    [
        # Booked the day after: it may have happened before the end of the day, or after it.
        (1, ("-5",), 0, []),
        (1, ("-5",), 5, []),
        (1, ("-5", "3"), 3, []),
        (1, ("-5",), 1, ["quantity_drift high ACME"]),
        # Booked before: the position had it by then.
        (0, ("-5",), 0, ["quantity_drift high ACME"]),
    ],
)
def test_position_agrees_with_or_without_what_was_adjusted_later(
    checked: Check, days: int, changes: tuple[str, ...], held: int, expected: list[str]
) -> None:
    books = Books.of(f"{BOUGHT}\nheld {held} ACME")
    at = datetime(2026, 3, 10, 18, tzinfo=UTC) + timedelta(days=days)
    books.adjusted = [adjusted(one, at) for one in changes]
    assert found(checked(books)) == expected


def test_drift_proposes_what_to_book_unless_the_gateway_holds_what_we_do(checked: Check) -> None:
    books = Books.of(MORE)
    (drift,) = checked(books).breaks
    assert drift.proposed is not None
    assert drift.proposed.quantity == -2
    books.broker_holds_the_same = True
    (drift,) = checked(books).breaks
    assert drift.proposed is None


def test_account_of_our_books_that_the_file_does_not_name_is_listed(checked: Check) -> None:
    other = "fill 2 BORE @ 80 account=U7654322"
    run = checked(f"{BOUGHT}\n{other}")
    assert [(f.result, f.account) for f in run.findings] == [("unknown", "U7654322")]
    assert "does not name the account" in run.findings[0].text
    assert found(checked(BOUGHT)) == [], "an account that holds and deals nothing is no question"
