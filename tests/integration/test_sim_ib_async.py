"""An unmodified ib_async trades against the simulator over a socket."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from ib_async import IB, Contract, ExecutionFilter, LimitOrder, MarketOrder, Stock, Trade

from oms.sim.gateway.gateway import Gateway
from oms.sim.script.commands import Commands
from oms.sim.settings import Settings
from tests import programs

DEADLINE_SECONDS = 60


async def test_a_market_order_fills_with_execution_and_commission(desk: Desk) -> None:
    trade = desk.place(MarketOrder("BUY", 100, tif="DAY", orderRef="ref-1"))
    await desk.until(lambda: bool(trade.fills) and trade.fills[0].commissionReport.execId != "")
    fill = trade.fills[0]
    (booked,) = desk.books()["executions"]
    assert trade.orderStatus.status == "Filled"
    assert (fill.execution.execId, fill.execution.orderRef) == (booked["exec_id"], "ref-1")
    assert fill.commissionReport.commission == 1.0
    assert desk.ib.positions()[0].position == 100


async def test_a_resting_order_is_modified_and_cancelled(desk: Desk) -> None:
    trade = desk.place(LimitOrder("BUY", 10, 100, tif="GTC"))
    await desk.until(lambda: trade.orderStatus.status == "Submitted")
    trade.order.lmtPrice = 101
    desk.place(trade.order)
    await desk.until(lambda: desk.books()["orders"][0]["limit_price"] == "101")
    desk.ib.cancelOrder(trade.order)
    await desk.until(lambda: trade.orderStatus.status == "Cancelled")
    assert [row["received"] for row in desk.books()["placements"]] == [1]
    assert [row["received"] for row in desk.books()["modifications"]] == [1]


async def test_a_bracket_works_its_children_after_the_parent_and_cancels_the_sibling(
    desk: Desk,
) -> None:
    bracket = desk.ib.bracketOrder("BUY", 10, 100, 250, 90)
    parent, profit, stop = [desk.place(order) for order in bracket]
    await desk.until(lambda: stop.orderStatus.whyHeld == "child,trigger")
    assert profit.orderStatus.whyHeld == "child"
    desk.control("quote", symbol="AAPL", bid="99", ask="99.5")
    await desk.until(lambda: stop.orderStatus.whyHeld == "trigger")
    assert parent.orderStatus.status == "Filled"
    assert profit.orderStatus.status == "Submitted"
    desk.control("quote", symbol="AAPL", bid="89", ask="89.5")
    await desk.until(lambda: profit.orderStatus.status == "Cancelled")
    assert stop.orderStatus.status == "Filled"


async def test_a_fill_while_away_is_answered_after_the_reconnect(desk: Desk) -> None:
    desk.place(LimitOrder("BUY", 10, 100, tif="GTC", orderRef="away"))
    await desk.until(lambda: bool(desk.books()["orders"]))
    desk.ib.disconnect()
    desk.control("fill", order_ref="away", price="99.5")
    await desk.connect()
    fills = await desk.ib.reqExecutionsAsync(ExecutionFilter())
    assert [(one.execution.orderRef, one.execution.price) for one in fills] == [("away", 99.5)]


async def test_a_second_client_with_the_same_id_is_refused(desk: Desk) -> None:
    errors: list[int] = []
    other = IB()
    other.errorEvent.connect(lambda _id, code, *_: errors.append(code))
    with pytest.raises(TimeoutError):
        await other.connectAsync("127.0.0.1", desk.port, clientId=desk.client_id, timeout=0.2)
    assert errors == [326]


@pytest.mark.parametrize(
    ("contract", "order", "code", "status"),
    [
        (Stock("AAPL", "SMART", "USD"), MarketOrder("BUY", 10**9), 201, "Inactive"),
        (Stock("AAPL", "SMART", "USD"), LimitOrder("BUY", 1, 10.001), 110, None),
        (Stock("NOSUCH", "SMART", "USD"), LimitOrder("BUY", 1, 10), 200, None),
    ],
)
async def test_an_order_is_refused_with_the_code_of_ib(
    desk: Desk, contract: Contract, order: Any, code: int, status: str | None
) -> None:
    errors: list[int] = []
    desk.ib.errorEvent.connect(lambda _id, code, *_: errors.append(code))
    trade = desk.ib.placeOrder(contract, order)
    await desk.until(lambda: code in errors)
    if status is not None:
        await desk.until(lambda: trade.orderStatus.status == status)
    assert desk.books()["executions"] == []


@pytest.mark.slow
async def test_the_program_keeps_its_books_over_a_kill(tmp_path: Path) -> None:
    books = tmp_path / "gateway.db"
    program = await Program.start(books)
    ib = IB()
    await ib.connectAsync("127.0.0.1", program.port, clientId=3, raiseSyncErrors=True)
    ib.placeOrder(Stock("AAPL", "SMART", "USD"), MarketOrder("BUY", 7, tif="DAY", orderRef="k"))
    await until(ib, lambda: bool(ib.fills()))
    program.child.send_signal(signal.SIGKILL)
    await program.child.wait()
    ib.disconnect()
    program = await Program.start(books)
    answer = await program.control({"do": "books"})
    program.child.terminate()
    assert await program.child.wait() == 0
    assert [(row["order_ref"], row["quantity"]) for row in answer["executions"]] == [("k", "7")]
    assert [row["quantity"] for row in answer["positions"]] == ["7"]
    assert [(row["order_ref"], row["status"]) for row in answer["orders"]] == [("k", "Filled")]


# -- the world of these tests -----------------------------------------------------------------


async def until(ib: IB, condition: Callable[[], bool]) -> None:
    """Wait for packets of the gateway until the condition holds, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await ib.updateEvent


class Desk:
    """A gateway in this process and one ib_async client on its socket."""

    client_id = 7

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port
        self.commands = Commands(gateway)
        self.ib = IB()

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(self.ib, condition)

    async def connect(self) -> None:
        await self.ib.connectAsync(
            "127.0.0.1", self.port, clientId=self.client_id, raiseSyncErrors=True
        )

    def place(self, order: Any) -> Trade:
        return self.ib.placeOrder(Stock("AAPL", "SMART", "USD"), order)

    def control(self, verb: str, **fields: Any) -> dict[str, Any]:
        answer = self.commands.do({"do": verb, **fields})
        assert answer["ok"], answer
        return answer

    def books(self) -> dict[str, Any]:
        return self.control("books")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    gateway = Gateway(Settings(port=0, books=tmp_path / "gateway.db"))
    desk = Desk(gateway, await gateway.start())
    await desk.connect()
    yield desk
    desk.ib.disconnect()
    await gateway.stop()


class Program:
    """`python -m oms.sim serve` as a child."""

    def __init__(self, child: programs.Program, ready: dict[str, Any]) -> None:
        self.child = child
        self.port: int = ready["port"]
        self.control_port: int = ready["control_port"]

    @classmethod
    async def start(cls, books: Path) -> Program:
        words = ("serve", "--port", "0", "--control-port", "0", "--books", str(books))
        child = await programs.start("oms.sim", *words, stderr=asyncio.subprocess.DEVNULL)
        line = await asyncio.wait_for(child.stdout.readline(), 60)
        return cls(child, json.loads(line))

    async def control(self, command: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control_port)
        writer.write(json.dumps(command).encode() + b"\n")
        answer = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return dict(answer)
