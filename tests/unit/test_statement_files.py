"""Statement files of many kinds, in the shapes that IB gives them, each with its right end.

The files lie in `statements/`, with invented names and numbers.
"""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from oms.errors import StatementUnreadable
from tests.statement_books import FILES, Books, check, found

#: Name of the file, our books, what the check finds.
TABLE: list[tuple[str, str, list[str]]] = [
    (
        "cancel-and-rebook",
        """
        fill 50 ACME @ 12.5 exec=11.01 order=810000011
        fill 3 BORE @ 81.25 exec=12.01 order=810000012 charge=1.75
        """,
        [],
    ),
    (
        "cancel-and-rebook-corrected",
        "fill -1145.929445 USD.SGD @ 1.3044337 at=16:59:00 order=810000021 charge=0"
        " exec=CUSTHSFX.0a2f041f.01.02",
        [],
    ),
    (
        "cancel-and-rebook-corrected",
        "fill -1143.28313142 USD.SGD @ 1.3074532 at=16:59:00 order=810000021 charge=0"
        " exec=CUSTHSFX.0a2f041f.01.01",
        ["corrected_fill high USD.SGD"],
    ),
    # The gateway has told of the bust, or has not.
    ("cancel-alone", "fill 0 ACME @ 12.75 exec=31.02 order=810000031", []),
    ("cancel-alone", "", []),
    (
        "cancel-alone",
        "fill -40 ACME @ 12.75 exec=31.01 order=810000031",
        ["corrected_fill high ACME"],
    ),
    (
        "cancel-of-the-day-before",
        "fill 50 ACME @ 12.4 at=2026-03-09T10:15:00 exec=41.02 order=810000041 charge=0",
        [],
    ),
    (
        "cancel-of-the-day-before",
        "fill 50 ACME @ 12.5 at=2026-03-09T10:15:00 exec=41.01 order=810000041 charge=0",
        ["corrected_fill high ACME"],
    ),
    (
        "bust-of-the-day-before",
        "fill 0 ACME @ 12.5 at=2026-03-09T10:15:00 exec=42.02 order=810000042",
        [],
    ),
    (
        "bust-of-the-day-before",
        "fill 50 ACME @ 12.5 at=2026-03-09T10:15:00 exec=42.01 order=810000042",
        ["corrected_fill high ACME"],
    ),
    ("bust-of-the-day-before", "", ["unknown deal ACME"]),
    (
        "fraction",
        """
        fill 10 ACME @ 12.5 exec=51.01 order=810000051
        fill 0.4 ACME @ 12.5 exec=52.01 order=810000051 charge=0
        """,
        [],
    ),
    # One execution of ours is two rows.
    ("fraction", "fill 10.4 ACME @ 12.5 exec=51.01 order=810000051", []),
    (
        "fraction",
        "fill 10 ACME @ 12.5 exec=51.01 order=810000051",
        ["missing_fill high ACME"],
    ),
    ("fraction-sold", "held 0.276942 CIRR", ["unknown deal CIRR"]),
    (
        "fund",
        "fill 3 ACME @ 12.5 exec=61.01 order=810000061",
        ["unknown deal NORD FD"],
    ),
    ("bond", "fill 10000 NOTE @ 98.515625 exec=71.01 order=810000071 charge=5", []),
    ("bond", "fill 10 NOTE @ 98.515625 exec=71.01 order=810000071 charge=5", []),
    (
        "bond",
        "fill 20 NOTE @ 98.515625 exec=71.01 order=810000071 charge=5",
        ["contradiction high NOTE"],
    ),
    (
        "currency-converted",
        """
        fill -7 BORE @ 80 exec=81.01 order=810000081 charge=1.25
        fill -560 EUR.USD @ 1.0725 at=11:05:00 order=810000082 charge=0 exec=AFXUS.00a1b2c3.01.01
        """,
        [],
    ),
    # Its day is the next one: it was dealt in the evening before.
    (
        "currency-pair",
        "fill 30000 EUR.USD @ 1.0815 at=2026-03-09T18:15:00 exec=91.01 order=810000091 charge=2",
        [],
    ),
    (
        "futures-in-a-segment",
        """
        fill 5 ACME @ 12.5 exec=a1.01 order=810000101
        fill -2 GRAIN @ 455.25 exec=a2.01 order=810000102 charge=4.5
        """,
        [],
    ),
    (
        "futures-in-a-statement-of-their-own",
        """
        fill 5 ACME @ 12.5 exec=a1.01 order=810000101
        fill -2 GRAIN @ 455.25 exec=a2.01 order=810000102 charge=4.5
        """,
        [],
    ),
    ("option-assigned", "held -1 ACME-PUT", []),
    # The gateway has told of it as executions of no order.
    (
        "option-assigned",
        """
        fill 1 ACME-PUT @ 0 at=2026-03-20T16:20:00 charge=0
        fill 100 ACME @ 12.5 at=2026-03-20T16:20:00 charge=0
        held 0 ACME-PUT
        held 100 ACME
        """,
        [],
    ),
    ("option-expired", "held 3 ACME-CALL", []),
    ("reverse-split", "held 100 ACME", []),
    ("reverse-split", "held 34 ACME", []),
    ("reverse-split", "held 33 ACME", ["quantity_drift high ACME"]),
    ("merged-for-cash", "held 367 CIRR", []),
    (
        "transfers",
        """
        held 10 BORE
        held 10 CIRR
        """,
        [],
    ),
    (
        "orders-only",
        """
        fill 40 ACME @ 12.5 order=810000161
        fill 60 ACME @ 12.55 order=810000161 charge=0.5
        fill -5 BORE @ 80.04 order=810000162 charge=1.25
        """,
        [],
    ),
    (
        "orders-only",
        """
        fill 40 ACME @ 12.5 order=810000161
        fill -5 BORE @ 80.04 order=810000162 charge=1.25
        """,
        ["contradiction high ACME"],
    ),
    (
        "orders-only",
        """
        fill 40 ACME @ 12.5 order=810000161
        fill 60 ACME @ 12.55 order=810000161
        fill -5 BORE @ 80.04 order=810000162 charge=1.25
        """,
        ["commission_different low ACME"],
    ),
    (
        "orders-only",
        """
        fill 40 ACME @ 12.5 order=810000161
        fill 60 ACME @ 12.55 order=810000161 charge=0.5
        """,
        ["missing_fill high BORE"],
    ),
    (
        "orders-only",
        """
        fill 40 ACME @ 12.5 order=810000161
        fill 60 ACME @ 12.55 order=810000161 charge=0.5
        fill -5 BORE @ 80.04 order=810000162 charge=1.25
        fill 7 CIRR @ 4.5 order=810000163
        """,
        ["extra_fill high CIRR"],
    ),
    (
        "levels-of-detail",
        """
        fill 100 ACME @ 12.53 exec=b1.01 order=810000171 charge=1.5
        fill 50 ACME @ 12.56 exec=b2.01 order=810000171
        fill -20 ACME @ 12.6 exec=b3.01 order=810000172 at=12:00:00
        """,
        [],
    ),
    ("lots-only", "fill 130 ACME @ 12.5 exec=b4.01 order=810000173", []),
    ("models", "fill 100 ACME @ 12.5 exec=c1.01 order=810000191", []),
    (
        "two-accounts",
        """
        fill 5 ACME @ 12.5 exec=d1.01 order=810000201
        fill -2 BORE @ 80 exec=d2.01 order=810000202 charge=1.25 account=U7654322
        """,
        [],
    ),
    (
        "consolidated",
        """
        fill 5 ACME @ 12.5 exec=d1.01 order=810000201
        fill -2 BORE @ 80 exec=d2.01 order=810000202 charge=1.25 account=U7654322
        """,
        ["unknown section", "unknown section"],
    ),
    (
        "trade-confirmations",
        """
        fill 30 ACME @ 12.5 at=11:15:00 exec=e1.01 order=810000221
        held 0 ACME
        """,
        ["unknown section", "unknown section"],
    ),
    (
        "days-with-dashes",
        """
        fill 5 ACME @ 12.5 exec=f1.01 order=810000231
        fill 2 ACME @ 12.6 at=12:00:00 exec=f2.01 order=810000232
        """,
        [],
    ),
    (
        "days-with-names",
        """
        fill 5 ACME @ 12.5 exec=f1.01 order=810000231
        fill 2 ACME @ 12.6 at=12:00:00 exec=f2.01 order=810000232
        """,
        [],
    ),
    ("cfd", "fill 50 ACME-CFD @ 12.5 exec=0101.01 order=810000241", []),
    (
        "crypto-at-a-weekend",
        "fill 0.75 ETH @ 2410.5 at=2026-03-14T14:05:00 exec=PAXOS.69b45a31.01.01 charge=3.25",
        [],
    ),
    # Saturday's fill may be in Friday's statement as well as in Monday's.
    (
        "crypto-at-a-weekend",
        """
        fill 0.75 ETH @ 2410.5 at=2026-03-14T14:05:00 exec=PAXOS.69b45a31.01.01 charge=3.25
        fill 0.25 ETH @ 2411 at=2026-03-14T15:05:00 exec=PAXOS.69b45a32.01.01 charge=1
        held 0.75 ETH
        """,
        ["unknown deal ETH"],
    ),
    ("accruals-and-empty-sections", "fill 5 ACME @ 12.5 exec=0111.01 order=810000261", []),
    ("nothing-happened", "", []),
    ("nothing-happened", "fill 5 ACME @ 12.5", ["extra_fill high ACME"]),
    (
        "nothing-happened",
        "fill 5 ACME @ 12.5 at=18:30:00",
        ["unknown deal ACME", "unknown position ACME"],
    ),
    # The first day's statement has what the second corrects.
    (
        "by-day",
        """
        fill 45 ACME @ 12.5 at=2026-03-09T10:15:00 exec=0121.02 order=810000271
        fill 3 CIRR @ 4.5 exec=0122.01 order=810000272
        """,
        [],
    ),
    (
        "by-day",
        """
        fill 45 ACME @ 12.5 at=2026-03-09T10:15:00 exec=0121.02 order=810000271
        """,
        ["missing_fill high CIRR"],
    ),
    (
        "row-without-a-contract",
        """
        fill 5 ACME @ 12.5 exec=0131.01 order=810000291
        fill 4 BORE @ 80 order=810000292 charge=1.25
        """,
        ["unknown row BORE", "unknown deal BORE", "unknown cash EUR"],
    ),
    (
        "few-fields",
        """
        fill 5 ACME @ 12.5 at=10:15:00
        fill 5 ACME @ 12.5 at=14:30:00
        fill -4 BORE @ 80 at=11:00:00 charge=1.25
        """,
        [],
    ),
    (
        "legs-of-a-combination",
        """
        fill 2 SPREAD @ 8 exec=0000f1a2.69b00141.01.01 order=810000311
        fill 2 ACME @ 12.5 exec=0000f1a2.69b00141.02.01.01 order=810000311
        fill -2 CIRR @ 4.5 exec=0000f1a2.69b00141.03.01.01 order=810000311
        """,
        [],
    ),
]


