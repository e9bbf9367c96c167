"""What goes out on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import ib_async
import pytest

import oms
from oms.broker.translate.details import exchange_day, with_exchange_day
from oms.broker.wire_forms import BESIDE_CON_ID, contract_for_ib, wire_time
from oms.sim.protocol import messages

DOCS = Path(__file__).parents[2] / "docs"
TILL = datetime(2026, 12, 18, 21, 0, tzinfo=UTC)


def test_the_end_of_an_order_goes_out_in_utc_whatever_zone_it_was_given_in() -> None:
    assert wire_time(oms.Limit("BUY", 1, "5", tif="GTD", good_till=TILL)) == "20261218-21:00:00"


WEEKLY = oms.Option("AAPL", "20261218", 190, "C", trading_class="AAPL", multiplier=100)
NAMED = WEEKLY.evolve(con_id=7, local_symbol="AAPL  261218C00190000", primary_exchange="CBOE")


def said(contract: oms.Contract) -> dict[str, object]:
    """What the form of a contract says beyond nothing."""
    empty = ib_async.Contract()
    form = vars(contract_for_ib(contract))
    return {name: value for name, value in form.items() if value != getattr(empty, name)}


def test_a_contract_that_ib_has_named_goes_out_as_con_id_and_exchange_alone() -> None:
    for kind in ("STK", "OPT", "FUT", "FOP", "CASH", "IND", "CFD", "BOND", "WAR"):
        assert said(NAMED.evolve(sec_type=kind)) == {"conId": 7, "exchange": "SMART"}


def test_a_combo_goes_out_with_what_the_table_names_and_no_con_id() -> None:
    legs = (oms.ComboLeg(con_id=1, side="BUY"), oms.ComboLeg(con_id=2, side="SELL"))
    combo = oms.Combo("AAPL", legs).evolve(
        con_id=28812380, local_symbol="28812380", trading_class="COMB"
    )
    found = said(combo)
    assert found.keys() == {"exchange", *BESIDE_CON_ID["BAG"]}
    assert [leg.conId for leg in found["comboLegs"]] == [1, 2]  # type: ignore[attr-defined]


def test_the_broker_notes_show_the_table_of_what_goes_beside_a_con_id() -> None:
    notes = (DOCS / "internals" / "broker-notes.md").read_text(encoding="utf-8")
    rows = [
        f"| `{kind}` | `{field}` | {why} |"
        for kind, fields in BESIDE_CON_ID.items()
        for field, why in fields.items()
    ]
    assert [row for row in rows if row not in notes] == []


def test_a_contract_that_ib_has_not_named_goes_out_as_it_is_described() -> None:
    assert said(WEEKLY) == {
        "symbol": "AAPL",
        "secType": "OPT",
        "exchange": "SMART",
        "currency": "USD",
        "lastTradeDateOrContractMonth": "20261218",
        "strike": "190",
        "right": "C",
        "multiplier": "100",
        "tradingClass": "AAPL",
    }


@pytest.mark.parametrize(
    ("text", "exchange_zone", "day"),
    [
        ("20261218", "US/Eastern", "20261218"),
        ("202612", "US/Eastern", "202612"),
        ("", "US/Eastern", ""),
        ("NOEXP", "", "NOEXP"),
        ("20261219 05:00:00 Asia/Shanghai", "US/Eastern", "20261218"),
        ("20261219-05:00:00-Asia/Shanghai", "US/Eastern", "20261218"),
        ("20230920 02:30:00 Asia/Shanghai", "US/Eastern", "20230919"),
        ("20250620 08:30:00 US/Central", "US/Central", "20250620"),
        ("20250915 10:00:00 GB", "GB-Eire", "20250915"),
        ("20250911 19:15:00 US/Eastern", "Japan", "20250912"),
        # Without a zone it is that of TWS's login.
        ("20261219 05:00:00", "US/Eastern", "20261218"),
        ("20261218-21:00:00", "US/Eastern", "20261218"),
        # What cannot be read stays as it is.
        ("20261219 05:00:00 Nowhere", "US/Eastern", "20261219 05:00:00 Nowhere"),
        ("20261219 05:00:00 Asia/Shanghai", "", "20261219 05:00:00 Asia/Shanghai"),
        ("20261399 05:00:00 Asia/Shanghai", "US/Eastern", "20261399 05:00:00 Asia/Shanghai"),
    ],
)
def test_the_last_day_of_a_contract_is_the_day_at_its_exchange(
    text: str, exchange_zone: str, day: str
) -> None:
    assert exchange_day(text, exchange_zone, ZoneInfo("Asia/Shanghai")) == day


@pytest.mark.parametrize("version", [157, 163, 164, 176, 178])
def test_the_last_day_is_set_right_in_every_version_of_the_message(version: int) -> None:
    values = {
        "conId": "7",
        "lastTradeDate": "20261219 05:00:00 Asia/Shanghai",
        "timeZoneId": "US/Eastern",
    }
    fields = messages.encode("contractDetails", version, values)
    whole = messages.decode(version, with_exchange_day(fields, version, None))[1]
    assert whole == messages.decode(version, fields)[1] | {"lastTradeDate": "20261218"}
    # A message that is cut short is for ib_async to refuse.
    assert with_exchange_day(fields[:9], version, None) == fields[:9]
