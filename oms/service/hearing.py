"""Does the gateway still tell us about orders: a session may be alive and deaf.

The probe shows that the gateway answers, not that it answers about orders. Where IB leaves one of
those questions without an answer several times in a row, the connection is given up: nothing shows
that fills would be heard on it. The gate is shut then until a whole comparison on the next
connection, and where that does not come, an alarm says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from oms.core.events import Envelope, QueryAnswered, QueryKind, Question, SessionOpened
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.session import Session

log = get_logger("service.hearing")

#: Questions whose answers say what became of orders.
ABOUT_ORDERS: Final[frozenset[QueryKind]] = frozenset({"open_orders", "executions"})
#: Unanswered ones in a row that a ready session may have.
UNANSWERED_MAX: Final = 3


class Hearing:
    """Counts the questions about orders that were not answered, and gives the session up."""

    def __init__(self, view: View, session: Session) -> None:
        self._view = view
        self._session = session
        self._unanswered: dict[QueryKind, int] = {}

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Hear how questions ended."""
        for envelope in envelopes:
            match envelope.event:
                case SessionOpened():
                    self._unanswered.clear()
                case QueryAnswered() as answered:
                    for question in answered.questions:
                        self._hear(question)
                case _:
                    pass

    def _hear(self, question: Question) -> None:
        if question.kind not in ABOUT_ORDERS:
            return
        if question.outcome == "complete":
            self._unanswered.pop(question.kind, None)
        else:
            self._count(question.kind)

    def _count(self, kind: QueryKind) -> None:
        times = self._unanswered.get(kind, 0) + 1
        self._unanswered[kind] = times
        # Before a session is ready nothing leaves; leaving it would only hide how long that lasts.
        if times >= UNANSWERED_MAX and self._view.system.ready:
            log.error("questions_unanswered", kind=kind, times=times)
            self._unanswered.clear()
            self._session.leave_unanswered()
