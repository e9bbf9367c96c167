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
from typing import TYPE_CHECKING, assert_never

from oms.clock import Clock
from oms.core.admit.readiness import check_world
from oms.core.admit.rule import Denial
from oms.core.events import (
    CancelDenied,
    Context,
    Event,
    GlobalCancelDenied,
    ModifyDenied,
    OrderDenied,
    OrderIntended,
    OrderNotSent,
    OrderRequested,
    Pending,
)
from oms.core.fold.records import Order, OrderState
from oms.core.outgoing import Outgoing
from oms.core.receipt import Receipt
from oms.errors import IBConnectionError, StoreUnavailable
from oms.service.storage import check_takes_orders
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


class Sending:
    """Makes intents durable and hands orders over, in the order in which they were intended."""

    def __init__(
        self,
        *,
        log: EventLog,
        session: Session,
        outbox: Outbox,
        view: View,
        clock: Clock,
        disk_free: int | None,
        wait_seconds_max: float,
    ) -> None:
        """`disk_free` is how much of the disk must be free for a new order, and `wait_seconds_max`
        how long its intent may take to become durable: later the market has moved.
        """
        self._clock = clock
        self._log = log
        self._disk_free = disk_free
        self._wait_seconds_max = wait_seconds_max
        self._session = session
        self._outbox = outbox
        self._view = view
        #: The numbers of orders that may still wait for their turn to leave, oldest first: a cancel
        #: needs the number before the log has it.
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def check_log(self) -> None:
        """Raise `StoreUnavailable` where the log stands so that no new order may be taken."""
        check_takes_orders(self._log, self._disk_free)

    async def submit(
        self,
        intents: Sequence[OrderIntended],
        denials: Sequence[OrderDenied],
        *,
        by: By,
        whole: bool,
        asked_at_ms: int | None = None,
    ) -> tuple[str, ...]:
        """Store denials and intents in one transaction, then send what was intended; return the
        keys that another order got first.

        `whole` orders leave together or not at all: where another order has the id of one of them,
        none is sent. A caller that gives up meanwhile takes nothing back: the intents become
        durable, and that they will not leave is said. `asked_at_ms` is when they were wanted
        (`now_ms`): an order that has waited too long since does not leave.
        """
        facts: list[OrderDenied | OrderIntended] = [*denials, *intents]
        if not facts:
            return ()
        loop = asyncio.get_running_loop()
        began = loop.time()
        durable = self._log.append_together(
            [Pending(one, self.context(one.order_id, by)) for one in facts]
        )
        try:
            receipts = await asyncio.shield(durable)
        except asyncio.CancelledError:
            durable.add_done_callback(lambda f: self._given_up(f, len(denials), intents, by))
            raise
        for denial in denials:
            log.info("order_denied", order_id=denial.order_id, rule=denial.rule, text=denial.text)
        lost = tuple(
            one.order_id for one, receipt in zip(facts, receipts, strict=True) if receipt.conflict
        )
        by_intent = _by_intent(intents, receipts[len(denials) :], by)
        fresh = _fresh(intents, receipts[len(denials) :])
        # IB may have shown its key before the intent was durable.
        taken = [one for one in fresh if self._view.why_key_is_taken(one.order_id)]
        if whole and len(fresh) - len(taken) < len(intents):
            text = "another order has the id of a leg of its group"
            self._not_sent(fresh, text, by_intent)
            return lost
        for intent in taken:
            text = self._view.why_key_is_taken(intent.order_id)
            self._not_sent([intent], text, by_intent)
        fresh = [one for one in fresh if one not in taken]
        waited = loop.time() - began
        if waited > self._wait_seconds_max:
            text = (
                f"the log waited {waited:.0f} s for its database, longer than"
                " OMS_REQUEST_AGE_SECONDS_MAX allows"
            )
            self._not_sent(fresh, text, by_intent)
            return lost
        for intent in fresh:
            log.info("order_intended", order_id=intent.order_id)
        self._send(fresh, by_intent, asked_at_ms)
        return lost

    def now_ms(self) -> int:
        """Return the moment from which the age of what is asked for now counts."""
        return int(self._clock.monotonic() * 1000)

    def number_of(self, order: Order) -> int:
        """Return the number under which an order left, or will leave when its turn comes; 0 where
        IB has another order under it.
        """
        if order.number_lost:
            return 0
        return order.broker_order_id or self._numbers.get(order.order_id, 0)

    def number_of_parent(self, order: Order | OrderIntended) -> int:
        """Return the number of the order that another is attached to, 0 for none."""
        parent_id = order.parent_order_id or ""
        parent = self._view.orders.get(parent_id)
        # One of the same group has a number before the log has it.
        return self.number_of(parent) if parent is not None else self._numbers.get(parent_id, 0)

    def context(self, order_id: str, by: By) -> Context:
        """Return who says something about an order, and in which session."""
        return Context(
            actor=by.actor,
            session_epoch=self._session.current_epoch,
            correlation_id=order_id,
            causation_sequence=by.causation_sequence,
        )

    # ── inside ──

    def _given_up(
        self,
        durable: asyncio.Future[tuple[Receipt, ...]],
        denied: int,
        intents: Sequence[OrderIntended],
        by: By,
    ) -> None:
        if not durable.cancelled() and durable.exception() is None:
            # Where the log is closed by now, the next start doubts the order and asks the broker.
            with contextlib.suppress(StoreUnavailable):
                receipts = durable.result()[denied:]
                by_intent = _by_intent(intents, receipts, by)
                text = "the caller gave up before it left"
                self._not_sent(_fresh(intents, receipts), text, by_intent)

    def _not_sent(
        self, intents: Iterable[OrderIntended], text: str, by_intent: Mapping[str, By]
    ) -> None:
        for intent in intents:
            event = OrderNotSent(order_id=intent.order_id, text=text)
            context = self.context(intent.order_id, by_intent[intent.order_id])
            self._log.append(Pending(event, context))
            log.info("order_not_sent", order_id=intent.order_id, reason=text)

    def _send(
        self,
        intents: Sequence[OrderIntended],
        by_intent: Mapping[str, By],
        asked_at_ms: int | None,
    ) -> None:
        denial = check_world(self._view.system)
        if denial is not None:
            self._not_sent(intents, denial.text, by_intent)
            return
        try:
            # Now and not before the intent: IB refuses a number below one that it has seen (103),
            # and orders that were intended side by side must leave in the order of their numbers.
            numbers = {intent.order_id: self._session.next_broker_order_id() for intent in intents}
        except IBConnectionError as error:
            self._not_sent(intents, error.message, by_intent)
            return
        self._forget_numbers()
        self._numbers.update(numbers)
        for intent in intents:
            message = Outgoing(
                kind="place",
                order_id=intent.order_id,
                broker_order_id=numbers[intent.order_id],
                account=intent.account,
                contract=intent.contract,
                terms=intent.terms,
                parent_broker_order_id=self.number_of_parent(intent),
                transmit=intent.transmit,
                asked_at_ms=asked_at_ms,
                order_ref=intent.order_id,
                intent_sequence=by_intent[intent.order_id].causation_sequence,
            )
            self._outbox.send(message)
            log.info("order_handed_over", order_id=intent.order_id)

    def _forget_numbers(self) -> None:
        for order_id in list(self._numbers):
            order = self._view.orders.get(order_id)
            if order is not None and order.state is OrderState.INTENDED:
                return
            del self._numbers[order_id]


