"""The shell's newer verbs against the running service: every kind of order, previews, prices, all
cancelled at once, doubts.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import oms
from oms.core.events import CancelIntended, GlobalCancelIntended, OrderIntended
from oms.core.fold.records import OrderState
from tests.shell import Shell
from tests.world import AAPL, ACCOUNT, LOW, World

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})


async def test_contracts_and_order_types_of_every_class_leave_from_the_shell(
    world: World, shell: Shell
) -> None:
    await world.start()
    await asyncio.gather(
        shell.oms("buy", "20000", "EUR.USD", "--limit", "0.9", "--order-id", "forex"),
        shell.oms("sell", "5", "AAPL", "--trail-percent", "3", "--tif", "GTC", "--order-id", "t"),
        shell.oms("buy", "5", "AAPL", "--limit", LOW, "--at", "close", "--order-id", "loc"),
        shell.oms(
            *("buy", "9", "AAPL", "--limit", LOW, "--display", "3", "--outside-rth"),
            *("--good-till", "2099-01-05T20:00:00Z", "--order-id", "gtd"),
        ),
    )
    orders = {i: (await world.stored(i)) for i in ("forex", "t", "loc", "gtd")}
    kinds = {i: (o.contract.sec_type, o.terms.order_type, o.terms.tif) for i, o in orders.items()}
    assert kinds == {
        "forex": ("CASH", "LMT", "DAY"),
        "t": ("STK", "TRAIL", "GTC"),
        "loc": ("STK", "LOC", "DAY"),
        "gtd": ("STK", "LMT", "GTD"),
    }
    await world.agree()


async def test_dry_run_says_what_each_rule_makes_of_every_leg_and_writes_nothing(
    world: World, shell: Shell
) -> None:
    await world.start()
    await world.resting(7)
    before = (await world.oms.reader.head()).sequence
    limits = {"OMS_ORDER_QUANTITY_MAX": "5", "OMS_ORDER_DUPLICATE_SECONDS": "60"}
    strict = Shell(shell.folder, {**shell.settings, **limits})
    bracket = ("bracket", "BUY", "7", "AAPL", "--limit", LOW, "--dry-run", "--json")
    denied = await strict.oms(*bracket, "--take-profit", "12", "--stop-loss", "9", expect=1)
    found = {(c["order_id"][32:], c["rule"]): c for c in denied.json["checks"]}
    assert found["", "quantity"]["outcome"] == "denied"
    assert (found["-sl", "quantity"]["value"], found["-sl", "quantity"]["limit"]) == ("7", "5")
    assert found["", "duplicate"]["outcome"] == "denied"
    assert found["-tp", "duplicate"]["outcome"] == "passed"
    assert found["", "tick"]["outcome"] == "unknown"
    assert found["", "collar"]["outcome"] == "off"
    passed = await shell.oms("buy", "5", "AAPL", "--dry-run")
    assert "without a limit: contracts, sec_types, quantity" in passed.err
    assert (await world.oms.reader.head()).sequence == before
    assert len(await world.log(OrderIntended)) == 1


async def test_a_closing_order_leaves_through_an_open_break_from_the_shell(
    world: World, shell: Shell
) -> None:
    await world.start()
    await world.bought(10)
    await world.simulator.do("position_adjust", symbol="AAPL", quantity=5)
    await world.reconcile()
    out = ("sell", "15", "AAPL", "--closing", "--order-id", "out")
    denied = await shell.oms("sell", "15", "AAPL", expect=1)
    assert "quantity_drift" in denied.err
    sale = ("sell", "16", "AAPL", "--closing", "--dry-run", "--json")
    too_much = await shell.oms(*sale, expect=1)
    (found,) = (one for one in too_much.json["checks"] if one["outcome"] == "denied")
    assert (found["rule"], found["value"], found["limit"]) == ("exposure", "-1", "0")
    await shell.oms(*out, "--dry-run")
    await shell.oms(*out)
    assert (await world.stored("out")).state is OrderState.FILLED
    (*_, intended) = await world.log(OrderIntended)
    assert intended.closing
    assert world.open_cases() == [("quantity_drift", "AAPL")]


async def test_a_dry_run_of_a_change_and_a_what_if_show_what_our_rules_hold_against_it(
    world: World, shell: Shell
) -> None:
    manager = await world.start()
    await world.bought(10)
    ticket = await manager.submit(AAPL, oms.Limit("SELL", 10, "1000"), order_id="out", closing=True)
    await world.rest(ticket)
    change = ("modify", "out", "--dry-run", "--json", "--quantity")
    await shell.oms(*change, "9")
    raised = await shell.oms(*change, "11", expect=1)
    denied = [one for one in raised.json["checks"] if one["outcome"] == "denied"]
    assert [(one["rule"], one["value"]) for one in denied] == [("exposure", "-1")]
    shell.settings["OMS_ORDER_EXPOSURE"] = "warn"
    question = await shell.oms("what-if", "SELL", "5", "AAPL", "--limit", "1000")
    assert "our rule 'exposure' warns: SELL 5 AAPL STK USD could leave -5" in question.err


async def test_quote_what_if_account_and_pnl_say_what_is_known(world: World, shell: Shell) -> None:
    await world.start()
    await world.bought(10)
    quote, what_if, account, pnl = await asyncio.gather(
        shell.oms("quote", "AAPL", "--json"),
        shell.oms("what-if", "BUY", "100", "AAPL", "--limit", LOW, "--json"),
        shell.oms("account", "--json"),
        shell.oms("pnl"),
    )
    assert quote.json["contract"]["symbol"] == "AAPL"
    assert float(quote.json["bid"]) <= float(quote.json["ask"])
    assert what_if.json["commission_currency"] == "USD"
    assert what_if.json["initial_margin"]["change"]
    (found,) = account.json["accounts"]
    assert (found["account"], found["base_currency"]) == (ACCOUNT, "USD")
    assert found["net_liquidation"]["value"]
    assert "AAPL STK USD" in pnl.out
    refused = await shell.oms("what-if", "BUY", "1", "AAPL", "--limit", "10.001", expect=1)
    assert "minimum tick" in refused.err
    assert len(await world.log(OrderIntended)) == 1


async def test_cancel_all_ends_ours_by_intent_and_others_only_when_it_is_said(
    world: World, shell: Shell
) -> None:
    await world.start()
    ours = await world.resting(1)
    await world.simulator.do(
        "manual_order", symbol="AAPL", side="BUY", quantity=4, order_type="LMT", limit_price=LOW
    )
    await world.reconcile()
    shown = await shell.oms("cancel", "--all", "--dry-run", "--json")
    assert [order["order_id"] for order in shown.json["orders"]] == [ours.order_id]
    assert "1 order of other clients or by hand" in shown.err
    await shell.oms("cancel", "--all", "--yes", "--account", ACCOUNT)
    assert ours.state is OrderState.CANCELLED
    live = [o for o in world.view.orders.values() if o.live]
    assert len(live) == 1
    wrong = await shell.oms("cancel", "--all", "--foreign", "--symbol", "AAPL", expect=2)
    assert "takes no selection" in wrong.err
    await shell.oms("cancel", "--all", "--foreign", "--yes", "--reason", "leaving")
    await world.until(lambda: not any(o.live for o in world.view.orders.values()))
    assert [i.order_id for i in await world.log(CancelIntended)] == [ours.order_id]
    assert [i.reason for i in await world.log(GlobalCancelIntended)] == ["leaving"]
    await world.agree()


async def test_a_doubt_is_listed_and_resolved_with_a_reason(world: World, shell: Shell) -> None:
    manager = await world.start(acknowledgement_seconds_max=0.2, doubt_settle_seconds=600)
    for message in ("openOrder", "orderStatus"):
        await world.simulator.do("fault", direction="out", message=message, action="drop")
    ticket = await manager.submit(oms.Stock("AAPL"), oms.Limit("BUY", 10, LOW), order_id="lost")
    await world.rest(ticket, OrderState.IN_DOUBT)
    listed = await shell.oms("doubt", "list", "--json")
    assert [order["order_id"] for order in listed.json["orders"]] == ["lost"]
    verb = ("doubt", "resolve", "lost", "--outcome", "not_received", "--reason", "TWS has none")
    asked = await shell.oms(*verb, expect=2)
    assert "repeat it with --yes" in asked.err
    done = await shell.oms(*verb, "--yes", "--json")
    assert done.json["orders"][0]["state"] == "NOT_SENT"
    again = await shell.oms(*verb, "--yes", expect=2)
    assert "order lost is NOT_SENT, not in doubt" in again.err
