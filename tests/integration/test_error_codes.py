"""The errors that everybody meets: what the caller, the log and the operator see of each.

502 nothing listens, 326 client id in use, 1100 IB is away, 103 110 200 201 an order is refused, 100
too many messages, 162 no market data, 321 a question is refused, and silence.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ib_async import IB

import oms
from oms.core.events import (
    ConnectFailed,
    GapOpened,
    NoticeReceived,
    OrderDenied,
    OrderIntended,
    OrderMessageSent,
    QueryAnswered,
    QuoteAnswered,
)
from oms.core.fold.records import OrderState
from oms.errors import ContractUnknown, IBConnectionError, IBOrderRejectError, RequestTimedOut
from tests.shell import Shell, closed_port
from tests.world import AAPL, CLIENT_ID, LOW, World, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(
        tmp_path,
        {"OMS_DATABASE_URL": str(world.database), "OMS_PORT": str(world.simulator.port)},
    )


#: Codes that end a new order, with IB's words.
REFUSALS = {
    103: "Duplicate order id",
    110: "The price does not conform to the minimum price variation",
    200: "No security definition has been found",
    201: "Order rejected - reason: no margin",
}


async def test_an_order_that_ib_refuses_carries_code_and_words_everywhere(
    world: World, shell: Shell
) -> None:
    manager = await world.start()
    for quantity, (code, text) in enumerate(REFUSALS.items(), 1):
        await _refuse_orders(world, code, text)
        ticket = await manager.submit(
            AAPL, oms.Limit("BUY", quantity, LOW), order_id=f"refused-{code}"
        )
        with pytest.raises(IBOrderRejectError, match=re.escape(text)) as refused:
            await ticket.working()
        assert (refused.value.code, ticket.state) == (code, OrderState.REJECTED)
    notices = {n.code: n.text for n in await world.log(NoticeReceived)}
    assert {code: notices[code] for code in REFUSALS} == REFUSALS
    shown = (await shell.oms("orders", "--all", "--json")).json["orders"]
    found = {order["order_id"]: (order["state"], order["code"], order["text"]) for order in shown}
    assert found == {f"refused-{code}": ("REJECTED", code, text) for code, text in REFUSALS.items()}


async def test_too_many_messages_leave_the_outcome_open_until_ib_was_asked(
    world: World, shell: Shell
) -> None:
    manager = await world.start(notice_settle_seconds=0.1, acknowledgement_seconds_max=0.5)
    await _refuse_orders(world, 100, "Max rate of messages per second has been exceeded")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    order = await ticket.resolved(10)
    # IB answered it, so it was received; and IB was asked, and has it nowhere.
    assert (order.state, order.code) == (OrderState.REJECTED, 100)
    assert 100 in [notice.code for notice in await world.log(NoticeReceived)]
    assert await world.received(ticket.order_id) == 0
    story = await shell.oms("order", ticket.order_id[:8])
    assert "Max rate of messages" in story.out
    await world.agree()


async def test_a_contract_that_ib_does_not_know_is_named_to_all_three(
    world: World, shell: Shell
) -> None:
    manager = await world.start()
    with pytest.raises(ContractUnknown, match="NOSUCH"):
        await manager.submit(oms.Stock("NOSUCH"), oms.Market("BUY", 1))
    said = await shell.oms("buy", "1", "NOSUCH", expect=1)
    assert "denied by the rule 'contract': IB knows no contract like NOSUCH" in said.err
    (denied,) = await world.log(OrderDenied)
    assert (denied.rule, denied.value) == ("contract", "ContractUnknown")
    assert await world.log(OrderIntended) == []


async def test_market_data_that_ib_does_not_give_says_why(world: World, shell: Shell) -> None:
    await world.start()
    text = "Historical Market Data Service error message:No market data permissions"
    await world.simulator.do("silence", request="reqMktData", mode="refuse", code=162, text=text)
    contract = await world.oms.manager.qualify(AAPL)
    with pytest.raises(oms.OmsError, match="No market data permissions"):
        await world.oms.gateway.markets.price(contract)
    said = await shell.oms("quote", "AAPL", expect=1)
    assert "No market data permissions" in said.err
    (answer,) = await world.log(QuoteAnswered)
    assert "162" in answer.refusal


async def test_a_question_that_ib_refuses_is_no_answer(world: World, shell: Shell) -> None:
    await world.start()
    await world.simulator.do(
        "silence", request="reqPositions", mode="refuse", code=321, text="Error validating request"
    )
    report = await world.reconcile()
    assert report.verdict == "unknown"
    asked = [a.question for a in await world.log(QueryAnswered) if a.question.kind == "positions"]
    assert (asked[-1].outcome, asked[-1].code) == ("refused", 321)
    shown = await shell.oms("report", "show", "last")
    assert "321" in shown.out
    assert "Error validating request" in shown.out


async def test_a_client_id_in_use_is_said_to_caller_log_and_operator(
    world: World, shell: Shell
) -> None:
    other = IB()
    await other.connectAsync("127.0.0.1", world.simulator.port, CLIENT_ID)
    settings = settings_for(world.simulator.port, world.database)
    with pytest.raises(IBConnectionError, match="answered every question within"):
        async with oms.connect(settings, wait_seconds=0.5):
            pass
    other.disconnect()
    await world.start()
    failed = await world.log(ConnectFailed)
    assert "client id 7 is in use" in failed[0].reason
    said = await shell.oms("log", "--type", "ConnectFailed", "--limit", "1")
    assert "client id 7 is in use" in said.out


async def test_a_gateway_that_does_not_listen_is_exit_status_5(world: World, shell: Shell) -> None:
    with closed_port() as port:
        settings = settings_for(port, world.database)
        with pytest.raises(IBConnectionError, match=f"127.0.0.1:{port}") as failed:
            async with oms.connect(settings, wait_seconds=0.5):
                pass
        assert failed.value.exit_code == 5
        await world.start()
        assert str(port) in (await world.log(ConnectFailed))[0].reason
        said = await shell.oms("check", "--json", "--config", str(_config(shell, port)), expect=5)
        (gateway,) = (one for one in said.json["checks"] if one["name"] == "gateway")
        assert (gateway["ok"], str(port) in gateway["text"]) == (False, True)


async def test_while_ib_is_away_orders_are_denied_and_everybody_knows_why(
    world: World, shell: Shell
) -> None:
    manager = await world.start()
    await world.simulator.do("outage")
    await world.until(lambda: world.view.system.gap_sequence)
    denied = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(denied) == "connected"
    (gap,) = await world.log(GapOpened)
    assert "1100" in gap.cause
    shown = (await shell.oms("status", "--json")).json["gap"]
    assert (shown["open"], shown["cause"]) == (True, gap.cause)


async def test_silence_about_an_order_is_an_unknown_outcome(world: World, shell: Shell) -> None:
    manager = await world.start()
    await manager.qualify(AAPL)
    await world.simulator.do("hold", message="placeOrder", what="processing")
    ticket = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    with pytest.raises(RequestTimedOut, match="is still IN_FLIGHT") as late:
        await ticket.acknowledged(0.1)
    assert late.value.exit_code == 6
    await world.until_logged(OrderMessageSent)
    (shown,) = (await shell.oms("orders", "--json")).json["orders"]
    assert shown["state"] == "IN_FLIGHT"
    await world.simulator.do("release")
    assert (await ticket.acknowledged()).state is OrderState.WORKING
    await world.agree()


async def _refuse_orders(world: World, code: int, text: str) -> None:
    await world.oms.manager.qualify(AAPL)
    fault = {"direction": "in", "message": "placeOrder", "action": "refuse", "times": 1}
    await world.simulator.do("fault", **fault, code=code, text=text)


def _config(shell: Shell, port: int) -> Path:
    """Point a shell at another gateway; its environment outranks a file, so that goes first."""
    del shell.settings["OMS_PORT"]
    path = shell.folder / "elsewhere.toml"
    path.write_text(f"port = {port}\n")
    return path
