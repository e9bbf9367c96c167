"""Wire fields to facts, proven against ib_async's own decoder and against corrupt messages."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_async.decoder import Decoder

from oms.broker.translate import Unreadable, translate, zones
from oms.broker.translate.fields import moment_from_wire
from oms.core.contracts import Contract
from oms.core.events import (
    AccountValueReceived,
    AnswerEndReceived,
    CommissionReceived,
    Event,
    ExecutionReceived,
    ManagedAccountsReceived,
    NextOrderIdReceived,
    NoticeReceived,
    OrderBoundReceived,
    OrderStatusReceived,
    PortfolioReceived,
    PositionReceived,
    WhatIfReceived,
)

NEW_YORK = ZoneInfo("America/New_York")
UNSET = "1.7976931348623157E308"
VERSIONS = st.integers(157, 178)
AAPL = ["265598", "AAPL", "STK", "", "0", "?", "", "SMART", "USD", "AAPL", "NMS"]


def read(*fields: object, version: int = 178, zone: ZoneInfo | None = None) -> Event:
    translated = translate([str(field) for field in fields], version, zone)
    assert translated is not None
    return translated.event


# ── one claim a message ──────────────────────────────────────────────────────────────────────────


def test_an_order_status_keeps_every_digit_of_the_wire() -> None:
    assert read(
        3, 7, "Submitted", "0.30000000000000004", "99.7", "512.3400", 123, 6, "512.34", 5, "x", "0"
    ) == OrderStatusReceived(
        broker_order_id=7,
        status="Submitted",
        filled=Decimal("0.30000000000000004"),
        remaining=Decimal("99.7"),
        average_fill_price=Decimal("512.3400"),
        perm_id=123,
        parent_broker_order_id=6,
        last_fill_price=Decimal("512.34"),
        client_id=5,
        why_held="x",
    )


EXECUTION = {
    "id": "11",
    "reqId": "-1",
    "orderId": "7",
    **{f"contract{n}": field for n, field in enumerate(AAPL)},
    "execId": "0000e0d5.5f3a1b2c.01.01",
    "time": "20260105 09:30:00 US/Eastern",
    "account": "DU1",
    "exchange": "ARCA",
    "side": "BOT",
    "shares": "100",
    "price": "190.05",
    "permId": "123",
    "clientId": "5",
    "liquidation": "0",
    "cumQty": "100",
    "avgPrice": "190.05",
    "orderRef": "ref",
    "evRule": "",
    "evMultiplier": "0.0",
    "modelCode": "",
    "lastLiquidity": "2",
    "pendingPriceRevision": "0",
}


def execution(**changed: str) -> list[str]:
    return list((EXECUTION | changed).values())


def test_an_execution_is_translated_with_the_instant_that_its_text_names() -> None:
    translated = translate(execution(), 178, None)
    assert translated is not None
    assert translated.occurred_at == datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    assert translated.event == ExecutionReceived(
        broker_order_id=7,
        client_id=5,
        perm_id=123,
        order_ref="ref",
        account="DU1",
        contract=Contract(
            con_id=265598,
            symbol="AAPL",
            exchange="SMART",
            local_symbol="AAPL",
            trading_class="NMS",
        ),
        exec_id="0000e0d5.5f3a1b2c.01.01",
        side="BUY",
        quantity=Decimal(100),
        price=Decimal("190.05"),
        venue="ARCA",
        time_text="20260105 09:30:00 US/Eastern",
        cumulative_quantity=Decimal(100),
        average_price=Decimal("190.05"),
    )


def test_an_execution_of_another_session_has_the_order_id_0() -> None:
    assert read(*execution(orderId="2147483647")).broker_order_id == 0  # type: ignore[attr-defined]
    for unset in ("2147483647", "-1", "0", ""):
        assert read(*execution(permId=unset)).perm_id == 0  # type: ignore[attr-defined]


def test_an_execution_that_answers_a_request_is_marked_as_fetched() -> None:
    assert read(*execution(reqId="42")).fetched  # type: ignore[attr-defined]


def test_an_execution_whose_time_cannot_be_read_is_kept_with_its_text() -> None:
    translated = translate(execution(time="yesterday"), 178, NEW_YORK)
    assert translated is not None
    assert (translated.event.time_text, translated.occurred_at) == ("yesterday", None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("unset", ["-1", "", UNSET, "1.7976931348623157e+308"])
def test_an_unknown_commission_is_none_and_not_zero(unset: str) -> None:
    assert read(59, 1, "e.01", unset, "USD", UNSET, UNSET, "") == CommissionReceived(
        exec_id="e.01", commission=None, currency="USD"
    )


def test_a_rebate_stays_a_negative_commission() -> None:
    event = read(59, 1, "e.01", "-1.25", "USD", "17.5", UNSET, "")
    assert event == CommissionReceived(
        exec_id="e.01",
        commission=Decimal("-1.25"),
        currency="USD",
        realised_pnl=Decimal("17.5"),
    )


def test_a_notice_without_the_advanced_reject_is_still_a_notice() -> None:
    assert read(4, 2, 7, 201, "rejected") == NoticeReceived(subject_id=7, code=201, text="rejected")
    assert read(4, 2, -1, 2104, "ok", "{}") == NoticeReceived(
        subject_id=-1, code=2104, text="ok", advanced_reject="{}"
    )


def test_positions_and_the_portfolio_say_what_the_account_holds() -> None:
    contract = Contract(
        con_id=1,
        symbol="GC",
        sec_type="FUT",
        exchange="COMEX",
        local_symbol="GCG6",
        trading_class="GC",
        expiry="20260225",
        multiplier=Decimal(100),
    )
    wire = ["1", "GC", "FUT", "20260225", "0", "0", "100", "COMEX", "USD", "GCG6", "GC"]
    assert read(61, 3, "DU1", *wire, "-2", "147732.37") == PositionReceived(
        account="DU1",
        contract=contract,
        quantity=Decimal(-2),
        average_cost=Decimal("147732.37"),
    )
    assert read(71, 1, 9, "DU1", *wire, "3", "", "") == PositionReceived(
        account="DU1", contract=contract, quantity=Decimal(3)
    )
    assert translate(["71", "1", "9", "DU1", *wire, "3", "", "model"], 178, None) is None
    portfolio = ["-2", "1477.1", "-295420", "147732.37", "44.74", UNSET, "DU1"]
    assert read(7, 8, *wire, *portfolio) == PortfolioReceived(
        account="DU1",
        contract=contract.evolve(exchange="", primary_exchange="COMEX"),
        quantity=Decimal(-2),
        market_price=Decimal("1477.1"),
        market_value=Decimal(-295420),
        average_cost=Decimal("147732.37"),
        unrealised_pnl=Decimal("44.74"),
    )


def test_account_values_come_from_three_messages() -> None:
    expected = {"account": "DU1", "key": "NetLiquidation", "value": "1.5", "currency": "USD"}
    assert [
        read(6, 2, "NetLiquidation", "1.5", "USD", "DU1"),
        read(63, 1, 9, "DU1", "NetLiquidation", "1.5", "USD"),
        read(73, 1, 9, "DU1", "", "NetLiquidation", "1.5", "USD"),
    ] == [AccountValueReceived(**expected, source=s) for s in ("updates", "summary", "multi")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ("$LEDGER-CashBalance", "CashBalance"),
        ("$LEDGER-ExchangeRate", "ExchangeRate"),
        # The account has one of that name as well.
        ("$LEDGER-AccruedCash", "$LEDGER-AccruedCash"),
        ("AccruedCash", "AccruedCash"),
        ("$LEDGER-", "$LEDGER-"),
    ],
)
def test_the_prefix_of_per_currency_values_is_no_part_of_their_name(told: str, key: str) -> None:
    expected = {"account": "DU1", "key": key, "value": "1.5", "currency": "EUR"}
    assert [
        read(6, 2, told, "1.5", "EUR", "DU1"),
        read(73, 1, 9, "DU1", "", told, "1.5", "EUR"),
    ] == [AccountValueReceived(**expected, source=s) for s in ("updates", "multi")]  # type: ignore[arg-type]


def test_ids_and_ends_are_translated() -> None:
    assert [
        read(9, 1, 42),
        read(15, 1, "DU1,DU2,"),
        read(100, 99, 5, -3),
        read(53, 1),
        read(54, 1, "DU1"),
        read(55, 1, 9),
        read(62, 1),
        read(64, 1, 10),
        read(72, 1, 11),
        read(74, 1, 12),
        read(102),
    ] == [
        NextOrderIdReceived(broker_order_id=42),
        ManagedAccountsReceived(accounts=("DU1", "DU2")),
        OrderBoundReceived(perm_id=99, client_id=5, broker_order_id=-3),
        AnswerEndReceived(kind="open_orders"),
        AnswerEndReceived(kind="account"),
        AnswerEndReceived(kind="executions", request_id=9),
        AnswerEndReceived(kind="positions"),
        AnswerEndReceived(kind="account_summary", request_id=10),
        AnswerEndReceived(kind="positions", request_id=11),
        AnswerEndReceived(kind="account", request_id=12),
        AnswerEndReceived(kind="completed_orders"),
    ]


def reason_of(fields: list[str], version: int = 178) -> str | None:
    """Why a message is unreadable; None where it is not. Any other exception fails the test."""
    try:
        translate(fields, version, NEW_YORK)
    except Unreadable as error:
        return str(error)
    return None


def test_every_message_that_ib_async_knows_is_ours_or_other_peoples() -> None:
    known = Decoder(SimpleNamespace(), 178).handlers  # type: ignore[arg-type]
    reasons = [reason_of([str(message_id)]) or "" for message_id in known]
    assert [reason for reason in reasons if "not known" in reason] == []


def test_market_data_is_none_and_an_unknown_message_is_unreadable() -> None:
    assert translate(["1", "6", "9", "1", "190.05", "100", "0"], 178, None) is None
    for fields in (["203", "1"], ["", "1"], ["x"], []):
        with pytest.raises(Unreadable, match="not known"):
            translate(fields, 178, None)


# ── times ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("20260105 09:30:00 US/Eastern", None, datetime(2026, 1, 5, 14, 30, tzinfo=UTC)),
        ("20260705 09:30:00 America/New_York", None, datetime(2026, 7, 5, 13, 30, tzinfo=UTC)),
        ("20260105-14:30:00", NEW_YORK, datetime(2026, 1, 5, 14, 30, tzinfo=UTC)),
        ("20260105-14:30:00Z", None, datetime(2026, 1, 5, 14, 30, tzinfo=UTC)),
        ("20260105  09:30:00", NEW_YORK, datetime(2026, 1, 5, 14, 30, tzinfo=UTC)),
        ("20260105 09:30:00", NEW_YORK, datetime(2026, 1, 5, 14, 30, tzinfo=UTC)),
        ("20260105  09:30:00", None, None),
        ("20260105 09:30:00 Nowhere/At-All", NEW_YORK, None),
        ("20260105 09:30:00 ../../etc", NEW_YORK, None),
        ("00010101 00:00:00", ZoneInfo("Asia/Tokyo"), None),
        ("20260230 09:30:00", NEW_YORK, None),
        ("", NEW_YORK, None),
    ],
)
def test_a_time_text_names_an_instant_only_with_a_zone(
    text: str, zone: ZoneInfo | None, expected: datetime | None
) -> None:
    assert moment_from_wire(text, zone) == expected


@given(st.text(max_size=40))
def test_no_time_text_raises(text: str) -> None:
    moment_from_wire(text, NEW_YORK)


@pytest.mark.parametrize(
    "marker", ["", "9223372036854775807", "-9223372036854775808", UNSET, "2147483647"]
)
def test_an_order_status_without_sizes_is_still_a_status(marker: str) -> None:
    found: Any = read(3, 7, "Cancelled", marker, marker, marker, 123, 6, marker, 5, "", "0")
    assert (found.status, found.filled, found.remaining) == ("Cancelled", None, None)
    assert (found.average_fill_price, found.last_fill_price) == (None, None)


GATEWAYS = {
    "": NEW_YORK,
    "Shanghai": ZoneInfo("Asia/Shanghai"),
    "London": ZoneInfo("Europe/London"),
    "Dublin": ZoneInfo("Europe/Dublin"),
    "Calcutta": ZoneInfo("Asia/Calcutta"),
    "Jerusalem": ZoneInfo("Asia/Jerusalem"),
    "Chicago": ZoneInfo("America/Chicago"),
}


def written(name: str, charset: str) -> str:
    """How a name arrives that the gateway's host has written in a charset of its own."""
    return name.encode(charset).decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("name", "gateway", "hours"),
    [
        *((name, "", 8) for name in ("SGT", "HKT", "Singapore Standard Time", "GMT+8", "+08:00")),
        *((name, "", 8) for name in ("China Standard Time", "中国标准时间", "UTC+0800", "PRC")),
        (written("中国标准时间", "gbk"), "", 8),
        (written("日本標準時", "cp932"), "", 9),
        (written("Mitteleuropäische Zeit", "cp1252"), "", 2),
        (r"\u4e2d\u56fd\u6807\u51c6\u65f6\u95f4", "", 8),
        *((name, "", 2) for name in ("MET", "CET", "MESZ", "CEST", "W. Europe Standard Time")),
        *((name, "", 3) for name in ("Eastern European Summer Time", "GTB Standard Time")),
        *((name, "", -4) for name in ("US/Eastern", "EST5EDT", "EST", "EDT")),
        *((name, "", -4) for name in ("Eastern Standard Time", "eastern daylight time")),
        *((name, "", 1) for name in ("British Summer Time", "GMT Standard Time", "Europe/London")),
        *((name, "", 0) for name in ("GMT", "UTC", "Etc/GMT", "Coordinated Universal Time")),
        ("Etc/GMT+8", "", -8),
        ("GMT-05:30", "", -5.5),
        ("India Standard Time", "", 5.5),
        ("IST", "Calcutta", 5.5),
        ("IST", "Jerusalem", 3),
        ("IST", "Dublin", 1),
        ("CST", "Shanghai", 8),
        ("CST", "Chicago", -5),
        ("BST", "London", 1),
        ("GMT", "London", 1),  # its own name in winter, read by the clock on its wall
        ("Greenwich Mean Time", "London", 1),
    ],
)
def test_the_names_of_zones_that_gateways_write_are_read(
    name: str, gateway: str, hours: float
) -> None:
    noon_there = f"20260705 12:00:00 {name}"
    expected = datetime(2026, 7, 5, 12, tzinfo=UTC) - timedelta(hours=hours)
    assert moment_from_wire(noon_there, GATEWAYS[gateway]) == expected


