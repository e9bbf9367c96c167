"""The quick check between two reconciliations: open orders and positions, nothing else.

It repairs nothing, opens and closes no case and writes no report: its questions and answers are in
the log like any other. It only says whether something is there that the last full run did not know,
and then a full run follows, which asks everything before it judges. So a fill whose push was lost,
or an order entered by hand, is noticed within a minute for the price of two questions.

If the process dies in it, nothing is lost: the next session begins with a full run.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from oms.clock import Clock
from oms.core.compare.adoption import adoptions
from oms.core.compare.cases import unsettled
from oms.core.compare.sides import Answers, Scope
from oms.core.events import Finding, QueryKind, ReconciliationCompleted
from oms.core.fold.records import RunRecord
from oms.service.our_side import compare_at_rest, load_cases, load_our_side
from oms.service.view import View
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.broker.queries import Queries
    from oms.broker.session import Session
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.glance")

#: What is asked: what can still change, and what has. Neither has to be searched for at IB.
QUICK_QUESTIONS: Final[tuple[QueryKind, ...]] = ("open_orders", "positions")


class QuickCheck:
    """Looks whether a full reconciliation is needed."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: Reader,
        queries: Queries,
        session: Session,
        view: View,
        clock: Clock,
        position_settle: timedelta = timedelta(0),
    ) -> None:
        self._log = log
        self._reader = reader
        self._queries = queries
        self._session = session
        self._view = view
        self._clock = clock
        self._position_settle = position_settle
        self._number = 0

    async def look(self) -> bool:
        """Ask and compare; return whether a full run is needed, because something is new or was not
        answered.
        """
        self._number += 1
        now = self._clock.now()
        run_id = f"G{now:%Y%m%dT%H%M%S}-{self._session.current_epoch}.{self._number}"
        await self._log.flush()
        reached = self._log.head.sequence
        answers = Answers()
        for answer in await self._queries.ask_again(QUICK_QUESTIONS, run_id):
            # In the log the question may stand since the session began.
            question = answer.question.evolve(asked_sequence=reached)
            answers = answers.with_answer(question, answer.rows)
        await self._log.flush()
        in_cases = {case.finding.order_id for case in self._view.open_breaks()}
        ours = await load_our_side(self._reader, answers, in_cases)
        scope = Scope(
            client_id=self._session.client_id,
            accounts=self._view.session.accounts if self._view.session else (),
            now=now,
            doubt_settle=timedelta(0),
            run_id=run_id,
            position_settle=self._position_settle,
        )
        found = await asyncio.to_thread(compare_at_rest, ours, ours, answers, scope)
        cases = await load_cases(self._reader, found.findings, self._view.open_breaks())
        news = unsettled(cases, found.findings)
        if news:
            news = unsettled(cases, found.findings, await self._reported())
        # An order that the books do not have at all is nobody's finding before it is adopted.
        strangers = list(adoptions(ours, answers, scope))
        log.info(
            "glance_completed",
            run_id=run_id,
            findings=len(found.findings),
            news=len(news) + len(strangers),
        )
        return bool(news or strangers)

    async def _reported(self) -> tuple[Finding, ...]:
        """Return what the last full run has found."""
        run = await self._reader.one("runs", self._view.system.last_run_id)
        if not isinstance(run, RunRecord) or not run.sequence:
            return ()
        report = (await self._reader.event(run.sequence)).event
        return report.findings if isinstance(report, ReconciliationCompleted) else ()
