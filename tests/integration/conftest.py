"""The simulator as a process of its own, and a log that keeps what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

from oms.broker.gateway import Gateway
from oms.broker.handshake import ConnectionSettings
from oms.broker.news import News
from oms.clock import SystemClock
from oms.core.events import Event, Pending
from oms.core.outgoing import Outgoing
from oms.core.receipt import Receipt
from tests.simulator import Simulator, running_simulator
from tests.world import World, a_world

DEADLINE_SECONDS = 60
NEW_YORK = ZoneInfo("America/New_York")
E = TypeVar("E", bound=Event)


StartSimulator = Callable[..., Awaitable[Simulator]]


@pytest.fixture
async def start_simulator() -> AsyncIterator[StartSimulator]:
    """Start simulators with options of one's own; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(*options: str) -> Simulator:
            return await stack.enter_async_context(running_simulator(*options))

        yield start


@pytest.fixture
async def simulator(start_simulator: StartSimulator) -> Simulator:
    return await start_simulator()


@dataclass
class Journal:
    """A log in memory: keeps facts in order, and lets a test wait for one."""

    pendings: list[Pending] = field(default_factory=list)
    #: Set by a test to make every append fail from now on.
    broken: Exception | None = None
    #: A log in memory is never behind.
    waiting: int = 0
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, pending: Pending) -> asyncio.Future[Receipt]:
        if self.broken is not None:
            raise self.broken
        self.pendings.append(pending)
        self._grown.set()
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[Receipt] = loop.create_future()
        # As with the real log, nothing is durable within the call.
        loop.call_soon(self._commit, durable, len(self.pendings))
        return durable

    @staticmethod
    def _commit(durable: asyncio.Future[Receipt], sequence: int) -> None:
        if not durable.cancelled():
            durable.set_result(Receipt(sequence))

    def of(self, cls: type[E]) -> list[E]:
        """The facts of one type, in order."""
        return [p.event for p in self.pendings if isinstance(p.event, cls)]

    def sequence_of(self, event: Event) -> int:
        return next(n for n, p in enumerate(self.pendings, 1) if p.event is event)

    async def until(self, holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until something holds, looking again whenever a fact arrives."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._grown.clear()
                await self._grown.wait()

    async def first(self, cls: type[E], number: int = 1) -> E:
        """Wait for the n-th fact of a type."""
        await self.until(lambda: len(self.of(cls)) >= number)
        return self.of(cls)[number - 1]


@dataclass
class Desk:
    """A gateway object of ours, its journal and what it said."""

    gateway: Gateway
    journal: Journal
    news: list[News]
    failures: list[BaseException]
    not_sent: list[tuple[Outgoing, str]]
    _heard: asyncio.Event

    async def hear(self, cls: type[Any], number: int = 1) -> Any:
        """Wait for the n-th news of a kind."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(found := [one for one in self.news if isinstance(one, cls)]) < number:
                self._heard.clear()
                await self._heard.wait()
        return found[number - 1]

    async def fail(self) -> BaseException:
        """Wait for the first failure that was reported."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.failures:
                self._heard.clear()
                await self._heard.wait()
        return self.failures[0]


MakeDesk = Callable[..., Desk]


def patient(port: int, **changed: Any) -> ConnectionSettings:
    """Settings of a connection whose waits are short enough for a test."""
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "client_id": 7,
        "reconnect_delays_seconds": (0.02, 0.05),
        "farm_timeout_seconds": 0.5,
    }
    return ConnectionSettings(**(defaults | changed))


@pytest.fixture
async def make_desk() -> AsyncIterator[MakeDesk]:
    """Make gateway objects; whatever the test leaves open is closed, and no failure is passed over
    in silence.
    """
    desks: list[Desk] = []

    def make(port: int, *, journal: Journal | None = None, **options: Any) -> Desk:
        sink = journal or Journal()
        failures: list[BaseException] = []
        not_sent: list[tuple[Outgoing, str]] = []
        news: list[News] = []
        heard = asyncio.Event()
        names = {"first_epoch", "highest_broker_order_id", "open_gap_sequence"}
        names |= {"request_timeout_seconds", "messages_per_second_max", "queue_length_max"}
        names |= {"market_type", "market_lines_max"}
        gateway = Gateway(
            patient(port, **{k: v for k, v in options.items() if k not in names}),
            sink,
            SystemClock(),
            zone=NEW_YORK,
            on_failure=lambda error: (failures.append(error), heard.set()),  # type: ignore[func-returns-value]
            on_not_sent=lambda message, reason: not_sent.append((message, reason)),
            **({"first_epoch": 1} | {k: v for k, v in options.items() if k in names}),
        )
        gateway.session.listeners.append(lambda one: (news.append(one), heard.set()))  # type: ignore[func-returns-value]
        desks.append(Desk(gateway, sink, news, failures, not_sent, heard))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.gateway.close("the test is over")
        if desk.journal.broken is None:
            assert desk.failures == []


@pytest.fixture
async def desk(simulator: Simulator, make_desk: MakeDesk) -> Desk:
    """A desk that is connected to the simulator."""
    made = make_desk(simulator.port)
    await made.gateway.session.open(fail_fast=True)
    await made.hear(object)
    return made


@pytest.fixture
async def world(tmp_path: Path, simulator: Simulator) -> AsyncIterator[World]:
    """The whole service against the simulator; see `tests.world`."""
    async with a_world(tmp_path, simulator) as made:
        yield made
