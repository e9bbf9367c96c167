"""The statement of the next morning, written by the simulator from its own books, against ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import oms
from oms.clock import SystemClock
from oms.core.events import Context, Event, Pending, StatementChecked
from oms.core.fold.records import OrderState
from oms.errors import StatementUnreadable
from oms.service.statement import Checked, check_statement, events_of
from oms.store.log import append_foreign
from tests.shell import Shell
from tests.simulator import Simulator
from tests.world import AAPL, ACCOUNT, MSFT, World

pytestmark = pytest.mark.slow

Edit = Callable[[str], str]


@pytest.fixture
async def traded(world: World) -> World:
    """Two buys and a sale, with their commissions."""
    await world.start()
    await world.bought(10)
    await world.bought(7, MSFT)
    ticket = await world.oms.manager.submit(AAPL, oms.Market("SELL", 4))
    await world.until(lambda: ticket.state is OrderState.FILLED and ticket.order.commissions)
    return world


async def checked(world: World, edit: Edit = lambda xml: xml, **fields: Any) -> Checked:
    return await check_statement(world.oms.reader, await written(world, edit, **fields))


async def written(world: World, edit: Edit = lambda xml: xml, **fields: Any) -> Path:
    xml = (await world.simulator.do("statement", **fields))["xml"]
    path = world.database.parent / "statement.xml"
    path.write_text(edit(xml))
    return path


def found(check: Checked) -> list[tuple[str | None, str]]:
    return [(f.break_class, f.symbol) for f in check.breaks]


def without_row(pattern: str) -> Edit:
    def edit(xml: str) -> str:
        changed, count = re.subn(rf"<Trade [^>]*{pattern}[^>]*/>\n", "", xml)
        assert count == 1
        return changed

    return edit


def with_text(old: str, new: str, count: int = 1) -> Edit:
    def edit(xml: str) -> str:
        assert old in xml, old
        return xml.replace(old, new, count)

    return edit


async def test_a_day_that_agrees_is_clean(traded: World) -> None:
    check = await checked(traded)
    assert (check.verdict, check.findings, check.deals) == ("clean", [], 3)
    # Three deals, two positions, the cash of one currency.
    assert check.matches == 6


async def test_an_execution_that_only_we_have_is_a_break(traded: World) -> None:
    # Of some weeks, so that nothing lies at the edge of the days, whatever the hour is.
    today, weeks = datetime.now(UTC).date(), timedelta(days=14)
    days = {"from": f"{today - weeks}", "to": f"{today + weeks}"}
    check = await checked(traded, without_row('symbol="MSFT"'), **days)
    # The position row still has it: the statement contradicts itself, too.
    assert found(check) == [
        ("extra_fill", "MSFT"),
        ("quantity_drift", "MSFT"),
        ("cash_drift", "USD"),
    ]


async def test_an_execution_that_only_the_statement_has_is_a_break_and_its_position_is_not(
    traded: World,
) -> None:
    def edit(xml: str) -> str:
        row = re.search(r"<Trade [^>]*MSFT[^>]*/>\n", xml)
        assert row is not None
        more = re.sub(r'ibExecID="[^"]*"', 'ibExecID="0000e0d5.ffffffff.01.01"', row[0])
        return xml.replace('position="7"', 'position="14"').replace(row[0], row[0] + more)

    check = await checked(traded, edit)
    assert ("missing_fill", "MSFT") in found(check)
    assert ("quantity_drift", "MSFT") not in found(check)


async def test_another_commission_is_a_break_of_low_severity(traded: World) -> None:
    check = await checked(traded, with_text('ibCommission="-1"', 'ibCommission="-1.75"'))
    (finding,) = [f for f in check.breaks if f.break_class == "commission_different"]
    assert (finding.severity, finding.ours) == ("low", "commission 1")
    assert finding.theirs == "commission 1.75 USD"


async def test_a_commission_that_is_only_spelled_out_further_agrees(traded: World) -> None:
    check = await checked(traded, with_text('ibCommission="-1"', 'ibCommission="-1.00000049"', 9))
    assert "commission_different" not in [name for name, _ in found(check)]


async def test_a_correction_that_we_heard_of_agrees_and_one_that_we_did_not_is_a_break(
    traded: World,
) -> None:
    fill = next(e for e in (await traded.books())["executions"] if e["symbol"] == "MSFT")
    before = (await traded.simulator.do("statement"))["xml"]
    await traded.simulator.do("correct", exec_id=fill["exec_id"], price="411.5")
    await traded.until(
        lambda: any(p.average_price == Decimal("411.5") for p in traded.view.positions.values())
    )
    assert (await checked(traded)).breaks == []
    check = await checked(traded, lambda _: before)
    assert ("corrected_fill", "MSFT") in found(check)


async def test_a_position_without_an_execution_is_explained_by_what_the_statement_names(
    traded: World,
) -> None:
    await traded.simulator.do("transfer", symbol="AAPL", quantity=25)
    check = await checked(traded)
    assert (check.verdict, [f.text for f in check.settled]) == (
        "clean",
        ["explained by transfer of 25"],
    )
    unexplained = await checked(traded, lambda xml: re.sub(r"<Transfer [^>]*/>\n", "", xml))
    assert found(unexplained) == [("quantity_drift", "AAPL")]


async def test_a_row_of_another_account_inside_a_statement_is_refused(traded: World) -> None:
    def edit(xml: str) -> str:
        return re.sub(r'<OpenPosition accountId="[^"]*"', '<OpenPosition accountId="DU2"', xml)

    with pytest.raises(StatementUnreadable, match="a row of account DU2 stands in"):
        await checked(traded, edit)


async def test_cash_that_does_not_follow_from_the_deals_is_a_break(traded: World) -> None:
    check = await checked(
        traded, lambda xml: re.sub(r'commissions="[^"]*"', 'commissions="-50"', xml)
    )
    assert found(check) == [("cash_drift", "USD")]


async def test_a_check_opens_cases_once_and_a_corrected_statement_closes_them(
    traded: World,
) -> None:
    wrong = with_text('ibCommission="-1"', 'ibCommission="-1.75"')
    for _ in range(2):
        await write(traded, await checked(traded, wrong))
        await traded.until(lambda: len(traded.view.open_breaks()) == 2)
    classes = {c.finding.break_class for c in traded.view.open_breaks()}
    assert classes == {"commission_different", "cash_drift"}
    report = await traded.reconcile()
    assert report.verdict == "clean", "a run cannot see the statement, and closes nothing of it"
    assert len(traded.view.open_breaks()) == 2
    await write(traded, await checked(traded))
    await traded.until(lambda: not traded.view.open_breaks())
    assert [c.verdict for c in await traded.log(StatementChecked)] == ["broken", "broken", "clean"]


async def test_drift_that_answers_and_statement_show_is_one_case_and_adjusting_it_opens_the_gate(
    traded: World,
) -> None:
    await traded.simulator.do("position_adjust", symbol="MSFT", quantity=5, account=ACCOUNT)
    check = await checked(traded)
    assert found(check) == [("quantity_drift", "MSFT")]
    await write(traded, check)
    await traded.until(lambda: len(traded.view.open_breaks()) == 1)
    await traded.reconcile()
    (case,) = traded.view.open_breaks()
    assert [f.subject for f in case.findings] == ["position", "statement_position"]
    environment = {"OMS_DATABASE_URL": str(traded.database)}
    shell = Shell(traded.database.parent, environment)
    await shell.oms(
        "adjust", case.break_id, "--cause", "transfer", "--reason", "from elsewhere", expect=0
    )
    await traded.until(lambda: not traded.view.open_breaks())
    assert (await traded.reconcile()).verdict == "clean"
    assert (await checked(traded)).verdict == "clean"
    await traded.bought(1, MSFT)


async def write(world: World, check: Checked) -> None:
    events: list[Event] = await events_of(world.oms.reader, check)
    pendings = [Pending(event, Context(actor="person:test")) for event in events]
    append_foreign(world.oms.settings.database_url, pendings, clock=SystemClock())


async def test_the_verb_prints_what_differs_and_tells_cron(
    traded: World, simulator: Simulator
) -> None:
    path = await written(traded, with_text('ibCommission="-1"', 'ibCommission="-1.75"'))
    environment = {"OMS_DATABASE_URL": str(traded.database)}
    shell = Shell(traded.database.parent, environment)
    said = await shell.oms("statement", "check", str(path), "--json", expect=3)
    answer = said.json
    assert {f["class"] for f in answer["findings"]} == {"commission_different", "cash_drift"}
    await traded.until(lambda: len(traded.view.open_breaks()) == 2)
    other = await written(traded, lambda xml: xml.replace(ACCOUNT, "U999"))
    refused = await shell.oms("statement", "check", str(other), expect=2)
    assert "the statement is of account U999" in refused.err
