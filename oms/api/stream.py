"""The stream of news: what a program has not heard yet, from the log, in its order.

A stream is a place in the log and nothing else. It reads what came since, sends it as one message
that ends at a sequence, and waits for the next commit. So a program that was away goes on where it
stopped, a slow one keeps nothing in the memory of the daemon, and live and late news are made by
the same lines.

States are told as they are when the message is made: those that an order passed in between are not.
Fills, commissions and refusals are told once each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.contracts import Contract
from oms.core.events import (
    AlarmCleared,
    AlarmRaised,
    BreakClosed,
    BreakOpened,
    BreakUpdated,
    CommissionReceived,
    Envelope,
    ExecutionReceived,
)
from oms.core.fold.records import TABLES, Alarm, AnyRecord, BreakCase, Order
from oms.report.record_json import (
    Json,
    alarm_json,
    break_json,
    contract_json,
    number,
    order_json,
    time,
)
from oms.service.engine_events import EngineEvents, LoggedEvent
from oms.store.reader import Reader

#: Events of one message.
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which news a program wants."""

    #: Of orders of this actor; "" for everybody's.
    actor: str = ""
    account: str = ""


class Bell:
    """Rings with each commit; of one event loop."""

    def __init__(self) -> None:
        self._rung: asyncio.Event = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def wait(self) -> None:
        """Return with the next ring."""
        await self._rung.wait()


class Stream:
    """The news of one program."""

    def __init__(self, reader: Reader, wanted: Wanted, after: int) -> None:
        self._reader = reader
        self._wanted = wanted
        self._engine = EngineEvents([])
        self.after = after

    @property
    def nothing(self) -> Json:
        """Return the message that says that nothing has happened since the last."""
        return {"after": self.after, "sequence": self.after, "news": []}

    async def next_message(self) -> Json | None:
        """Return the news up to an event, None where there is none since the last."""
        envelopes = await self._reader.events(self.after, limit=PAGE)
        if not envelopes:
            return None
        changes = await self._changes(envelopes)
        orders = changes["orders"]
        told = self._engine.tell(envelopes, changes)
        news = [_told_json(one) for one in told if self._wants(one, orders)]
        news += [
            {"news": "order", "sequence": order.last_sequence, "order": order_json(order)}
            for order in orders.values()
            if isinstance(order, Order) and self._is_of(order)
        ]
        cases = [one for one in changes["breaks"].values() if isinstance(one, BreakCase)]
        news += [{"news": "break", "break": break_json(one)} for one in cases]
        alarms = [one for one in changes["alarms"].values() if isinstance(one, Alarm)]
        news += [{"news": "alarm", "alarm": alarm_json(one)} for one in alarms]
        message = {"after": self.after, "sequence": envelopes[-1].sequence, "news": news}
        self.after = envelopes[-1].sequence
        return message

    async def _changes(self, envelopes: Sequence[Envelope]) -> dict[str, dict[str, AnyRecord]]:
        """Return the records that events are about, as they are now."""
        links = await self._reader.links([one.sequence for one in envelopes])
        executions = {
            one.event.exec_id
            for one in envelopes
            if isinstance(one.event, ExecutionReceived | CommissionReceived)
        }
        breaks = _named(envelopes, (BreakOpened, BreakUpdated, BreakClosed), "break_id")
        alarms = _named(envelopes, (AlarmRaised, AlarmCleared), "alarm_id")
        return {
            "orders": await self._rows("orders", {order_id for _, order_id in links}),
            # One that was corrected since is told with its correction.
            "fills": await self._rows("fills", executions, "exec_id"),
            "breaks": await self._rows("breaks", breaks),
            "alarms": await self._rows("alarms", alarms),
        }

    async def _rows(
        self, table: str, keys: Iterable[str], column: str = ""
    ) -> dict[str, AnyRecord]:
        wanted = sorted(keys)
        where = {column or TABLES[table].key_name: wanted}
        return {one.key: one for one in await self._reader.rows(table, where)} if wanted else {}

    def _wants(self, told: LoggedEvent, orders: dict[str, AnyRecord]) -> bool:
        order = orders.get(getattr(told, "order_id", ""))
        return not isinstance(order, Order) or self._is_of(order)

    def _is_of(self, order: Order) -> bool:
        wanted = self._wanted
        return (not wanted.actor or order.actor == wanted.actor) and (
            not wanted.account or order.account == wanted.account
        )


def _named(envelopes: Sequence[Envelope], kinds: tuple[type, ...], name: str) -> set[str]:
    return {getattr(one.event, name) for one in envelopes if isinstance(one.event, kinds)}


def _told_json(told: LoggedEvent) -> Json:
    name = type(told).__name__.removesuffix("Event").removeprefix("Order").lower()
    return {"news": name, **{one.name: _plain(getattr(told, one.name)) for one in fields(told)}}


def _plain(value: object) -> object:
    match value:
        case Decimal():
            return number(value)
        case datetime():
            return time(value)
        case Contract():
            return contract_json(value)
        case _:
            return value
