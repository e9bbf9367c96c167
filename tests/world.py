"""The world of the tests that prove the whole service: a simulator as a process of its own, the OMS
against it, and the checker that shares no code with the OMS.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import oms
from oms.clock import Clock, SystemClock
from oms.core.contracts import Contract
from oms.core.events import (
    Context,
    Event,
    Finding,
    OrderDenied,
    Pending,
    QueryAsked,
    ReconciliationCompleted,
)
from oms.core.fold.records import BreakCase, Order, OrderState
from oms.service.daemon import open_oms
from oms.service.lifetime import LossWord
from oms.service.manager import OrderManager
from oms.service.subsystem import Oms
from oms.service.ticket import Ticket
from oms.service.view import View
from oms.settings import Settings
from oms.sim.checker import check, read_file
from oms.store import schema
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from tests.simulator import Simulator

DEADLINE_SECONDS = 60.0
CLIENT_ID = 7
ACCOUNT = "DU1234567"
AAPL = oms.Stock("AAPL")
MSFT = oms.Stock("MSFT")
#: Far below the market, which stands still: it rests until the test does something.
LOW = "10"
E = TypeVar("E", bound=Event)


def settings_for(simulator_port: int, database: Path, **changed: Any) -> Settings:
    """Return settings whose waits are short enough for a test, and in which nothing happens by
    itself that a test did not cause.
    """
    defaults: dict[str, Any] = {
        "port": simulator_port,
        "client_id": CLIENT_ID,
        "database_url": f"sqlite:///{database}",
        "connect_timeout_seconds": 30,
        "reconnect_delays_seconds": (0.1,),
        "reconnect_jitter_fraction": 0,
        "request_timeout_seconds": 5,
        "doubt_settle_seconds": 0,
        "notice_settle_seconds": 3600,
        "position_settle_seconds": 0,
        "reconcile_interval_seconds": 0,
        "account_refresh_seconds": 0,
        "glance_interval_seconds": 0,
        "midnight_lead_seconds": 0,
        "watch_interval_seconds": 300,
        "reset_region": "none",
        "lease_seconds": 2,
        "poll_interval_seconds": 0.005,
    }
    return Settings(**(defaults | changed))


def new_database(path: Path) -> None:
    """Put a log with this version's tables at a path."""
    path.write_bytes(_empty_database())


@functools.cache
def _empty_database() -> bytes:
    """Migrate once: it takes longer than many a test."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "oms.sqlite"
        schema.upgrade(f"sqlite:///{made}")
        return made.read_bytes()


def disagreements(database: Path, books: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what the checker finds wrong, by claim, and what a rebuild finds different."""
    found = {c.name: c.differences for c in check(read_file(database), books) if not c.ok}
    rebuilt = rebuild_check(f"sqlite:///{database}")
    if not rebuilt.equal:
        found["rebuild"] = (str(rebuilt.first_difference),)
    return found


