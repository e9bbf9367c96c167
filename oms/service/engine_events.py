"""Commits of the log, told as events of the broker interface; and the queue they wait in.

The log is the order of things: what one transaction made durable is told in the order of its
sequences, executions before the order that they moved. Nothing is told that is not durable.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from oms.core.adapter import (
    BrokerEvent,
    CommissionEvent,
    ConnectionEvent,
    MarketEvent,
    MarketRefusedEvent,
    OrderFillEvent,
    OrderRejectEvent,
    OrderStateEvent,
    OverflowEvent,
)
from oms.core.contracts import Contract
from oms.core.events import (
    CancelDenied,
    CommissionReceived,
    Envelope,
    ExecutionReceived,
    GapClosed,
    GapOpened,
    ModifyDenied,
    SessionClosed,
    SessionOpened,
    SessionReady,
)
from oms.core.fold.records import AnyRecord, Fill, Order, OrderState
from oms.core.quotes import Quote
from oms.errors import OmsError

#: Ended orders whose last state is remembered, so that a late commission is no change of state.
ENDED_REMEMBERED_MAX: Final = 10_000

LoggedEvent = (
    OrderStateEvent | OrderFillEvent | CommissionEvent | OrderRejectEvent | ConnectionEvent
)
_STAGES: Final[Mapping[OrderState, Literal["denied", "not_sent", "rejected"]]] = {
    OrderState.DENIED: "denied",
    OrderState.NOT_SENT: "not_sent",
    OrderState.REJECTED: "rejected",
}


class EngineEvents:
    """Says what a commit means to an engine."""

    def __init__(self, orders: Iterable[Order]) -> None:
        """`orders` are those of which the engine learns by asking: only changes are told."""
        self._live: dict[str, tuple[OrderState, str]] = {}
        self._ended: OrderedDict[str, tuple[OrderState, str]] = OrderedDict()
        for order in orders:
            self._remember(order)

    def tell(
        self, envelopes: Sequence[Envelope], changes: Mapping[str, Mapping[str, AnyRecord]]
    ) -> list[LoggedEvent]:
        """Return the events of one transaction, in the order of the log."""
        fills = {f.exec_id: f for f in changes.get("fills", {}).values() if isinstance(f, Fill)}
        told = list(_of_envelopes(envelopes, fills))
        denied = {
            envelope.event.order_id
            for envelope in envelopes
            if isinstance(envelope.event, ModifyDenied | CancelDenied)
        }
        for order in changes.get("orders", {}).values():
            if isinstance(order, Order):
                told += self._of_order(order, order.order_id in denied)
        # The sort is stable: what stands at one sequence stays in the order in which it was made.
        return sorted(told, key=lambda event: event.sequence)

    def _of_order(self, order: Order, was_denied: bool) -> Iterator[LoggedEvent]:
        before = self._live.get(order.order_id) or self._ended.get(order.order_id)
        self._remember(order)
        old_state, old_refusal = before or (None, "")
        if order.state is not old_state:
            yield _state_event(order)
            stage = _STAGES.get(order.state)
            if stage is not None:
                yield OrderRejectEvent(
                    order.order_id,
                    stage,
                    order.code,
                    order.text,
                    order.advanced_reject,
                    order.last_sequence,
                )
        if order.refusal and (was_denied or order.refusal != old_refusal):
            code, text = code_and_text(order.refusal)
            yield OrderRejectEvent(order.order_id, "change", code, text, "", order.last_sequence)

    def _remember(self, order: Order) -> None:
        self._live.pop(order.order_id, None)
        self._ended.pop(order.order_id, None)
        home = self._live if order.live else self._ended
        home[order.order_id] = (order.state, order.refusal)
        while len(self._ended) > ENDED_REMEMBERED_MAX:
            self._ended.popitem(last=False)


def code_and_text(refusal: str) -> tuple[int, str]:
    """Return IB's code and text of a refusal; the code is 0 where our own check refused."""
    found = re.match(r"(\d+) (.*)", refusal, re.DOTALL)
    return (int(found[1]), found[2]) if found else (0, refusal)