@pytest.mark.parametrize(
    ("name", "books", "expected"), TABLE, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(TABLE)]
)
def test_each_kind_of_statement_has_its_right_end(
    name: str, books: str, expected: list[str], tmp_path: Path
) -> None:
    checked = check(name, Books.of(books), tmp_path)
    assert sorted(found(checked)) == sorted(expected), checked.findings


def test_every_file_is_in_the_table() -> None:
    refused = {"days-that-may-be-two"}
    assert {path.stem for path in FILES.iterdir()} == {name for name, _, _ in TABLE} | refused


def test_a_day_that_may_be_two_is_refused_with_what_to_choose(tmp_path: Path) -> None:
    with pytest.raises(StatementUnreadable, match="choose yyyyMMdd as the query's date format"):
        check("days-that-may-be-two", Books(), tmp_path)


def test_an_account_of_others_beside_ours_is_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(StatementUnreadable, match="is of account U9999999"):
        check("two-accounts", Books(), tmp_path, ("U7654322", "U9999999"))


#: What a query may leave out of what tells which deal a cancel takes back.
LEFT_OUT = [
    (),
    ("origTransactionID",),
    ("origTransactionID", "transactionID"),
    ("origTransactionID", "transactionID", "origTradeID"),
    ("origTransactionID", "transactionID", "tradeID", "origTradeID", "reportDate"),
    ("transactionID", "tradeID", "origTradeID", "ibOrderID", "origOrderID", "origTransactionID"),
    ("transactionType", "origTransactionID", "origTradeID"),
    ("transactionType", "origTransactionID", "origTradeID", "origOrderID", "notes", "buySell"),
    ("transactionType", "origTransactionID", "origTradeID", "ibOrderID", "notes", "buySell"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("left_out", LEFT_OUT, ids="-".join)
def test_a_rebooked_deal_is_one_deal_in_any_order_and_with_any_numbers(
    order: tuple[int, ...], left_out: tuple[str, ...], tmp_path: Path
) -> None:
    text = (FILES / "cancel-and-rebook.xml").read_text()
    rows = [f"{row}\n" for row in text.splitlines() if "<Trade " in row and "ACME" in row]
    edits = [("".join(rows), "".join(rows[i] for i in order))]
    if left_out:
        pattern = rf' (?:{"|".join(left_out)})="[^"]*"'
        edits = [(text, re.sub(pattern, "", text.replace(*edits[0])))]
    books = Books.of(TABLE[0][1])
    assert found(check("cancel-and-rebook", books, tmp_path, *edits)) == []


@pytest.mark.parametrize("left_out", LEFT_OUT, ids="-".join)
def test_a_deal_that_is_taken_back_is_gone_with_any_numbers(
    left_out: tuple[str, ...], tmp_path: Path
) -> None:
    text = (FILES / "cancel-alone.xml").read_text()
    pattern = rf' (?:{"|".join(left_out) or "none"})="[^"]*"'
    edit = (text, re.sub(pattern, "", text))
    busted, never, standing = (Books.of(TABLE[i][1]) for i in (3, 4, 5))
    assert found(check("cancel-alone", busted, tmp_path, edit)) == []
    assert found(check("cancel-alone", never, tmp_path, edit)) == []
    assert found(check("cancel-alone", standing, tmp_path, edit)) == ["corrected_fill high ACME"]


def test_a_replacement_without_its_cancel_is_no_second_purchase(tmp_path: Path) -> None:
    text = (FILES / "cancel-and-rebook.xml").read_text()
    cancel = next(row for row in text.splitlines() if 'transactionType="TradeCancel"' in row)
    books = Books.of(TABLE[0][1])
    assert found(check("cancel-and-rebook", books, tmp_path, (f"{cancel}\n", ""))) == []


def test_a_part_without_any_number_belongs_to_the_deal_of_its_second(tmp_path: Path) -> None:
    text = (FILES / "fraction.xml").read_text()
    part = next(row for row in text.splitlines() if 'notes="FP"' in row)
    edit = (part, part.replace('ibOrderID="810000051"', 'ibOrderID=""'))
    books = Books.of("fill 10.4 ACME @ 12.5 exec=51.01 order=810000051")
    assert found(check("fraction", books, tmp_path, edit)) == []


@pytest.mark.parametrize(
    ("number", "left_out"),
    [
        # The corrected deal has the cancelled one's order and day in common, and no more.
        (-2, "ibExecID|tradeID|dateTime"),
        # The charge stays with the first booking.
        (0, "ibExecID|tradeID|ibOrderID"),
    ],
)
def test_a_deal_that_is_booked_again_is_known_by_what_is_left(
    number: int, left_out: str, tmp_path: Path
) -> None:
    rows = [row for row in TABLE if row[0] in ("by-day", "cancel-and-rebook")]
    name, books, _ = rows[number]
    text = (FILES / f"{name}.xml").read_text()
    edit = (text, re.sub(rf' (?:{left_out})="[^"]*"', "", text))
    assert found(check(name, Books.of(books), tmp_path, edit)) == []


def test_rows_that_do_not_say_whether_they_were_dealt_are_no_missing_fills(tmp_path: Path) -> None:
    text = (FILES / "option-assigned.xml").read_text()
    edit = (text, re.sub(r' (?:transactionType|exchange|notes)="[^"]*"', "", text))
    checked = check("option-assigned", Books.of("held -1 ACME-PUT"), tmp_path, edit)
    assert {f.result for f in checked.findings} == {"unknown"}
    assert "add the field Transaction Type" in checked.findings[0].text


@pytest.mark.parametrize(
    ("name", "ours", "expected"),
    [
        ("fraction", "10.4", ["unknown deal ACME"] * 3),
        ("models", "100", ["unknown deal ACME"] * 3),
        # More than the rows add up to.
        ("fraction", "10.5", ["extra_fill high ACME", "unknown deal ACME", "unknown deal ACME"]),
        ("fraction", "-10.4", ["extra_fill high ACME", "unknown deal ACME", "unknown deal ACME"]),
    ],
)
def test_rows_without_any_number_may_be_parts_of_an_execution(
    name: str, ours: str, expected: list[str], tmp_path: Path
) -> None:
    text = (FILES / f"{name}.xml").read_text()
    edit = (text, re.sub(r' (?:ibExecID|ibOrderID)="[^"]*"', "", text))
    checked = check(name, Books.of(f"fill {ours} ACME @ 12.5 order=1"), tmp_path, edit)
    deals = [one for one in found(checked) if not one.startswith(("unknown position", "quantity"))]
    assert sorted(deals) == expected


def test_a_row_that_may_be_an_execution_of_ours_explains_no_position(tmp_path: Path) -> None:
    """The rows add up to our fill of 10.4; that IB holds 10.4 more than we do is not from them."""
    text = (FILES / "fraction.xml").read_text()
    more = re.sub(r' (?:ibExecID|ibOrderID)="[^"]*"', "", text)
    more = re.sub(r' position="[^"]*"', ' position="20.8"', more)
    books = Books.of("fill 10.4 ACME @ 12.5 order=1")
    checked = check("fraction", books, tmp_path, (text, more))
    assert "unknown position ACME" in found(checked)


@pytest.mark.parametrize(
    ("price", "expected"), [("12.4", []), ("12.5", ["contradiction high ACME"])]
)
def test_a_deal_that_is_booked_again_without_an_execution_id_is_the_first_corrected(
    price: str, expected: list[str], tmp_path: Path
) -> None:
    text = (FILES / "cancel-and-rebook.xml").read_text()
    again = next(row for row in text.splitlines() if 'transactionID="5600000191"' in row)
    changed = re.sub(r'ibExecID="[^"]*"', 'ibExecID=""', again)
    changed = changed.replace('tradePrice="12.5"', 'tradePrice="12.4"')
    books = Books.of(TABLE[0][1].replace("ACME @ 12.5", f"ACME @ {price}"))
    assert found(check("cancel-and-rebook", books, tmp_path, (again, changed))) == expected


@pytest.mark.parametrize("quantity", ["-50", "0"])
def test_a_cancel_with_the_execution_id_takes_that_execution_back(
    quantity: str, tmp_path: Path
) -> None:
    text = (FILES / "bust-of-the-day-before.xml").read_text()
    edits = [
        ('ibExecID=""', 'ibExecID="0000f1a2.69b00042.01.01"'),
        ('quantity="-50"', f'quantity="{quantity}"'),
    ]
    assert text.count(edits[0][0]) == 1
    at = "at=2026-03-09T10:15:00 order=810000042"
    standing = Books.of(f"fill 50 ACME @ 12.5 exec=42.01 {at}")
    busted = Books.of(f"fill 0 ACME @ 12.5 exec=42.02 {at}")
    assert found(check("bust-of-the-day-before", standing, tmp_path, *edits)) == [
        "corrected_fill high ACME"
    ]
    assert found(check("bust-of-the-day-before", busted, tmp_path, *edits)) == []


def _with(row: str, **fields: str) -> str:
    for name, value in fields.items():
        row = re.sub(rf' {name}="[^"]*"', f' {name}="{value}"', row)
    return row


#: Fields that say when or of which order and deal a row is.
PLACING = [
    "dateTime|orderTime",
    "tradeDate|origTradeDate",
    "reportDate",
    "ibExecID",
    "tradeID|origTradeID",
    "ibOrderID|origOrderID",
    "transactionID|origTransactionID",
    "transactionType|notes|buySell",
]
BOOKED_AGAIN = "fill 50 ACME @ {} at=2026-03-09T10:15:00 exec={} order=810000041 charge={}"
OF_TODAY = "fill 50 ACME @ 12.5 exec=99.01 order=810000099 charge=0"


@pytest.mark.sample(3)
@pytest.mark.parametrize("place", [None, 0, 2])
@pytest.mark.parametrize("again", ["", "12.4", "12.5"])
def test_a_cancel_that_cannot_be_placed_takes_no_deal_of_these_days(
    again: str, place: int | None, tmp_path: Path
) -> None:
    """Goal: a cancel of the day before, its deal gone or booked again, makes no difference beside
    an equal deal of the day. Method: every set of the fields that could tell them apart left out.
    """
    name = "cancel-of-the-day-before"
    whole = (FILES / f"{name}.xml").read_text()
    rows = [row for row in whole.splitlines() if "<Trade " in row]
    cancel, first = rows
    books = [BOOKED_AGAIN.format(again, "41.02", "0")] if again else []
    chosen = [cancel, _with(first, tradePrice=again)] if again else [cancel]
    if place is not None:
        today = _with(first, dateTime="20260310;101500", tradeDate="20260310", tradePrice="12.5")
        numbers = {"tradeID": "1400000099", "transactionID": "5600000495"}
        execution = {"ibOrderID": "810000099", "ibExecID": "0000f1a2.69b00099.01.01"}
        chosen.insert(place, _with(today, **numbers, **execution))
        books.append(OF_TODAY)
    text = whole.replace("\n".join(rows), "\n".join(chosen))
    text = re.sub(r"<CashReport>.*</CashReport>\n", "", text, flags=re.DOTALL)
    text = text.replace('position="50"', f'position="{50 * len(books)}"')
    busted = "fill 0 ACME @ 12.5 at=2026-03-09T10:15:00 exec=41.02 order=810000041"
    ours = "\n".join([*books] if again else [busted, *books])
    for count in range(len(PLACING) + 1):
        for left_out in itertools.combinations(PLACING, count):
            edit = (whole, re.sub(rf' (?:{"|".join(left_out) or "none"})="[^"]*"', "", text))
            findings = found(check(name, Books.of(ours), tmp_path, edit))
            assert [one for one in findings if not one.startswith("unknown")] == [], left_out


def test_a_row_without_a_day_may_be_of_before_the_log(tmp_path: Path) -> None:
    text = (FILES / "cancel-and-rebook.xml").read_text()
    edit = (text, re.sub(r' (?:dateTime|tradeDate|reportDate)="[^"]*"', "", text))
    books = Books.of("held 50 ACME\nheld 3 BORE")
    books.began = datetime(2026, 3, 10, 14, 30, tzinfo=UTC)
    assert {one.split()[0] for one in found(check("cancel-and-rebook", books, tmp_path, edit))} == {
        "unknown"
    }


def test_a_price_in_cents_is_that_price(tmp_path: Path) -> None:
    books = Books.of(
        """
        fill 5 ACME @ 12.5 exec=a1.01 order=810000101
        fill -2 GRAIN @ 455.25 exec=a2.01 order=810000102 charge=4.5
        """
    )
    edit = ('tradePrice="455.25"', 'tradePrice="4.5525"')
    assert found(check("futures-in-a-segment", books, tmp_path, edit)) == []


@pytest.mark.parametrize(
    "row",
    [
        '<TradeTransfer accountId="U7654321" conid="70000001" quantity="" />',
        '<CorporateAction accountId="U7654321" conid="70000001" quantity="many" />',
        '<Transfer accountId="U7654321" conid="70000001" direction="IN" />',
        '<OptionEAE accountId="U7654321" transactionType="Exercise" quantity="1" />',
    ],
)
def test_a_position_is_unknown_where_its_explanation_cannot_be_read(
    row: str, tmp_path: Path
) -> None:
    text = (FILES / "reverse-split.xml").read_text()
    action = next(line for line in text.splitlines() if line.startswith("<CorporateAction "))
    checked = check("reverse-split", Books.of("held 100 ACME"), tmp_path, (action, row))
    assert found(checked) in (
        ["unknown row", "unknown position ACME"],
        ["unknown row ACME", "unknown position ACME"],
    )


def test_what_was_dealt_elsewhere_and_delivered_explains_a_position(tmp_path: Path) -> None:
    text = (FILES / "reverse-split.xml").read_text()
    action = next(line for line in text.splitlines() if line.startswith("<CorporateAction "))
    row = (
        '<TradeTransfer accountId="U7654321" assetCategory="STK" symbol="ACME" conid="70000001"'
        ' transactionType="DvpTrade" quantity="-66" tradePrice="3.1" brokerName="A BROKER"'
        ' direction="To" deliveredReceived="Delivered" levelOfDetail="TRADE_TRANSFERS" />'
    )
    assert found(check("reverse-split", Books.of("held 100 ACME"), tmp_path, (action, row))) == []


def test_orders_without_a_price_agree_in_quantity_and_no_more(tmp_path: Path) -> None:
    text = (FILES / "orders-only.xml").read_text()
    edit = (text, re.sub(r' tradePrice="[^"]*"', "", text))
    table = {name: books for name, books, wrong in TABLE if name == "orders-only" and not wrong}
    agreeing = Books.of(table["orders-only"])
    checked = check("orders-only", agreeing, tmp_path, edit)
    assert found(checked) == ["unknown deal ACME", "unknown deal BORE"]
    assert {f.text for f in checked.findings} == {
        "the query leaves out the price: add the field Trade Price"
    }


@pytest.mark.parametrize("attribute", ["quantity", "tradePrice", "proceeds", "ibCommission"])
@pytest.mark.parametrize("value", ["1e999999", "-1E+400", "0.1e-9999", "NaN", "١٢"])
def test_no_number_of_a_row_ends_the_check(attribute: str, value: str, tmp_path: Path) -> None:
    text = (FILES / "cancel-and-rebook.xml").read_text()
    edit = (text, re.sub(rf' {attribute}="[^"]*"', f' {attribute}="{value}"', text))
    checked = check("cancel-and-rebook", Books.of(TABLE[0][1]), tmp_path, edit)
    assert checked.verdict != "clean"


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        *((name, "x" * 129) for name in ("symbol", "accountId", "currency", "ibExecID", "tradeID")),
        *(("conid", value) for value in ("2147483648", "9223372036854775808", "9" * 400, "-1")),
        ("tradeDate", "9" * 400),
        ("quantity", "9" * 400),
        ("dateTime", "x" * 20_000),
    ],
)
def test_an_absurd_word_makes_one_row_unreadable_and_no_more(
    attribute: str, value: str, tmp_path: Path
) -> None:
    text = (FILES / "cancel-alone.xml").read_text()
    (row,) = re.findall(r"<Trade .*?/>", text, re.DOTALL)[:1]
    assert f' {attribute}="' in row
    odd = re.sub(rf' {attribute}="[^"]*"', f' {attribute}="{value}"', row)
    checked = check("cancel-alone", Books.of(""), tmp_path, (row, odd))
    assert checked.verdict != "clean"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ('fromDate="00010101"', "fromDate='00010101' is not a day"),
        ('toDate="99991231"', "toDate='99991231' is not a day"),
        (f'period="{"x" * 129}"', "period=.* is longer than any of IB's"),
    ],
)
def test_an_absurd_heading_is_refused_with_its_line(
    fields: str, reason: str, tmp_path: Path
) -> None:
    text = (FILES / "cancel-alone.xml").read_text()
    name = fields.partition("=")[0]
    edit = (text, re.sub(rf' {name}="[^"]*"', f" {fields}", text, count=1))
    with pytest.raises(StatementUnreadable, match=rf"line \d+: .*{reason}"):
        check("cancel-alone", Books.of(""), tmp_path, edit)


@pytest.mark.parametrize("encoding", ["utf-7", "gb2312", "no-such", "base64", "idna", "x" * 900])
def test_an_encoding_that_cannot_be_read_is_named(encoding: str, tmp_path: Path) -> None:
    text = (FILES / "cancel-alone.xml").read_text()
    bare = re.sub(r"<\?xml.*?\?>\s*", "", text)
    edit = (text, f'<?xml version="1.0" encoding="{encoding}"?>\n{bare}')
    with pytest.raises(StatementUnreadable, match="line 1: "):
        check("cancel-alone", Books.of(""), tmp_path, edit)
