"""Halting: once a halt is confirmed nothing leaves, whoever asked and whatever waited."""

from __future__ import annotations

import asyncio
import os
import socket
from decimal import Decimal
from pathlib import Path

import pytest

import oms
from oms.clock import SystemClock
from oms.core.events import HaltInForce, ModifyDenied, TradingResumed
from oms.core.fold.records import OrderState
from oms.errors import InvalidRequest
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from tests.shell import Shell
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow


@pytest.fixture
def shell(world: World, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"OMS_DATABASE_URL": str(world.database)})


async def test_orders_that_wait_for_their_turn_are_called_back_by_a_halt(world: World) -> None:
    manager = await world.start()
    first = await world.resting()
    world.let_leave(per_second=1)
    waiting = [await manager.submit(AAPL, oms.Limit("BUY", n, LOW)) for n in (2, 3)]
    await manager.halt("lunch")
    for ticket in waiting:
        await world.rest(ticket, OrderState.NOT_SENT)
        assert ticket.order.text == "trading is halted: lunch"
    await world.until_logged(HaltInForce)
    (in_force,) = await world.log(HaltInForce)
    assert in_force.called_back == tuple(ticket.order_id for ticket in waiting)
    await first.cancel()
    assert (await first.done()).state is OrderState.CANCELLED
    assert [await world.received(ticket.order_id) for ticket in waiting] == [0, 0]
    await world.agree()


async def test_an_entry_whose_exits_were_called_back_is_cancelled(world: World) -> None:
    manager = await world.start()
    await world.resting()
    world.let_leave(per_second=1)
    entry = oms.Limit("BUY", 10, LOW)
    exits = {"take_profit": Decimal(1000), "stop_loss": Decimal(5)}
    legs = await manager.submit_bracket(AAPL, entry, order_id="b", **exits)
    await world.until(lambda: legs[0].order.sent)
    await manager.halt("lunch")
    ended = [await ticket.done() for ticket in legs]
    assert [order.state for order in ended] == [
        OrderState.CANCELLED,
        OrderState.NOT_SENT,
        OrderState.NOT_SENT,
    ]
    await world.agree()


async def test_a_halted_order_is_not_changed_but_cancelled(world: World) -> None:
    manager = await world.start()
    ticket = await world.resting()
    await manager.halt("lunch")
    await ticket.modify(limit="11")
    (denied,) = await world.log(ModifyDenied)
    assert denied.text == "trading is halted: lunch"
    assert ticket.order.terms.limit_price == oms.Limit("BUY", 1, LOW).limit_price
    await ticket.cancel()
    assert (await ticket.done()).state is OrderState.CANCELLED


async def test_a_change_that_a_halt_overtook_on_the_disk_waits_for_nothing(world: World) -> None:
    """Method: many changes and the halt in one turn, so that most share a commit with the halt."""
    manager = await world.start()
    tickets = [await world.resting() for _ in range(8)]
    changes = [ticket.modify(limit="11") for ticket in tickets]
    await asyncio.gather(*changes, manager.halt("lunch"))
    await world.until(lambda: not any(ticket.order.modify_pending for ticket in tickets))
    assert await world.log(ModifyDenied)
    await world.agree()


async def test_a_halt_needs_a_reason_and_ends_with_resume(world: World) -> None:
    manager = await world.start()
    with pytest.raises(InvalidRequest, match="needs a reason"):
        await manager.halt(" ")
    await manager.halt("lunch")
    denied = await manager.submit(AAPL, oms.Limit("BUY", 1, LOW))
    assert await world.rule_against(denied) == "halt"
    await manager.resume("back")
    assert (await world.resting()).state is OrderState.WORKING
    assert world.state_of(denied.order_id) is OrderState.DENIED


async def test_a_halt_without_a_daemon_counts_at_the_next_start(world: World, shell: Shell) -> None:
    said = await shell.oms("halt", "strategy misbehaves")
    assert "no daemon runs, the next one starts halted" in said.out
    seen = (await shell.oms("status", "--json")).json["halt"]
    assert (seen["halted"], seen["reason"]) == (True, "strategy misbehaves")
    manager = await world.start()
    denied = await manager.submit(AAPL, oms.Market("BUY", 1))
    assert denied.order.text == "trading is halted: strategy misbehaves"
    assert (await world.books())["placements"] == []


async def test_halt_at_a_shell_returns_when_the_daemon_has_confirmed_it(
    world: World, shell: Shell
) -> None:
    manager = await world.start()
    said = (await shell.oms("halt", "lunch", "--json")).json
    assert (said["in_force"], said["daemon"], said["called_back"]) == (True, True, [])
    assert [e.halt_sequence for e in await world.log(HaltInForce)] == [said["sequence"]]
    denied = await manager.submit(AAPL, oms.Market("BUY", 1))
    assert denied.state is OrderState.DENIED
    refused = await shell.oms("buy", "1", "AAPL", expect=1)
    assert "denied by the rule 'halt': trading is halted: lunch" in refused.err
    again = await shell.oms("halt", "longer lunch")
    assert "was halted already by person:" in again.err
    assert world.view.system.halt_reason == "longer lunch"


async def test_resume_at_a_shell_asks_first_and_says_when_there_is_nothing_to_do(
    world: World, shell: Shell
) -> None:
    await world.start()
    assert (await shell.oms("resume", "--yes")).out == "trading is not halted\n"
    await shell.oms("halt", "lunch")
    asked = await shell.oms("resume", expect=2)
    assert "lunch; this would allow new orders" in asked.err
    assert "repeat it with --yes" in asked.err
    assert world.view.system.halted
    await shell.oms("resume", "back", "--yes")
    await world.until(lambda: not world.view.system.halted)
    assert [event.reason for event in await world.log(TradingResumed)] == ["back"]


async def test_a_daemon_that_does_not_confirm_a_halt_leaves_the_outcome_open(
    world: World, shell: Shell
) -> None:
    lease = LeaseRequest("daemon", "a daemon that hangs", socket.gethostname(), os.getpid(), 30)
    url = f"sqlite:///{world.database}"
    hanging = await EventLog.open(url, clock=SystemClock(), lease=lease)
    said = await shell.oms("halt", "lunch", "--wait", "0.2", expect=6)
    await hanging.close()
    assert "has not confirmed the halt after 0.2 s" in said.err
    assert (await shell.oms("status", "--json")).json["halt"]["halted"]