def _state_event(order: Order) -> OrderStateEvent:
    return OrderStateEvent(
        order_id=order.order_id,
        state=order.state.value,
        filled_quantity=order.filled,
        remaining_quantity=order.remaining,
        average_price=order.average_price,
        reason=order.doubt or order.text or order.why_held,
        sequence=order.last_sequence,
    )


def _of_envelopes(
    envelopes: Sequence[Envelope], fills: Mapping[str, Fill]
) -> Iterator[LoggedEvent]:
    with_commission: set[str] = set()
    for envelope in envelopes:
        sequence = envelope.sequence
        match envelope.event:
            case ExecutionReceived(exec_id=exec_id) if exec_id in fills:
                fill = fills[exec_id]
                if fill.commission is not None:
                    with_commission.add(exec_id)
                yield _fill_event(fill, sequence)
            case CommissionReceived(exec_id=exec_id, commission=amount, currency=currency) as event:
                if amount is None or exec_id not in fills or exec_id in with_commission:
                    continue
                order_id = fills[exec_id].order_id
                yield CommissionEvent(
                    order_id, exec_id, amount, currency, event.realised_pnl, sequence
                )
            case SessionOpened(host=host, port=port):
                yield ConnectionEvent("up", f"connected to {host}:{port}", sequence)
            case SessionReady():
                yield ConnectionEvent("ready", "the books were compared", sequence)
            case SessionClosed(reason=reason):
                yield ConnectionEvent("down", reason, sequence)
            case GapOpened(cause=cause):
                yield ConnectionEvent("gap_opened", cause, sequence)
            case GapClosed(cause=cause):
                yield ConnectionEvent("gap_closed", cause, sequence)
            case _:
                pass


def _fill_event(fill: Fill, sequence: int) -> OrderFillEvent:
    return OrderFillEvent(
        order_id=fill.order_id,
        exec_id=fill.exec_id,
        replaces=fill.superseded[-1] if fill.superseded else "",
        account=fill.account,
        contract=fill.contract,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        commission=fill.commission,
        commission_currency=fill.commission_currency,
        at=fill.occurred_at,
        sequence=sequence,
    )


class EventQueue:
    """What an engine has not taken yet: orders first and in order, of each market the newest."""

    def __init__(self, length_max: int) -> None:
        self._length_max = length_max
        self._logged: deque[LoggedEvent | MarketRefusedEvent] = deque()
        self._markets: OrderedDict[Contract, MarketEvent] = OrderedDict()
        self._dropped = 0
        self._first_dropped = 0
        self._last_dropped = 0
        self._end: OmsError | None = None
        self._changed = asyncio.Event()

    def put(self, events: Iterable[LoggedEvent | MarketRefusedEvent]) -> None:
        """Take events; where there is no room the oldest go, and are counted."""
        for event in events:
            if len(self._logged) >= self._length_max:
                self._drop(self._logged.popleft())
            self._logged.append(event)
        self._changed.set()

    def put_market(self, quote: Quote) -> None:
        """Take a quote in the place of an older one of its contract."""
        older = self._markets.pop(quote.contract, None)
        skipped = older.skipped + 1 if older is not None else 0
        self._markets[quote.contract] = MarketEvent(quote, skipped)
        self._changed.set()

    def forget_market(self, contract: Contract) -> None:
        """Drop the news of a market that nobody wants any more."""
        self._markets.pop(contract, None)

    def open(self) -> None:
        """Let takers wait again."""
        self._end = None

    def close(self, error: OmsError) -> None:
        """Raise this to whoever takes after the last event."""
        if self._end is None:
            self._end = error
            self._changed.set()

    async def next(self) -> BrokerEvent:
        """Return the next event, or wait for one."""
        while True:
            if self._dropped:
                told = OverflowEvent(self._dropped, self._first_dropped, self._last_dropped)
                self._dropped = self._first_dropped = self._last_dropped = 0
                return told
            if self._logged:
                return self._logged.popleft()
            if self._markets:
                return self._markets.popitem(last=False)[1]
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()

    def _drop(self, event: LoggedEvent | MarketRefusedEvent) -> None:
        self._dropped += 1
        sequence = 0 if isinstance(event, MarketRefusedEvent) else event.sequence
        self._first_dropped = self._first_dropped or sequence
        self._last_dropped = sequence or self._last_dropped