class SetClock(SystemClock):
    """The machine's clocks, whose wall clock a test sets and on which it lets time pass."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.passed + self.set_by)

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


@dataclass
class World:
    """A simulator, a log, and at most one OMS at a time."""

    simulator: Simulator
    database: Path
    running: Oms | None = None
    clock: Clock = field(default_factory=SystemClock)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    # ── the OMS ──────────────────────────────────────────────────────────────────────────────────

    async def start(
        self, *, ready: bool = True, accept_loss: LossWord | None = None, **changed: Any
    ) -> OrderManager:
        """Start the OMS, and wait until orders may leave unless told otherwise."""
        assert self.running is None
        settings = settings_for(self.simulator.port, self.database, **changed)
        opened = open_oms(settings, accept_loss=accept_loss, clock=self.clock)
        self.running = await self._stack.enter_async_context(opened)
        if ready:
            await self.running.ready(DEADLINE_SECONDS)
        return self.running.manager

    def let_leave(self, per_second: int) -> None:
        """Let so many messages a second leave from now on."""
        self.oms.gateway._pace._per_second_max = per_second

    async def stop(self) -> None:
        """Stop the OMS in good order."""
        self.running = None
        await self._stack.aclose()

    @property
    def oms(self) -> Oms:
        """The running OMS."""
        assert self.running is not None
        return self.running

    @property
    def view(self) -> View:
        return self.oms.view

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when the books say so; a deadline is part of it."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self.view.until(lambda: bool(condition()))
        except TimeoutError:
            orders = [(o.order_id[:8], o.state, o.filled) for o in self.view.orders.values()]
            raise AssertionError(f"not within the deadline: {orders}, {self.view.system}") from None

    async def rest(self, ticket: Ticket, *states: OrderState) -> Order:
        """Wait until an order is in one of these states (WORKING)."""
        wanted = states or (OrderState.WORKING,)
        await self.until(lambda: ticket.state in wanted)
        return ticket.order

    async def resting(
        self, quantity: int = 10, price: str = LOW, contract: Contract = AAPL, **more: Any
    ) -> Ticket:
        """Send a limit order that rests, and wait until IB has it."""
        terms = oms.Limit("BUY", quantity, price)
        ticket = await self.oms.manager.submit(contract, terms, **more)
        await self.rest(ticket)
        return ticket

    async def bought(self, quantity: int = 10, contract: Contract = AAPL) -> Ticket:
        """Buy at the market, and wait for execution and commission."""
        ticket = await self.oms.manager.submit(contract, oms.Market("BUY", quantity))
        await self.until(lambda: ticket.state is OrderState.FILLED and ticket.order.commissions)
        return ticket

    async def handed_over(self) -> None:
        """Return when a fact is on its way to the disk and not there yet."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.oms.log.waiting:  # noqa: ASYNC110 - nothing tells of a hand-over
                await asyncio.sleep(0)

    async def again(self, cause: Callable[[], Any]) -> ReconciliationCompleted:
        """Do something that makes the OMS reconcile, and return that report."""
        before = len(await self.log(ReconciliationCompleted))
        await cause()
        await self.until_logged(ReconciliationCompleted, before + 1)
        await self.oms.ready(DEADLINE_SECONDS)
        return (await self.log(ReconciliationCompleted))[before:][-1]

    async def person(self, *events: Event) -> list[int]:
        """Append what a person says at another terminal; return where it stands in the log."""
        pendings = [Pending(event, Context(actor="person:test")) for event in events]
        url = self.oms.settings.database_url
        published: list[int] = []
        unsubscribe = self.oms.log.subscribe(
            lambda committed: published.extend(e.sequence for e in committed.envelopes)
        )
        try:
            receipts = await asyncio.to_thread(append_foreign, url, pendings, clock=self.clock)
            sequences = [receipt.sequence for receipt in receipts]
            await self.until(lambda: sequences[-1] in published)
        finally:
            unsubscribe()
        return sequences

    async def held(self) -> None:
        """Wait until the simulator has used up every fault, such as a hold of one message."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.simulator.do("faults"))["faults"]:
                await look_again()

    async def reconcile(self) -> ReconciliationCompleted:
        """Ask and compare now."""
        return await self.oms.reconciler.run("test")

    async def notice(self, code: int, text: str = "as IB says") -> None:
        """Let the gateway tell everybody something."""
        await self.simulator.do("send_notice", code=code, text=text)

    async def until_logged(self, kind: type[Event], number: int = 1) -> None:
        """Wait until the log holds so many facts of a type."""
        logged = asyncio.Event()
        unsubscribe = self.oms.log.subscribe(lambda _: logged.set())
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(await self.log(kind)) < number:
                    await logged.wait()
                    logged.clear()
        finally:
            unsubscribe()
        # What is durable is seen by a reader before the view has it.
        await self.oms.log.flush()

    async def asked(self, kind: str) -> None:
        """Wait until the last question that was put is of this kind."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.log(QueryAsked))[-1].kind != kind:
                await look_again()

    async def rule_against(self, ticket: Ticket) -> str | None:
        """Return the rule that denied an order, None where it was not denied."""
        denied = {d.order_id: d.rule for d in await self.log(OrderDenied)}
        return denied.get(ticket.order_id)

    # ── what both say ────────────────────────────────────────────────────────────────────────────

    async def log(self, kind: type[E]) -> list[E]:
        """Return the facts of one type, in order."""
        found = await self.oms.reader.events(type=kind.__name__, limit=10_000)
        return [e.event for e in found if isinstance(e.event, kind)]

    async def books(self) -> dict[str, Any]:
        """Return the broker's books."""
        return await self.simulator.do("books")

    async def broker(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Ask the simulator for its books until they are as the condition says."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition(books := await self.books()):
                await look_again()
        return books

    async def received(self, order_id: str) -> int:
        """Return how often the broker received an order."""
        rows = (await self.books())["placements"]
        return sum(row["received"] for row in rows if row["order_ref"] == order_id)

    async def agree(self) -> None:
        """Assert that both sides' books, the log and its rebuild agree, now that all is at rest."""
        self.let_leave(40)
        await self.reconcile()
        found = await asyncio.to_thread(disagreements, self.database, await self.books())
        assert found == {}, found

    def state_of(self, order_id: str) -> OrderState | None:
        """Return the state of an order, None before the books have it."""
        order = self.view.orders.get(order_id)
        return order.state if order is not None else None

    async def stored(self, order_id: str) -> Order:
        """Return an order from the database, where ended ones are too."""
        row = await self.oms.reader.one("orders", order_id)
        assert isinstance(row, Order)
        return row

    def open_cases(self) -> list[tuple[str | None, str]]:
        """Return the open breaks as class and symbol."""
        return [(c.finding.break_class, c.finding.symbol) for c in self.view.open_breaks()]

    def case(self, break_class: str) -> BreakCase:
        """Return the one open case of a class."""
        (found,) = (c for c in self.view.open_breaks() if c.finding.break_class == break_class)
        return found

    def position(self, symbol: str = "AAPL") -> Decimal:
        """Return what our books hold of a contract."""
        held = self.view.positions.values()
        return sum((p.quantity for p in held if p.contract.symbol == symbol), Decimal())


async def look_again() -> None:
    """Wait between two looks at another program, which tells of nothing by itself: a test that
    waits without a pause takes the core from those that work.
    """
    await asyncio.sleep(0.005)


def breaks(findings: Iterable[Finding]) -> list[str | None]:
    """Return the classes of the breaks among findings."""
    return [f.break_class for f in findings if f.result == "break"]


@asynccontextmanager
async def a_world(directory: Path, simulator: Simulator) -> AsyncIterator[World]:
    """Give a world whose OMS is stopped at the end."""
    database = directory / "oms.sqlite"
    new_database(database)
    world = World(simulator, database)
    try:
        yield world
    finally:
        await world.stop()
