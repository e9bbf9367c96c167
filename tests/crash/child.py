"""The process that is killed: an OMS and a small trader, which dies at a chosen line of its log.

    python -m tests.crash.child '{"port": ..., "database": ..., "script": "tour", "kill": [...]}'

Or that is stopped there, for its parent to let go on (`pauses`). Either rides on structlog: a
processor counts an action and sends the signal to the process before the line is written. The
program itself has no hook. What an order's caller was told is printed on standard output, one JSON
object a line, so that the parent can hold the books to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog

import oms
from oms import telemetry
from oms.clock import SystemClock
from oms.core.events import CancelRequested, CaseRequested, Context, OrderRequested, Pending
from oms.core.fold.records import ENDED
from oms.errors import OmsError, RequestTimedOut
from oms.service.daemon import open_oms
from oms.service.subsystem import Oms
from oms.service.ticket import Ticket
from oms.store.log import append_foreign
from tests.crash.trader import trade
from tests.simulator import control
from tests.world import AAPL, LOW, MSFT, settings_for

log = telemetry.get_logger("tests.crash")

DEADLINE_SECONDS: Final = 60.0
#: So long a trader waits for a line that the weather may keep down.
WEATHER_SECONDS: Final = 5.0
#: Orders of which the last ones wait for their turn at the pace of the scripts about that.
MORE_THAN_LEAVE: Final = 12


@dataclass(frozen=True)
class Task:
    """What the parent wants of this life."""

    port: int
    control_port: int
    database: str
    script: str
    #: The action and its n-th occurrence at which the process dies; "*" counts every line.
    kill_action: str = ""
    kill_occurrence: int = 1
    #: SIGKILL, or SIGSTOP, of which the parent is told.
    kill_signal: int = signal.SIGKILL
    seed: str = ""
    settings: dict[str, Any] | None = None


def arm(action: str, occurrence: int, number: int = signal.SIGKILL) -> None:
    """Make the process kill or stop itself at the n-th time that an action is logged."""
    telemetry.configure("DEBUG", "json", sys.stderr)
    counts: Counter[str] = Counter()

    def kill(_: object, __: str, fields: Any) -> Any:
        name = fields["event"]
        counts.update((name, "*"))
        if action in (name, "*") and counts[action] == occurrence:
            if number != signal.SIGKILL:
                tell(paused=True)
            os.kill(os.getpid(), number)
        return fields

    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[kill, *processors])


def tell(**fields: object) -> None:
    """Tell the parent what a caller was told."""
    print(json.dumps(fields), flush=True)


# ── the tour: once through everything that changes something ─────────────────────────────────────


async def tour(running: Oms, task: Task) -> None:
    """Order, change, cancel, fill, deny, request, lose the line, and compare."""
    await running.ready(DEADLINE_SECONDS)
    limit = await _submit(running, "t-limit", oms.Limit("BUY", 10, LOW))
    await limit.acknowledged()
    await limit.modify(limit="11")
    await running.view.until(lambda: not limit.order.modify_pending)
    await limit.cancel()
    await limit.done()
    market = await _submit(running, "t-market", oms.Market("BUY", 10))
    await market.done()
    entry = oms.Limit("BUY", 5, LOW)
    prices = {"take_profit": Decimal(1000), "stop_loss": Decimal(5)}
    legs = await running.manager.submit_bracket(MSFT, entry, order_id="t-bracket", **prices)
    await legs[2].acknowledged()
    await _submit(running, "t-denied", oms.Limit("BUY", 1, "10.001"))
    await _give_up(running)
    await _request(running, task)
    await _lose(running, task)
    await running.reconciler.run("tour")


async def _submit(running: Oms, order_id: str, terms: oms.Terms) -> Ticket:
    ticket = await running.manager.submit(AAPL, terms, order_id=order_id)
    tell(order_id=order_id, state=ticket.state.value)
    return ticket


async def _give_up(running: Oms) -> None:
    terms = oms.Limit("BUY", 1, LOW)
    submission = asyncio.ensure_future(running.manager.submit(AAPL, terms, order_id="t-given-up"))
    while not running.log.waiting:  # noqa: ASYNC110 - nothing tells of a hand-over
        await asyncio.sleep(0)
    submission.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await submission
    await running.view.until(lambda: "t-given-up" in running.view.orders)


async def _request(running: Oms, task: Task) -> None:
    """Ask as a shell does: for an order, and for the end of one that nobody knows."""
    wanted = OrderRequested(
        order_id="t-request", account="", contract=AAPL, terms=oms.Market("BUY", 1)
    )
    unknown = CancelRequested(order_id="t-nobody")
    for event in (wanted, unknown):
        pending = Pending(event, Context(actor="person:test"))
        url = running.settings.database_url
        await asyncio.to_thread(append_foreign, url, [pending], clock=SystemClock())
    orders = running.view.orders
    await running.view.until(lambda: "t-request" in orders and orders["t-request"].filled)


async def _lose(running: Oms, task: Task) -> None:
    """Send an order that never arrives, cut the line, and wait until nothing is in doubt."""
    await control(task.control_port, "drop_next", message="placeOrder", direction="in")
    lost = await _submit(running, "t-lost", oms.Limit("BUY", 7, LOW))
    await running.view.until(lambda: lost.order.sent)
    epoch = running.view.system.session_epoch
    await control(task.control_port, "cut")
    await running.view.until(lambda: running.view.system.session_epoch > epoch)
    await running.view.until(lambda: lost.state in ENDED)
    await running.ready(DEADLINE_SECONDS)


# ── single matters ───────────────────────────────────────────────────────────────────────────────


async def slow_pace(running: Oms, task: Task) -> None:
    """Lose the line while orders wait for their turn to leave."""
    await running.ready(DEADLINE_SECONDS)
    for number in range(MORE_THAN_LEAVE):
        await _submit(running, f"p-{number}", oms.Limit("BUY", 1, LOW))
    await control(task.control_port, "cut")
    last = f"p-{MORE_THAN_LEAVE - 1}"
    await running.view.until(lambda: running.view.orders[last].state in ENDED)


async def halted(running: Oms, task: Task) -> None:
    """Halt trading while orders wait for their turn to leave, and allow it again."""
    await running.ready(DEADLINE_SECONDS)
    for number in range(MORE_THAN_LEAVE):
        await _submit(running, f"h-{number}", oms.Limit("BUY", 1, LOW))
    await running.manager.halt("lunch")
    last = f"h-{MORE_THAN_LEAVE - 1}"
    await running.view.until(lambda: running.view.orders[last].state in ENDED)
    await running.manager.resume("back")


async def groups(running: Oms, task: Task) -> None:
    """Send every kind of group, ask what an order costs, and leave one without an answer."""
    await running.ready(DEADLINE_SECONDS)
    manager = running.manager
    aapl = await manager.qualify(AAPL)
    low = oms.Limit("BUY", 3, LOW)
    await manager.what_if(aapl, low)
    stop = oms.TrailingStop("SELL", 3, amount="5")
    tickets = await manager.submit_many(
        [oms.NewOrder(aapl, terms, order_id=f"g-{n}") for n, terms in enumerate((low, stop))]
    )
    tickets += await manager.submit_oca([(aapl, low), (aapl, low)], order_id="g-oca")
    tickets += [await manager.submit(aapl, low, order_id="g-child", parent="g-0")]
    for ticket in tickets:
        await ticket.acknowledged()
        tell(order_id=ticket.order_id, state=ticket.state.value)
    await control(task.control_port, "drop_next", message="placeOrder", direction="in")
    mute = await manager.submit(aapl, low, order_id="g-mute")
    await running.view.until(lambda: bool(mute.order.doubt))
    await manager.resolve("g-mute", "not_received", "TWS does not show it")


async def differences(running: Oms, task: Task) -> None:
    """Meet a split that a policy books, and an order by hand that a person explains and ends."""
    await running.ready(DEADLINE_SECONDS)
    market = await _submit(running, "d-market", oms.Market("BUY", 10))
    await market.done()
    await control(task.control_port, "split", symbol="AAPL", ratio="4")
    await running.reconciler.run("split")
    await running.view.until(lambda: any(a.live for a in running.view.alarms.values()))
    case = next(c for c in running.view.open_breaks() if c.finding.break_class == "unknown_order")
    said = CaseRequested(
        request_id="explained", break_id=case.break_id, action="explain", text="a hedge"
    )
    pending = Pending(said, Context(actor="person:test"))
    url = running.settings.database_url
    await asyncio.to_thread(append_foreign, url, [pending], clock=SystemClock())
    await running.view.until(lambda: bool(running.view.breaks[case.break_id].explanation))
    await control(task.control_port, "cancel", order="1")
    await running.reconciler.run("cancelled")
    await running.view.until(lambda: not any(a.live for a in running.view.alarms.values()))


async def one_order(running: Oms, task: Task) -> None:
    """Send one order and wait for its answer, which need not come."""
    await running.ready(DEADLINE_SECONDS)
    ticket = await _submit(running, "one", oms.Limit("BUY", 10, LOW))
    await running.view.until(lambda: ticket.order.sent)
    tell(sent="one")
    with contextlib.suppress(RequestTimedOut):
        await ticket.acknowledged(60)


async def one_cancel_request(running: Oms, task: Task) -> None:
    """Ask, as a shell does, for the end of an order that rests."""
    await running.ready(DEADLINE_SECONDS)
    ticket = await _submit(running, "one", oms.Limit("BUY", 10, LOW))
    await ticket.acknowledged()
    pending = Pending(CancelRequested(order_id="one"), Context(actor="person:test"))
    url = running.settings.database_url
    await asyncio.to_thread(append_foreign, url, [pending], clock=SystemClock())
    await ticket.done()


async def basket(running: Oms, task: Task) -> None:
    """Send more orders than leave at once, and wait until each was answered or has ended."""
    await running.ready(DEADLINE_SECONDS)
    aapl = await running.manager.qualify(AAPL)
    terms = oms.Limit("BUY", 1, LOW)
    orders = [oms.NewOrder(aapl, terms, order_id=f"b-{n}") for n in range(MORE_THAN_LEAVE)]
    tickets = await running.manager.submit_many(orders)
    log.info("order_waits")
    await running.view.until(lambda: any(t.order.acknowledged or t.state in ENDED for t in tickets))
    log.info("order_answered")
    await running.view.until(lambda: all(t.order.acknowledged or t.state in ENDED for t in tickets))
    for ticket in tickets:
        tell(order_id=ticket.order_id, state=ticket.state.value)


async def rest(running: Oms, task: Task) -> None:
    """Start, compare, and stop."""
    await running.ready(DEADLINE_SECONDS)


async def random_trade(running: Oms, task: Task) -> None:
    """Trade at random; see `trader`."""
    with contextlib.suppress(TimeoutError):  # the weather may keep the line down
        await running.ready(WEATHER_SECONDS)
    await trade(running, task.control_port, task.seed, tell)


SCRIPTS: Final[dict[str, Callable[[Oms, Task], Awaitable[None]]]] = {
    "tour": tour,
    "slow_pace": slow_pace,
    "halted": halted,
    "groups": groups,
    "differences": differences,
    "one_order": one_order,
    "one_cancel_request": one_cancel_request,
    "basket": basket,
    "rest": rest,
    "random": random_trade,
}


async def live(task: Task) -> None:
    """Live one life, to its end or to its kill point."""
    settings = settings_for(task.port, Path(task.database), **(task.settings or {}))
    async with open_oms(settings) as running:
        script = asyncio.ensure_future(SCRIPTS[task.script](running, task))
        await asyncio.wait({script, running.failure}, return_when=asyncio.FIRST_COMPLETED)
        if running.failure.done():
            script.cancel()
            raise running.failure.result()
        await script


def main() -> int:
    """Live one life; the exit code is 0 where nothing killed it."""
    task = Task(**json.loads(sys.argv[1]))
    arm(task.kill_action, task.kill_occurrence, task.kill_signal)
    try:
        asyncio.run(live(task))
    except OmsError as error:
        tell(error=type(error).__name__, message=error.message)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