@pytest.mark.parametrize("name", ["IST", "CST", "BST", "XYZT", "??????", "GMT+15", "\ufffd\ufffd"])
def test_a_name_that_several_zones_share_or_none_has_is_no_zone(name: str) -> None:
    assert moment_from_wire(f"20260705 12:00:00 {name}", NEW_YORK) is None
    assert moment_from_wire(f"20260705 12:00:00 {name}", None) is None


def test_in_the_hour_that_comes_twice_the_name_tells_which() -> None:
    for name, hour in (("EDT", 5), ("EST", 6)):
        read_as = moment_from_wire(f"20261101 01:30:00 {name}", NEW_YORK)
        assert read_as == datetime(2026, 11, 1, hour, 30, tzinfo=UTC)


def test_every_zone_in_the_table_of_names_exists() -> None:
    for zone in {*zones._ZONES.values(), *itertools.chain(*zones._SHARED.values())}:
        assert ZoneInfo(zone).key == zone


@pytest.mark.parametrize(
    ("shown", "minutes"),
    [
        ("20260105 22:31:00 SGT", 480),
        ("20260105 09:28:10 EST", -300),
        ("20260105 20:00:00 IST", 330),
        ("20260105 09:22:00", None),  # no zone is eight minutes from the next
        ("20260107 09:30:00", None),
        ("nonsense", None),
    ],
)
def test_a_clock_shows_how_far_east_its_zone_lies(shown: str, minutes: int | None) -> None:
    now = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
    assert zones.offset_shown(shown, now) == minutes


