"""What people ask for about cases, carried out: the daemon's part of `oms assign` and the like."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from oms.core.compare.case_actions import carried_out
from oms.core.compare.cases import break_ids_of
from oms.core.events import CaseRequestDenied, CaseRequested, Context, Envelope, Event, Pending
from oms.core.fold.records import BreakCase, Order, Position
from oms.errors import NotFound, OmsError
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.case_desk")


class CaseRequests:
    """Turns requests about cases into what becomes of them."""

    def __init__(self, *, log: EventLog, reader: Reader, notional_max: Decimal | None) -> None:
        """`notional_max` is the value above which a second person is needed; None: never."""
        self._log = log
        self._reader = reader
        self._notional_max = notional_max

    async def carry_out(self, envelope: Envelope) -> None:
        """Write what a request makes of its case, all or nothing, in the name of who asked."""
        request = envelope.event
        assert isinstance(request, CaseRequested)
        # What was handed over before is in the rows: two requests at once see one another.
        await self._log.flush()
        case = await self._reader.one("breaks", request.break_id)
        if not isinstance(case, BreakCase):
            raise NotFound(f"there is no break {request.break_id}", hint="`oms breaks --all`")
        twin = await self._twin(case)
        events = carried_out(
            case,
            request,
            envelope.context.actor,
            notional_max=self._notional_max,
            position=await self._position(case, twin),
            order=await self._order(case),
            twin=twin,
        )
        await self._log.append_together([self._fact(envelope, event) for event in events])
        log.info("case_request_done", break_id=case.break_id, action=request.action)

    async def deny(self, envelope: Envelope, text: str) -> None:
        """Write why a request came to nothing."""
        request = envelope.event
        assert isinstance(request, CaseRequested)
        denied = CaseRequestDenied(
            request_id=request.request_id, break_id=request.break_id, text=text
        )
        await self._log.append(self._fact(envelope, denied, actor="daemon"))

    async def refuse(self, envelope: Envelope, error: OmsError) -> None:
        """Write the error that a request ended in."""
        await self.deny(
            envelope, f"{error.message} ({error.hint})" if error.hint else error.message
        )

    async def _twin(self, case: BreakCase) -> BreakCase | None:
        """Return the other open case of the same difference, where the log has one."""
        numbers = sorted({*break_ids_of(case.finding)} - {case.break_id})
        rows = await self._reader.rows("breaks", {"break_id": numbers, "status": "open"})
        return next((row for row in rows if isinstance(row, BreakCase)), None)

    async def _order(self, case: BreakCase) -> Order | None:
        """Return the order that a case is about."""
        found = await self._reader.one("orders", case.finding.order_id)
        return found if isinstance(found, Order) else None

    async def _position(self, case: BreakCase, twin: BreakCase | None) -> Position | None:
        """Return the position that a case is about."""
        wanted = case.proposed or (None if twin is None else twin.proposed)
        if wanted is None or wanted.contract is None:
            return None
        key = f"{wanted.account}:{wanted.contract.con_id}"
        found = await self._reader.one("positions", key)
        return found if isinstance(found, Position) else None

    @staticmethod
    def _fact(envelope: Envelope, event: Event, actor: str = "") -> Pending:
        context = Context(
            actor=actor or envelope.context.actor,
            correlation_id=envelope.context.correlation_id,
            causation_sequence=envelope.sequence,
        )
        return Pending(event, context)
