"""What the database says about the whole, read at one moment.

Every page shows it in one line and the first page in full. The head of the log is read first, so
what the rest says is at least as new as the event that the page names.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from oms.core.events import Envelope
from oms.core.fold.records import (
    BreakCase,
    Order,
    OrderState,
    RunRecord,
    SessionRecord,
    SystemRecord,
)
from oms.store.envelopes import Head
from oms.store.lease import Lease
from oms.store.reader import Reader
from oms.store.tables import BOOKS_CHECKPOINT

#: How many of the newest events are searched for a message of the broker.
HEARD_EVENTS_MAX: Final = 200
#: A screen of orders in doubt is an emergency already; the count says how many there are.
DOUBTS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Doubt:
    """An order whose outcome is not known, and since when."""

    order: Order
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of the whole, with the times that its ages are counted from."""

    #: When it was read; every age on a page is counted from here.
    read_at: datetime
    head: Head
    #: The event that the rows of orders, fills and positions have reached.
    books_sequence: int
    system: SystemRecord
    session: SessionRecord | None
    leases: tuple[Lease, ...]
    live_orders: int
    doubts: tuple[Doubt, ...]
    doubt_count: int
    open_breaks: tuple[BreakCase, ...]
    last_run: RunRecord | None
    #: Runs that have begun and not ended.
    running: tuple[RunRecord, ...]
    #: The newest message of the broker; None where the newest events hold none.
    heard: Envelope | None

    @property
    def behind(self) -> int:
        """Return how many events the rows lag the log."""
        return max(self.head.sequence - self.books_sequence, 0)


async def load(reader: Reader, now: datetime) -> Situation:
    """Read the situation; `now` is the moment of reading."""
    head = await reader.head()
    system = await reader.system()
    checkpoints = await reader.checkpoints()
    return Situation(
        read_at=now,
        head=head,
        books_sequence=checkpoints.get(BOOKS_CHECKPOINT, 0),
        system=system,
        session=cast(
            "SessionRecord | None", await reader.one("sessions", str(system.session_epoch))
        ),
        leases=tuple(await reader.leases()),
        live_orders=await reader.count("orders", {"live": 1}),
        doubts=await _doubts(reader),
        doubt_count=await reader.count("orders", {"state": OrderState.IN_DOUBT.value}),
        open_breaks=tuple(cast("list[BreakCase]", await reader.rows("breaks", {"live": 1}))),
        last_run=cast("RunRecord | None", await reader.one("runs", system.last_run_id)),
        running=tuple(cast("list[RunRecord]", await reader.rows("runs", {"live": 1}))),
        heard=await _heard(reader),
    )


async def _doubts(reader: Reader) -> tuple[Doubt, ...]:
    """Return the orders in doubt, the oldest doubt first."""
    where = {"state": OrderState.IN_DOUBT.value}
    orders = cast("list[Order]", await reader.rows("orders", where, limit=DOUBTS_MAX))
    doubts = []
    for order in sorted(orders, key=lambda order: order.doubt_sequence):
        since = order.updated_at
        if order.doubt_sequence:
            since = (await reader.event(order.doubt_sequence)).recorded_at
        doubts.append(Doubt(order, since))
    return tuple(doubts)


async def _heard(reader: Reader) -> Envelope | None:
    newest = await reader.events(reverse=True, limit=HEARD_EVENTS_MAX)
    return next((envelope for envelope in newest if envelope.wire is not None), None)