# ── the long messages, against ib_async's decoder ────────────────────────────────────────────────


class Recorder:
    """Stands in for ib_async's Wrapper: keeps every call that its decoder makes."""

    defaultTimezone = UTC
    ib = SimpleNamespace(TimezoneTWS="America/New_York")

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))


def decode_with_ib_async(fields: list[str], version: int) -> tuple[Any, ...]:
    recorder = Recorder()
    decoder = Decoder(recorder, version)  # type: ignore[arg-type]
    decoder.handlers[int(fields[0])](list(fields))
    ((_, arguments),) = recorder.calls
    return arguments


number = st.decimals(-10_000, 10_000, places=4, allow_nan=False).map(str)
money = st.one_of(number, st.sampled_from(["", UNSET, "0.0"]))
count = st.integers(0, 3)
word = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
order_id = st.integers(0, 2**31 - 2).map(str)
flag = st.sampled_from(["0", "1", ""])


@st.composite
def contract_fields(draw: st.DrawFn) -> list[str]:
    sec_type = draw(st.sampled_from(["STK", "OPT", "FUT", "BAG", "CASH"]))
    return [
        draw(order_id),
        draw(word),
        sec_type,
        draw(st.sampled_from(["", "20260320"])),
        draw(st.sampled_from(["", "0", "0.0", "150.5"])),
        draw(st.sampled_from(["", "?", "0", "C", "P"])),
        draw(st.sampled_from(["", "100", "0.1"])),
        *[draw(word) for _ in range(4)],
    ]