def denied(order: OrderIntended | OrderRequested, denial: Denial) -> OrderDenied:
    """Return the fact that an order is refused before anything of it leaves."""
    return OrderDenied(
        order_id=order.order_id,
        account=order.account,
        contract=order.contract,
        terms=order.terms,
        rule=denial.rule,
        value=denial.value,
        limit=denial.limit,
        text=denial.text,
    )


def report_not_sent(event_log: EventLog, message: Outgoing, reason: str, epoch: int) -> None:
    """Write that a message did not leave: an order is over, a change or a cancel is refused."""
    event: Event
    match message.kind:
        case "what_if":
            return  # whoever asked hears of it, and nothing was wanted of the books
        case "place":
            event = OrderNotSent(order_id=message.order_id, text=reason)
        case "modify":
            event = ModifyDenied(order_id=message.order_id, text=f"not sent: {reason}")
        case "global_cancel":
            event = GlobalCancelDenied(text=f"not sent: {reason}")
        case "cancel":
            event = CancelDenied(order_id=message.order_id, text=f"not sent: {reason}")
        case _:
            assert_never(message.kind)
    context = Context(
        actor="daemon",
        session_epoch=epoch,
        correlation_id=message.order_id or None,
        causation_sequence=message.intent_sequence,
    )
    log.warning("message_not_sent", kind=message.kind, order_id=message.order_id, reason=reason)
    # Where the lease is lost nothing may be written here any more: the order never left, and that
    # is what the successor finds.
    with contextlib.suppress(StoreUnavailable):
        event_log.append(Pending(event, context))


def _by_intent(
    intents: Sequence[OrderIntended], receipts: Sequence[Receipt], by: By
) -> dict[str, By]:
    """Return, for each order, who wants it and the intent that says so: what follows carries that
    intent out.
    """
    both = zip(intents, receipts, strict=True)
    return {intent.order_id: By(by.actor, receipt.sequence) for intent, receipt in both}


def _fresh(intents: Sequence[OrderIntended], receipts: Sequence[Receipt]) -> list[OrderIntended]:
    """Return the intents that were not in the log before."""
    both = zip(intents, receipts, strict=True)
    return [intent for intent, receipt in both if not (receipt.duplicate or receipt.conflict)]
