"""Looking for new orders that a code of IB may have refused.

Three questions are asked, those whose answers name orders, and nothing else is compared. An order
that all of them leave out, answered whole, was refused; where one was not answered it is in doubt,
and the schedule asks again. If the process dies in it, the next start doubts the order and asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from oms.clock import Clock
from oms.core.compare.repair import refusals
from oms.core.compare.sides import ORDER_QUESTIONS, Answers, OurSide, Scope
from oms.core.events import Context, Event, OrderDoubted, Pending
from oms.core.fold.order_state import answered_with
from oms.service.our_side import load_our_side

if TYPE_CHECKING:
    from oms.broker.queries import Queries
    from oms.broker.session import Session
    from oms.store.log import EventLog
    from oms.store.reader import Reader


class Refusals:
    """Asks where IB names orders, and writes which of some it refused."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        queries: Queries,
        session: Session,
        clock: Clock,
    ) -> None:
        self._log = log
        self._reader = reader
        self._queries = queries
        self._session = session
        self._clock = clock
        self._number = 0

    async def look_for(self, order_ids: Sequence[str]) -> None:
        """Ask about orders of which a code is all that IB has said, and write what follows."""
        self._number += 1
        now = self._clock.now()
        run_id = f"N{now:%Y%m%dT%H%M%S}-{self._session.current_epoch}.{self._number}"
        answers = Answers()
        for kind in ORDER_QUESTIONS:
            answer = await self._queries.ask(kind, run_id)
            answers = answers.with_answer(answer.question, answer.rows)
        await self._log.flush()
        ours = await load_our_side(self._reader, answers, order_ids)
        scope = Scope(
            client_id=self._session.client_id,
            accounts=(),
            now=now,
            doubt_settle=timedelta(0),
            run_id=run_id,
        )
        facts: list[Event] = [
            *refusals(ours, answers, scope, order_ids),
            *_doubts(ours, answers, order_ids),
        ]
        context = Context(
            actor="reconciler",
            session_epoch=self._session.current_epoch,
            correlation_id=run_id,
            causation_sequence=max(q.asked_sequence for q in answers.questions.values()),
        )
        if facts:
            await self._log.append_together([Pending(fact, context) for fact in facts])


def _doubts(ours: OurSide, answers: Answers, order_ids: Sequence[str]) -> Iterator[OrderDoubted]:
    failed = [q for q in answers.questions.values() if q.outcome != "complete"]
    words = " and ".join(f"{q.kind} were {q.outcome}".replace("_", " ") for q in failed)
    for order_id in order_ids if failed else ():
        heard = answered_with(ours.orders[order_id])
        if heard:
            text = f"IB answered it with {heard}; what became of it is not known: {words}"
            yield OrderDoubted(order_id=order_id, text=text)