@st.composite
def middle(draw: st.DrawFn, before_flag: int) -> list[str]:
    """Combo, scale, hedge, delta-neutral contract and algo: the blocks that move what follows."""
    legs, prices, parameters, algo = draw(count), draw(count), draw(count), draw(count)
    fields = [str(legs)]
    for leg in range(legs):
        fields += [str(leg), "1", "BUY", "SMART", "0", "0", "", "-1"]
    fields += [str(prices), *(draw(money) for _ in range(prices))]
    fields += [str(parameters), *("tag" for _ in range(2 * parameters))]
    increment = draw(st.sampled_from(["", "0.0", "0.05", UNSET]))
    fields += ["", "", increment]
    if increment == "0.05":
        fields += ["0.1", "1", "0.2", "0", "1", "2", "1"]
    fields += ["D", "0.5"] if draw(st.booleans()) else [""]
    fields += [draw(flag) or "0" for _ in range(1)] if before_flag == 4 else []
    fields += ["", "IB", "0"]
    fields += ["1", "8314", "0.5", "2"] if draw(st.booleans()) else ["0"]
    fields += (
        ["Twap", str(algo), *("tag" for _ in range(2 * algo))] if draw(st.booleans()) else [""]
    )
    return fields


CONDITIONS = {
    1: ["a", "1", "150.5", "265598", "SMART", "0"],
    3: ["o", "0", "20260105 09:30:00 US/Eastern"],
    4: ["a", "1", "30"],
    5: ["a", "STK", "SMART", "AAPL"],
    6: ["a", "1", "1000", "265598", "SMART"],
    7: ["o", "1", "0.5", "265598", "SMART"],
}


