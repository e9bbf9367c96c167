"""Halting: from the fact in the log to the moment after which nothing leaves.

A halt counts from its commit: every intent is written after a look at what others appended, so one
that comes later finds trading halted and is not sent. What was intended before and still waits for
its turn is called back here, and only then the daemon writes `HaltInForce`. Whoever asked for the
halt waits for that fact, so "halted" never means "soon".

If the process dies between halt and `HaltInForce`, nothing leaves either: the next daemon folds the
halt before it opens a session, and what waited is in doubt until IB shows that it never came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from oms.core.events import Context, Envelope, HaltInForce, Pending, TradingHaltedByPerson
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.outbox import Outbox
    from oms.broker.session import Session
    from oms.store.log import EventLog

log = get_logger("service.halts")


class Halts:
    """Takes halts up, whoever wrote them."""

    def __init__(self, *, log: EventLog, session: Session, outbox: Outbox) -> None:
        self._log = log
        self._session = session
        self._outbox = outbox

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Take up the halts of a commit; called on the loop, after the view has the commit."""
        for envelope in envelopes:
            if isinstance(envelope.event, TradingHaltedByPerson):
                self._take_up(envelope, envelope.event.reason)

    def _take_up(self, envelope: Envelope, reason: str) -> None:
        messages = self._outbox.call_back(f"trading is halted: {reason}")
        called_back = tuple(m.order_id for m in messages if m.kind == "place")
        event = HaltInForce(halt_sequence=envelope.sequence, called_back=called_back)
        context = Context(
            actor="daemon",
            session_epoch=self._session.current_epoch,
            causation_sequence=envelope.sequence,
        )
        self._log.append(Pending(event, context))
        log.warning("halt_in_force", sequence=envelope.sequence, called_back=len(called_back))
