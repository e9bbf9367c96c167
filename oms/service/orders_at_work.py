"""What can be done about orders that exist: change, cancel, a word on a doubt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

from oms.core.admit.changes import (
    cancel_refusal,
    cancel_under_way,
    change_denial,
    check_resolution,
    number_refusal,
)
from oms.core.admit.readiness import halt_denial
from oms.core.admit.rule import Denial
from oms.core.admit.validity import validate
from oms.core.events import (
    CancelDenied,
    CancelIntended,
    DoubtResolved,
    ModifyDenied,
    ModifyIntended,
    Pending,
    Terms,
)
from oms.core.fold.records import ENDED, Order
from oms.core.order_types import Changes, changed
from oms.core.outgoing import Outgoing
from oms.errors import NotFound
from oms.service.admission import Admission
from oms.service.sending import By, Sending
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.gateway import Gateway
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.orders_at_work")


class OrdersAtWork:
    """Changes and cancels orders that exist, and says what a person knows of a doubt."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        gateway: Gateway,
        view: View,
        admission: Admission,
        sending: Sending,
    ) -> None:
        self._log = log
        self._reader = reader
        self._session = gateway.session
        self._outbox = gateway.outbox
        self._lookup = gateway.lookup
        self._admission = admission
        self._sending = sending
        #: Whose change is on its way into the log, by order id.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.view = view

    def order(self, order_id: str) -> Order:
        """Return an order that is live or ended lately; raises `NotFound`."""
        found = self.view.orders.get(order_id)
        if found is None:
            raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
        return found

    async def modify(self, order_id: str, changes: Changes, *, reason: str, by: By) -> Order:
        """Send new terms; see `OrderManager.modify`."""
        asked_at_ms = self._sending.now_ms()
        # A change is made of the terms before it: two at a time would undo each other.
        async with self._turns.setdefault(order_id, asyncio.Lock()):
            return await self._modify(order_id, changes, reason, by, asked_at_ms)

    async def _modify(
        self, order_id: str, changes: Changes, reason: str, by: By, asked_at_ms: int
    ) -> Order:
        order = await self._known(order_id)
        terms = changed(order.asked_terms, changes)
        validate(terms)
        judged = await self._judge(order, terms)
        if isinstance(judged, Denial):
            return await self._deny_change(order_id, judged, by)
        intent = ModifyIntended(
            order_id=order_id,
            revision=order.revision + 1,
            terms=terms,
            reason=reason,
            warning=judged,
        )
        receipt = await self._log.append(Pending(intent, self._sending.context(order_id, by)))
        # As with an intent: what came while this one took its time on the disk counts.
        denial = self._why_not_now(order_id, order)
        if denial is not None:
            return await self._deny_change(order_id, denial, by, intended=True)
        log.info("modify_intended", order_id=order_id, revision=intent.revision)
        message = Outgoing(
            kind="modify",
            order_id=order_id,
            broker_order_id=order.broker_order_id,
            account=order.account,
            contract=order.contract,
            terms=terms,
            parent_broker_order_id=self._sending.number_of_parent(order),
            asked_at_ms=asked_at_ms,
            order_ref=order.order_ref,
            intent_sequence=receipt.sequence,
        )
        self._outbox.send(message)
        log.info("modify_handed_over", order_id=order_id, revision=intent.revision)
        return self.order(order_id)

    async def cancel(self, order_id: str, *, reason: str, by: By) -> Order:
        """Ask IB for the end of an order; see `OrderManager.cancel`."""
        order = await self._known(order_id)
        if order.state in ENDED:
            return order
        refusal = cancel_refusal(
            order,
            client_id=self._session.client_id,
            has_number=bool(self._sending.number_of(order)),
        )
        if refusal:
            event = CancelDenied(order_id=order_id, text=refusal)
            await self._log.append(Pending(event, self._sending.context(order_id, by)))
            return self.order(order_id)
        intent = CancelIntended(order_id=order_id, reason=reason)
        receipt = await self._log.append(Pending(intent, self._sending.context(order_id, by)))
        log.info("cancel_intended", order_id=order_id)
        # As with a change: what came while the intent took its time on the disk counts.
        order = self.view.orders.get(order_id, order)
        number = self._sending.number_of(order)
        if not number:
            event = CancelDenied(order_id=order_id, text=number_refusal(order))
            await self._log.append(Pending(event, self._sending.context(order_id, by)))
            return self.order(order_id)
        message = Outgoing(
            kind="cancel",
            order_id=order_id,
            broker_order_id=number,
            intent_sequence=receipt.sequence,
        )
        self._outbox.send(message)
        log.info("cancel_handed_over", order_id=order_id)
        return self.order(order_id)

    async def resolve(
        self, order_id: str, outcome: Literal["not_received", "ended"], reason: str, by: By
    ) -> Order:
        """Write what a person knows of an order in doubt; see `OrderManager.resolve`."""
        order = await self._known(order_id)
        check_resolution(order, outcome, reason)
        event = DoubtResolved(order_id=order_id, outcome=outcome, text=reason)
        await self._log.append(Pending(event, self._sending.context(order_id, by)))
        log.warning("doubt_resolved", order_id=order_id, outcome=outcome, reason=reason)
        return self.order(order_id)

    # ── inside ──

    async def _deny_change(
        self, order_id: str, denial: Denial, by: By, *, intended: bool = False
    ) -> Order:
        event = ModifyDenied(
            order_id=order_id,
            text=denial.text,
            intended=intended,
            rule=denial.rule,
            value=denial.value,
            limit=denial.limit,
        )
        await self._log.append(Pending(event, self._sending.context(order_id, by)))
        return self.order(order_id)

    async def _judge(self, order: Order, terms: Terms) -> str | Denial:
        # Before the contract is asked for: while halted, the line may be down as well.
        if self.view.system.halted:
            return halt_denial(self.view.system)
        denial = change_denial(order, terms, client_id=self._session.client_id)
        if denial is not None:
            return denial
        qualified = await self._lookup.qualify(order.contract)
        return await self._admission.judge_change(order, terms, qualified.rules)

    def _why_not_now(self, order_id: str, order: Order) -> Denial | None:
        if self.view.system.halted:
            return halt_denial(self.view.system)
        return cancel_under_way(self.view.orders.get(order_id, order))

    async def _known(self, order_id: str) -> Order:
        found = await self._stored(order_id)
        if found is None:
            raise NotFound(f"there is no order {order_id}", hint="`oms orders --all` lists them")
        return found

    async def _stored(self, order_id: str) -> Order | None:
        """Return an order from the view, or from the store when it ended long ago."""
        found = self.view.orders.get(order_id)
        if found is None:
            row = await self._reader.one("orders", order_id)
            if isinstance(row, Order):
                found = self.view.recall(row)
        return found
