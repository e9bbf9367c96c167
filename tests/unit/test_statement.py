"""Reading statements from outside: what is refused, what is passed over, and with which words."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oms.core.compare.statement import Tally, holding_findings
from oms.core.compare.statement_alike import same_amount
from oms.core.compare.statement_deals import Deal
from oms.core.compare.statement_matching import Dealt
from oms.core.compare.statement_rows import (
    Change,
    Heading,
    OptionLife,
    StatedPosition,
    StatementRow,
    Unread,
    read_row,
)
from oms.core.contracts import Contract
from oms.core.fold.records import Position
from oms.errors import StatementUnreadable
from oms.service.statement_file import read_statement

STATEMENT = (
    '<FlexQueryResponse><FlexStatements count="1"><FlexStatement accountId="DU1"'
    ' fromDate="20261120" toDate="20261120" whenGenerated="20261121;043000">{rows}'
    "</FlexStatement></FlexStatements></FlexQueryResponse>"
)
DEAL = {
    "accountId": "DU1",
    "conid": "265598",
    "symbol": "AAPL",
    "assetCategory": "STK",
    "currency": "USD",
    "transactionType": "ExchTrade",
    "ibExecID": "0000e0d5.5f3a1b2c.01.01",
    "quantity": "-1,000",
    "tradePrice": "185.125",
    "ibCommission": "-1.0050",
    "proceeds": "185125",
    "dateTime": "20261120;101500",
}


def read(text: str) -> list[StatementRow]:
    return list(read_statement(io.BytesIO(text.encode())))


def test_a_deal_is_read_with_its_signs_and_every_digit() -> None:
    deal = read_row("Trade", DEAL)
    assert isinstance(deal, Deal)
    assert (deal.quantity, deal.price) == (Decimal(-1000), Decimal("185.125"))
    assert str(deal.commission) == "1.0050"


def test_rows_of_other_sections_and_other_levels_of_detail_are_passed_over() -> None:
    lot = {**DEAL, "levelOfDetail": "CLOSED_LOT"}
    assert read_row("Trade", lot) is None
    for tag in ("Lot", "SymbolSummary", "AssetSummary", "WashSale"):
        assert read_row(tag, {**DEAL, "levelOfDetail": tag.upper()}) is None
    assert read(STATEMENT.format(rows='<InterestAccruals x="1"/>')) == [
        row for row in read(STATEMENT.format(rows="")) if isinstance(row, Heading)
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "not well-formed"),
        (STATEMENT.format(rows="")[:-5], "line 1: not well-formed"),
        ("<html><body>Sign in</body></html>", "the root is <html>"),
        ("<FlexStatementResponse><Status>Warn</Status></FlexStatementResponse>", "answer to a"),
        (
            STATEMENT.format(rows="").replace("20261120", "11/10/2026"),
            "may be two: choose yyyyMMdd",
        ),
        (STATEMENT.format(rows="").replace("20261120", "yesterday"), "is not a day"),
        ("accountId,symbol,quantity\nDU1,AAPL,10\n", "no XML: it is text that begins with"),
        ("PK\x03\x04...", "a ZIP archive or a spreadsheet"),
        ("%PDF-1.7", "a PDF"),
        ("<FlexQueryResponse>" + "<a>" * 20, "nested more than 16 deep"),
    ],
)
def test_what_is_no_statement_is_refused_with_its_reason(text: str, wrong: str) -> None:
    with pytest.raises(StatementUnreadable, match=wrong):
        read(text)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('<Trade accountId="DU1" />', "<Trade> has no conid: add this field"),
        ('<Trade conid="" />', "<Trade> has an empty conid"),
        ('<Trade conid="x1" />', "conid='x1' is not an id"),
        ('<OpenPosition conid="1" position="1e999999x"/>', "position='1e999999x' is not a number"),
        ('<OpenPosition conid="1" position="NaN"/>', "is not finite"),
        ('<OpenPosition conid="1" position="1e999"/>', "is no amount of IB's"),
        ('<OpenPosition conid="1" position="1e-99"/>', "is no amount of IB's"),
        ('<TradeTransfer conid="1" quantity=""/>', "has an empty quantity"),
    ],
)
def test_a_row_that_cannot_be_understood_is_told_with_its_reason_and_its_line(
    row: str, reason: str
) -> None:
    (found,) = (one for one in read(STATEMENT.format(rows=f"\n{row}")) if isinstance(one, Unread))
    assert reason in found.reason
    assert found.line == 2


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd">',
    ],
)
def test_a_document_type_is_refused_before_anything_of_it_is_expanded_or_opened(
    declaration: str,
) -> None:
    with pytest.raises(StatementUnreadable, match="a document type is declared"):
        read(f"<?xml version='1.0'?>{declaration}{STATEMENT.format(rows='')}")


def test_a_long_file_is_never_in_memory_as_a_whole() -> None:
    """What is held is a chunk and its rows: a file five times as long takes no more."""
    words = " ".join(f'{name}="{value}"' for name, value in DEAL.items())
    source = _Endless(f"<Trade {words} />\n".encode(), 5_000)
    tracemalloc.start()
    try:
        count = sum(isinstance(row, Deal) for row in read_statement(source))  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 5_000
    assert peak < 700_000


class _Endless:
    """A statement that is made while it is read."""

    def __init__(self, row: bytes, count: int) -> None:
        start, end = STATEMENT.encode().split(b"{rows}")
        self._parts: Iterator[bytes] = iter((start, *(row for _ in range(count)), end))

    def read(self, size: int) -> bytes:
        chunk = bytearray()
        while len(chunk) < size and (part := next(self._parts, b"")):
            chunk += part
        return bytes(chunk)


amounts = st.decimals("-1000", "1000", places=8)


@given(amounts, st.integers(2, 8))
def test_an_amount_agrees_with_itself_rounded_and_not_with_a_cent_more(
    amount: Decimal, places: int
) -> None:
    rounded = amount.quantize(Decimal(1).scaleb(-places))
    assert same_amount(amount, rounded)
    assert same_amount(rounded, amount)
    assert not same_amount(amount, amount + Decimal("0.02"))


def test_an_assignment_explains_the_option_and_the_shares_that_it_delivered() -> None:
    tally = Tally(Dealt("DU1", None, UTC))
    book = {**DEAL, "ibExecID": "", "transactionType": "BookTrade"}
    for con_id, quantity in (("1", "1"), ("2", "100")):
        deal = read_row("Trade", {**book, "conid": con_id, "quantity": quantity})
        assert isinstance(deal, Deal)
        tally.dealt.booked.append(deal)
    life = read_row(
        "OptionEAE",
        {"accountId": "DU1", "conid": "1", "transactionType": "Assignment", "quantity": "1"},
    )
    assert isinstance(life, OptionLife)
    tally.life.append(life)
    tally.summaries[2] = StatedPosition("DU1", 2, "AAPL", Decimal(100))
    option = position(1, "-1")
    found = list(holding_findings([(option, option.quantity, Decimal(0))], tally))
    assert [(f.result, f.text) for f in found] == [
        ("match", "explained by assignment of 1"),
        ("match", "explained by a deal without an order of 100"),
    ]


def test_what_is_explained_in_part_is_a_break_that_says_how_much() -> None:
    tally = Tally(Dealt("DU1", None, UTC))
    tally.changes.append(Change("DU1", 1, "AAPL", Decimal(10), "split"))
    tally.summaries[1] = StatedPosition("DU1", 1, "AAPL", Decimal(25))
    held = position(1, "10")
    (found,) = holding_findings([(held, held.quantity, Decimal(0))], tally)
    assert (found.result, found.break_class) == ("break", "quantity_drift")
    assert found.text == "15 has no execution; split of 10 explains 10 of it"


def test_what_was_dealt_in_the_evening_may_count_for_the_next_day() -> None:
    tally = Tally(Dealt("DU1", None, UTC))
    tally.summaries[1] = StatedPosition("DU1", 1, "AAPL", Decimal(10))
    held = position(1, "13")
    (found,) = holding_findings([(held, held.quantity, Decimal(3))], tally)
    assert found.result == "unknown"


def position(con_id: int, quantity: str) -> Position:
    contract = Contract(
        con_id=con_id, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"
    )
    return Position(account="DU1", contract=contract, quantity=Decimal(quantity))
