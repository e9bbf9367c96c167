"""From an order that passed its checks to the socket: the intent durable first, then the bytes.

What it means if the process dies on the way stands in `manager`. Nothing here decides whether an
order may be sent, but one thing: the intent took its time on the disk, and a halt or a lost line
that came meanwhile counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oms.core.admit.rules import check_world
from oms.core.admit.venue_rules import Denial
from oms.core.contracts import Contract
from oms.core.events import Context, OrderDenied, OrderIntended, OrderNotSent, Pending, Terms
from oms.core.fold.records import Order, OrderState
from oms.core.outgoing import Outgoing
from oms.core.receipt import Receipt
from oms.errors import IBConnectionError, StoreUnavailable
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.outbox import Outbox
    from oms.broker.session import Session
    from oms.store.log import EventLog

log = get_logger("service.sending")


@dataclass(frozen=True, slots=True)
class By:
    """Who wants something, and which event said so."""

    actor: str
    causation_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One order on its way, its contract qualified."""

    order_id: str
    account: str
    contract: Contract
    terms: Terms
    parent_order_id: str | None = None
    transmit: bool = True
    reason: str = ""
    #: It only takes from what the account holds.
    closing: bool = False
    #: Names of the rules that it passed.
    checks: tuple[str, ...] = ()


class Sending:
    """Makes intents durable and hands orders over, in the order in which they were intended."""

    def __init__(self, *, log: EventLog, session: Session, outbox: Outbox, view: View) -> None:
        self._log = log
        self._session = session
        self._outbox = outbox
        self._view = view
        #: The numbers of orders that may still wait for their turn to leave, oldest first: a cancel
        #: needs the number before the log has it.
        self._numbers: OrderedDict[str, int] = OrderedDict()

    async def submit(
        self,
        legs: Sequence[Leg],
        denied: Sequence[tuple[Leg, Denial]],
        *,
        group: str | None,
        by: By,
        whole: bool,
    ) -> None:
        """Store denials and intents in one transaction, then send what was intended.

        `whole` orders leave together or not at all: where another order has the id of one of them,
        none is sent. A caller that gives up meanwhile takes nothing back: the intents become
        durable, and that they will not leave is said.
        """
        pendings = [self._denial(leg, denial, by) for leg, denial in denied]
        pendings += [self._intent(leg, group, by) for leg in legs]
        if not pendings:
            return
        durable = self._log.append_together(pendings)
        try:
            receipts = await asyncio.shield(durable)
        except asyncio.CancelledError:
            durable.add_done_callback(lambda f: self._given_up(f, len(denied), legs, by))
            raise
        for leg, denial in denied:
            log.info("order_denied", order_id=leg.order_id, rule=denial.rule, text=denial.text)
        fresh = _fresh(legs, receipts[len(denied) :])
        if whole and len(fresh) < len(legs):
            self._not_sent(fresh, "another order has the id of a leg of its group", by)
            return
        for leg in fresh:
            log.info("order_intended", order_id=leg.order_id)
        self._send(fresh, by)

    def number_of(self, order: Order) -> int:
        """Return the number under which an order left, or will leave when its turn comes."""
        return order.broker_order_id or self._numbers.get(order.order_id, 0)

    def context(self, order_id: str, by: By) -> Context:
        """Return who says something about an order, and in which session."""
        return Context(
            actor=by.actor,
            session_epoch=self._session.current_epoch,
            correlation_id=order_id,
            causation_sequence=by.causation_sequence,
        )

    # ── inside ──

    def _denial(self, leg: Leg, denial: Denial, by: By) -> Pending:
        event = OrderDenied(
            order_id=leg.order_id,
            account=leg.account,
            contract=leg.contract,
            terms=leg.terms,
            rule=denial.rule,
            value=denial.value,
            limit=denial.limit,
            text=denial.text,
        )
        return Pending(event, self.context(leg.order_id, by))

    def _intent(self, leg: Leg, group: str | None, by: By) -> Pending:
        event = OrderIntended(
            order_id=leg.order_id,
            account=leg.account,
            contract=leg.contract,
            terms=leg.terms,
            parent_order_id=leg.parent_order_id,
            group_id=group,
            transmit=leg.transmit,
            reason=leg.reason,
            checks=leg.checks,
            closing=leg.closing,
        )
        return Pending(event, self.context(leg.order_id, by))

    def _given_up(
        self, durable: asyncio.Future[Any], denied: int, legs: Sequence[Leg], by: By
    ) -> None:
        if not durable.cancelled() and durable.exception() is None:
            # Where the log is closed by now, the next start doubts the order and asks the broker.
            with contextlib.suppress(StoreUnavailable):
                fresh = _fresh(legs, durable.result()[denied:])
                self._not_sent(fresh, "the caller gave up before it left", by)

    def _not_sent(self, legs: Iterable[Leg], text: str, by: By) -> None:
        for leg in legs:
            event = OrderNotSent(order_id=leg.order_id, text=text)
            self._log.append(Pending(event, self.context(leg.order_id, by)))
            log.info("order_not_sent", order_id=leg.order_id, reason=text)

    def _send(self, legs: Sequence[Leg], by: By) -> None:
        denial = check_world(self._view.system)
        if denial is not None:
            self._not_sent(legs, denial.text, by)
            return
        try:
            # Now and not before the intent: IB refuses a number below one that it has seen (103),
            # and orders that were intended side by side must leave in the order of their numbers.
            numbers = {leg.order_id: self._session.next_broker_order_id() for leg in legs}
        except IBConnectionError as error:
            self._not_sent(legs, error.message, by)
            return
        self._forget_numbers()
        self._numbers.update(numbers)
        for leg in legs:
            message = Outgoing(
                kind="place",
                order_id=leg.order_id,
                broker_order_id=numbers[leg.order_id],
                account=leg.account,
                contract=leg.contract,
                terms=leg.terms,
                parent_broker_order_id=self._parent_number(leg, numbers),
                transmit=leg.transmit,
                order_ref=leg.order_id,
            )
            self._outbox.send(message)
            log.info("order_handed_over", order_id=leg.order_id)

    def _parent_number(self, leg: Leg, numbers: Mapping[str, int]) -> int:
        parent_id = leg.parent_order_id
        if not parent_id:
            return 0
        parent = self._view.orders.get(parent_id)
        return numbers.get(parent_id, 0) or (self.number_of(parent) if parent is not None else 0)

    def _forget_numbers(self) -> None:
        for order_id in list(self._numbers):
            order = self._view.orders.get(order_id)
            if order is not None and order.state is OrderState.INTENDED:
                return
            del self._numbers[order_id]


def _fresh(legs: Sequence[Leg], receipts: Sequence[Receipt]) -> list[Leg]:
    """Return the legs whose intents were not in the log before."""
    both = zip(legs, receipts, strict=True)
    return [leg for leg, receipt in both if not (receipt.duplicate or receipt.conflict)]