@st.composite
def conditions(draw: st.DrawFn, order_type: str) -> list[str]:
    fields = ["265598", "0", "0.1", "0.2", "SMART"] if order_type == "PEG BENCH" else []
    kinds = draw(st.lists(st.sampled_from(sorted(CONDITIONS)), max_size=4))
    fields.append(str(len(kinds)))
    for kind in kinds:
        fields += [str(kind), *CONDITIONS[kind]]
    return fields + (["0", "1"] if kinds else [])


ORDER_TYPES = st.sampled_from(
    ["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "PEG BENCH", "MOC"]
)
SIZES = st.sampled_from(["", "0", "25", "2147483647"])


GOOD_TILL = st.sampled_from(["", "20260105 09:30:00 US/Eastern", "20260105-14:30:00"])


@st.composite
def open_orders(draw: st.DrawFn, what_if: str = "0") -> tuple[list[str], int]:
    version, order_type = draw(VERSIONS), draw(ORDER_TYPES)
    fields = ["5", draw(order_id), *draw(contract_fields())]
    fields += [draw(st.sampled_from(["BUY", "SELL"])), draw(number), order_type, draw(money)]
    fields += [draw(money), "GTC", draw(word), draw(word), "", "0", draw(word), draw(order_id)]
    fields += [draw(order_id), draw(flag), draw(flag), "0", "", "", "", "", ""]
    fields += ["profile"] if version < 177 else []
    fields += ["", draw(GOOD_TILL), "0", "", "", "0", "", "-1", "0", "", "", "", "", ""]
    fields += [draw(SIZES), "0", "0", draw(flag), draw(SIZES), draw(st.sampled_from("123"))]
    fields += ["0", "0", "", draw(order_id), "0", "", "0"]
    fields += draw(st.sampled_from([["", ""], ["None", "", "0", "", "", "", "?", "0", "0", ""]]))
    fields += ["0", "0", draw(money), draw(money), "", "", draw(word)]
    fields += draw(middle(4))
    fields += ["0", what_if, draw(st.sampled_from(["Submitted", "Filled"]))]
    fields += [*(draw(money) for _ in range(12)), "USD", draw(word), "0", "0"]
    fields += draw(conditions(order_type))
    fields += ["None", "", draw(money), draw(money), "", "", "", "0"]
    fields += ["", "", "", "0", "0", "0", "0", "0"]
    fields += [""] * ((version >= 159) + (version >= 160))
    fields += ["0"] if version >= 162 else []
    fields += [""] * 5 if version >= 170 else []
    return fields, version


@st.composite
def completed_orders(draw: st.DrawFn) -> tuple[list[str], int]:
    version, order_type = draw(VERSIONS), draw(ORDER_TYPES)
    fields = ["101", *draw(contract_fields())]
    fields += [draw(st.sampled_from(["BUY", "SELL"])), draw(money), order_type, draw(money)]
    fields += [draw(money), "GTC", draw(word), draw(word), "", "0", draw(word), draw(order_id)]
    fields += ["0", "0", "0", "", "", "", ""]
    fields += ["profile"] if version < 177 else []
    fields += ["", "", "0", "", "", "0", "", "-1", "", "", "", "", "", "2147483647", "0", "0"]
    fields += ["", "3", "0", "", "0"]
    fields += draw(st.sampled_from([["", ""], ["None", "", "0", "0", "0", ""]]))
    fields += ["0", "0", "", "", ""]
    fields += draw(middle(3))
    fields += ["0", draw(st.sampled_from(["Cancelled", "Filled"])), "0", "0"]
    fields += draw(conditions(order_type))
    fields += ["", "", "0", "0", "0", "", draw(money), "0", "0", "", "0", "0", draw(order_id)]
    fields += [draw(st.sampled_from(["20260105 09:30:00 US/Eastern", ""])), draw(word)]
    fields += [""] * 5 if version >= 170 else []
    return fields, version


@st.composite
def executions(draw: st.DrawFn) -> tuple[list[str], int]:
    version = draw(VERSIONS)
    fields = ["11", draw(st.sampled_from(["-1", "5"])), draw(order_id), *draw(contract_fields())]
    fields += [draw(word.filter(bool)), draw(TIMES), draw(word), draw(word)]
    fields += [draw(st.sampled_from(["BOT", "SLD"])), draw(number), draw(number), draw(order_id)]
    fields += [draw(order_id), draw(st.sampled_from(["0", "1"])), draw(money), draw(money)]
    fields += [draw(word), "", "0.0", "", "2"]
    return fields + ([draw(flag)] if version >= 178 else []), version


TIMES = st.sampled_from(
    ["20260105 09:30:00 US/Eastern", "20260705  15:59:59", "20260105 23:59:59 Asia/Tokyo"]
)


def same_number(ours: Decimal | None, theirs: Any) -> bool:
    """Equal as floats; what we call None, ib_async calls 0 or the largest double."""
    if ours is None:
        return theirs == 0 or theirs > 1e300
    return float(ours) == theirs


def same_contract(ours: Contract, theirs: Any) -> bool:
    return (
        (ours.con_id, ours.symbol, ours.sec_type, ours.expiry, ours.currency, ours.exchange)
        == (
            theirs.conId,
            theirs.symbol,
            theirs.secType,
            theirs.lastTradeDateOrContractMonth,
            theirs.currency,
            theirs.exchange,
        )
        and (ours.local_symbol, ours.trading_class) == (theirs.localSymbol, theirs.tradingClass)
        and same_number(ours.strike, theirs.strike)
        and same_number(ours.multiplier, float(theirs.multiplier or 0))
        and ours.right == theirs.right.strip("?0")
    )


@given(open_orders())
def test_an_open_order_reads_as_ib_async_reads_it(message: tuple[list[str], int]) -> None:
    fields, version = message
    ours: Any = read(*fields, version=version)
    broker_order_id, contract, order, state = decode_with_ib_async(fields, version)
    assert same_contract(ours.contract, contract)
    assert (
        ours.broker_order_id,
        ours.client_id,
        ours.perm_id,
        ours.order_ref,
        ours.account,
        ours.side,
        ours.order_type,
        ours.tif,
        ours.oca_group,
        ours.outside_rth,
        ours.parent_broker_order_id,
        ours.status,
        ours.warning_text,
        ours.hidden,
        ours.all_or_none,
        ours.good_till_text,
    ) == (
        broker_order_id,
        order.clientId,
        order.permId,
        order.orderRef,
        order.account,
        order.action,
        order.orderType,
        order.tif,
        order.ocaGroup,
        order.outsideRth,
        order.parentId,
        state.status,
        state.warningText,
        order.hidden,
        order.allOrNone,
        order.goodTillDate,
    )
    assert same_number(ours.quantity, order.totalQuantity)
    assert same_number(ours.limit_price, order.lmtPrice)
    assert same_size(ours.display_size, order.displaySize)
    assert same_size(ours.min_quantity, order.minQty)
    assert ours.oca_type == (order.ocaType if order.ocaGroup else 0)
    assert [(leg.con_id, leg.ratio, leg.side) for leg in ours.contract.legs] == [
        (leg.conId, leg.ratio, leg.action) for leg in contract.comboLegs
    ]
    if order.orderType in {"TRAIL", "TRAIL LIMIT"}:
        assert ours.stop_price is None
        assert same_number(ours.trail_percent, order.trailingPercent)
        assert same_number(ours.trail_stop_price, order.trailStopPrice)
        if ours.trail_percent is None:
            assert same_number(ours.trail_amount, order.auxPrice)
    else:
        assert same_number(ours.stop_price, order.auxPrice)
        assert (ours.trail_amount, ours.trail_percent, ours.trail_stop_price) == (None, None, None)
    if order.orderType == "TRAIL LIMIT":
        assert same_number(ours.limit_offset, order.lmtPriceOffset)


def same_size(ours: Decimal | None, theirs: int) -> bool:
    """What we call None, ib_async calls 0 or the largest integer."""
    return (0 if ours is None else int(ours)) == (0 if theirs == 2**31 - 1 else theirs)


@given(open_orders(what_if="1"))
def test_a_what_if_is_no_open_order_and_reads_as_ib_async_reads_it(
    message: tuple[list[str], int],
) -> None:
    fields, version = message
    ours: Any = read(*fields, version=version)
    broker_order_id, _, order, state = decode_with_ib_async(fields, version)
    assert type(ours) is WhatIfReceived
    assert (ours.broker_order_id, ours.account) == (broker_order_id, order.account)
    assert same_number(ours.commission, state.commission)
    assert same_number(ours.commission_min, state.minCommission)
    assert same_number(ours.commission_max, state.maxCommission)
    assert (ours.commission_currency, ours.warning_text) == ("USD", state.warningText)
    margins = [
        (ours.initial_margin_before, state.initMarginBefore),
        (ours.initial_margin_change, state.initMarginChange),
        (ours.initial_margin_after, state.initMarginAfter),
        (ours.maintenance_margin_before, state.maintMarginBefore),
        (ours.maintenance_margin_change, state.maintMarginChange),
        (ours.maintenance_margin_after, state.maintMarginAfter),
        (ours.equity_with_loan_before, state.equityWithLoanBefore),
        (ours.equity_with_loan_change, state.equityWithLoanChange),
        (ours.equity_with_loan_after, state.equityWithLoanAfter),
    ]
    assert [m for m in margins if not same_number(m[0], float(m[1] or 0))] == []


@given(open_orders(what_if="1"), st.sampled_from(["N/A", "NaN", "Infinity", UNSET, ""]))
def test_a_what_if_without_figures_is_an_answer_that_has_none(
    message: tuple[list[str], int], nothing: str
) -> None:
    fields, version = message
    whole: Any = read(*fields, version=version)
    state = max(n for n in range(len(fields)) if fields[n] in {"Submitted", "Filled"})
    fields[state + 1 : state + 13] = [nothing] * 12  # nine margins, three commissions
    ours: Any = read(*fields, version=version)
    assert ours.initial_margin_after is ours.equity_with_loan_change is ours.commission_max is None
    assert (ours.account, ours.warning_text) == (whole.account, whole.warning_text)


@given(completed_orders())
def test_a_completed_order_reads_as_ib_async_reads_it(message: tuple[list[str], int]) -> None:
    fields, version = message
    ours: Any = read(*fields, version=version)
    contract, order, state = decode_with_ib_async(fields, version)
    assert same_contract(ours.contract, contract)
    assert (
        ours.perm_id,
        ours.order_ref,
        ours.account,
        ours.side,
        ours.order_type,
        ours.tif,
        ours.status,
        ours.completed_time,
        ours.completed_status,
    ) == (
        order.permId,
        order.orderRef,
        order.account,
        order.action,
        order.orderType,
        order.tif,
        state.status,
        state.completedTime,
        state.completedStatus,
    )
    assert same_number(ours.quantity, order.totalQuantity)
    assert same_number(ours.filled_quantity, order.filledQuantity)
    assert same_number(ours.limit_price, order.lmtPrice)
    trails = order.orderType in {"TRAIL", "TRAIL LIMIT"}
    assert ours.stop_price is None if trails else same_number(ours.stop_price, order.auxPrice)


@given(executions())
def test_an_execution_reads_as_ib_async_reads_it(message: tuple[list[str], int]) -> None:
    fields, version = message
    translated = translate(fields, version, NEW_YORK)
    assert translated is not None
    ours: Any = translated.event
    request_id, contract, theirs = decode_with_ib_async(fields, version)
    assert same_contract(ours.contract, contract)
    assert (
        translated.occurred_at,
        ours.fetched,
        ours.exec_id,
        ours.account,
        ours.venue,
        {"BUY": "BOT", "SELL": "SLD"}[ours.side],
        ours.broker_order_id,
        ours.perm_id,
        ours.client_id,
        ours.order_ref,
        ours.liquidation,
        ours.price_may_change,
    ) == (
        theirs.time,
        request_id != -1,
        theirs.execId,
        theirs.acctNumber,
        theirs.exchange,
        theirs.side,
        theirs.orderId,
        theirs.permId,
        theirs.clientId,
        theirs.orderRef,
        bool(theirs.liquidation),
        theirs.pendingPriceRevision,
    )
    assert same_number(ours.quantity, theirs.shares)
    assert same_number(ours.price, theirs.price)
    assert same_number(ours.cumulative_quantity, theirs.cumQty)
    assert same_number(ours.average_price, theirs.avgPrice)


@given(st.tuples(order_id, number, number, money, order_id, money, order_id, word))
def test_an_order_status_reads_as_ib_async_reads_it(drawn: tuple[str, ...]) -> None:
    own, filled, remaining, average, perm, last, client, held = drawn
    fields = ["3", own, "Submitted", filled, remaining, average, perm, "0", last, client, held, "0"]
    ours: Any = read(*fields)
    theirs = decode_with_ib_async(fields, 178)
    assert (ours.broker_order_id, ours.status, ours.perm_id, ours.client_id, ours.why_held) == (
        theirs[0],
        theirs[1],
        theirs[5],
        theirs[8],
        theirs[9],
    )
    numbers = (ours.filled, ours.remaining, ours.average_fill_price, ours.last_fill_price)
    for mine, other in zip(numbers, (*theirs[2:5], theirs[7]), strict=True):
        assert same_number(mine, other)


# ── corrupt messages ─────────────────────────────────────────────────────────────────────────────

PLAIN = st.sampled_from(
    [
        ["3", "7", "Submitted", "0", "1", "0", "9", "0", "0", "5", "", "0"],
        ["4", "2", "7", "201", "rejected", ""],
        ["6", "2", "NetLiquidation", "1.5", "USD", "DU1"],
        ["7", "8", *AAPL, "1", "190", "190", "190", "0", "0", "DU1"],
        ["9", "1", "42"],
        ["15", "1", "DU1"],
        ["59", "1", "e.01", "1", "USD", UNSET, UNSET, ""],
        ["61", "3", "DU1", *AAPL, "1", "190"],
        ["63", "1", "9", "DU1", "NetLiquidation", "1.5", "USD"],
        ["71", "1", "9", "DU1", *AAPL, "1", "190", ""],
        ["73", "1", "9", "DU1", "", "NetLiquidation", "1.5", "USD"],
        ["55", "1", "9"],
        ["100", "99", "5", "3"],
    ]
).map(lambda fields: (fields, 178))
MESSAGES = st.one_of(open_orders(), completed_orders(), executions(), PLAIN)


def plain_open_order(version: int) -> list[str]:
    fields = ["5", "7", *AAPL, "BUY", "100", "LMT", "190.05", "0.0", "DAY", "", "DU1", "", "0"]
    fields += ["ref", "5", "123", "0", "0", "0", "", "", "", "", ""]
    fields += ["profile"] if version < 177 else []
    fields += ["", "", "0", "", "", "0", "", "-1", "0", "", "", "", "", "", "2147483647"]
    fields += ["0", "0", "0", "", "3", "0", "0", "", "0", "0", "", "0", "", ""]
    fields += ["0", "0", "", "", "", "", "", "0", "0", "0", "", "", "", "", "0", "", "IB", "0", "0"]
    fields += ["", "0", "0", "Submitted", *[UNSET] * 9, "", "", "", "USD", "", "0", "0", "0"]
    fields += ["None", "", "", "", "", "", "", "0", "", "", "", "0", "0", "0", "0", "0"]
    return (
        fields + [""] * ((version >= 159) + (version >= 160) + (version >= 162)) + pegged(version)
    )


def plain_completed_order(version: int) -> list[str]:
    fields = ["101", *AAPL, "BUY", "100", "LMT", "190.05", "0.0", "DAY", "", "DU1", "", "0", "ref"]
    fields += ["123", "0", "0", "0", "", "", "", ""]
    fields += ["profile"] if version < 177 else []
    fields += ["", "", "0", "", "", "0", "", "-1", "", "", "", "", "", "2147483647", "0", "0"]
    fields += ["", "3", "0", "", "0", "", "", "0", "0", "", "", "", "0", "0", "0", "", "", "", ""]
    fields += ["", "IB", "0", "0", "", "0", "Filled", "0", "0", "0"]
    fields += ["", "", "0", "0", "0", "", "100", "0", "0", "", "0", "0", "0", "now", "done"]
    return fields + pegged(version)


def pegged(version: int) -> list[str]:
    return [""] * 5 if version >= 170 else []


@pytest.mark.parametrize("version", range(157, 179))
@pytest.mark.parametrize("make", [plain_open_order, plain_completed_order])
def test_a_long_message_is_unreadable_wherever_it_ends_early(
    make: Callable[[int], list[str]], version: int
) -> None:
    fields = make(version)
    assert reason_of(fields, version) is None
    assert len(fields) == {plain_open_order: 127, plain_completed_order: 96}[make] or version < 178
    readable = [n for n in range(1, len(fields)) if reason_of(fields[:n], version) is None]
    assert readable == []


@given(MESSAGES, st.data())
def test_every_truncated_message_is_unreadable(
    message: tuple[list[str], int], data: st.DataObject
) -> None:
    fields, version = message
    translate(fields, version, None)
    # A notice below 166 has five fields; so has one of a gateway that leaves the sixth out.
    shortest = 5 if fields[0] == "4" else len(fields)
    keep = data.draw(st.integers(1, shortest - 1))
    with pytest.raises(Unreadable):
        translate(fields[:keep], version, None)


@given(MESSAGES, st.data())
def test_a_corrupt_message_is_a_fact_or_unreadable_and_nothing_else(
    message: tuple[list[str], int], data: st.DataObject
) -> None:
    fields, version = list(message[0]), message[1]
    junk = st.one_of(
        st.text(max_size=8),
        st.sampled_from(["-1", "nan", "Infinity", "1e999999999", "9" * 5000, "99999999", UNSET]),
    )
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(1, len(fields) - 1))
        match data.draw(st.sampled_from(["replace", "insert", "delete"])):
            case "replace":
                fields[where] = data.draw(junk)
            case "insert":
                fields.insert(where, data.draw(junk))
            case "delete" if len(fields) > 2:
                del fields[where]
    assert reason_of(fields, version) != ""


@given(st.lists(st.text(max_size=10), max_size=40), VERSIONS)
def test_no_field_list_raises_anything_but_unreadable(fields: list[str], version: int) -> None:
    assert reason_of(fields, version) != ""
