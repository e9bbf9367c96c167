"""What people ask for at a shell: requests in the log, and the one who carries them out.

A request is durable before anybody acts on it, and it is only a request: the daemon qualifies the
contract, checks, and then intends or denies the order, each as an event that names the request as
its cause. A request that is older than the limit when the daemon sees it (it was down, or the line
was) is denied: a price of ten minutes ago is not what the person wants now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from oms.clock import Clock
from oms.core.admit.rule import Denial
from oms.core.asked import in_words
from oms.core.contracts import Contract
from oms.core.events import (
    BreakAssigned,
    BreakClosed,
    BreakExplained,
    CancelDenied,
    CancelIntended,
    CancelRequested,
    CaseActionProposed,
    CaseRequestDenied,
    CaseRequested,
    Context,
    DoubtResolutionDenied,
    DoubtResolutionRequested,
    Envelope,
    Event,
    GlobalCancelDenied,
    GlobalCancelIntended,
    GlobalCancelRequested,
    ModifyDenied,
    ModifyIntended,
    ModifyRequested,
    OrderRequested,
    Pending,
    QuoteAnswered,
    QuoteRequested,
    ReconciliationRequested,
    WhatIfAnswered,
    WhatIfRequested,
)
from oms.core.fold.records import Order, SystemRecord
from oms.core.members import members
from oms.core.order_types import as_changes
from oms.core.quotes import Quote
from oms.core.values import fields_of
from oms.core.watch import STEP
from oms.errors import OmsError
from oms.service.case_requests import CaseRequests
from oms.service.entry import as_denial
from oms.service.manager import OrderManager
from oms.service.reconciler import Reconciler
from oms.service.sending import By
from oms.telemetry import get_logger

if TYPE_CHECKING:
    from oms.store.log import EventLog
    from oms.store.reader import Reader

log = get_logger("service.requests")

#: What says that a request was taken up.
_ANSWERS: Final[Mapping[type[Event], tuple[type[Event], ...]]] = {
    ModifyRequested: (ModifyIntended, ModifyDenied),
    CancelRequested: (CancelIntended, CancelDenied),
    GlobalCancelRequested: (GlobalCancelIntended, GlobalCancelDenied),
    CaseRequested: (
        BreakAssigned,
        BreakExplained,
        BreakClosed,
        CaseActionProposed,
        CaseRequestDenied,
    ),
}
#: Events of one page.
_PAGE: Final = 1_000

#: How long a reconciliation that a person asked for waits for the line: one attempt to connect.
LINE_SECONDS_MAX: Final = 15.0

Request = (
    OrderRequested
    | ModifyRequested
    | CancelRequested
    | CaseRequested
    | DoubtResolutionRequested
    | WhatIfRequested
    | QuoteRequested
    | GlobalCancelRequested
    | ReconciliationRequested
)


class Requests:
    """Carries out what the log asks for."""

    def __init__(
        self,
        *,
        log: EventLog,
        manager: OrderManager,
        reconciler: Reconciler,
        cases: CaseRequests,
        price: Callable[[Contract], Awaitable[Quote]],
        clock: Clock,
        age_seconds_max: float,
    ) -> None:
        """`price` asks for the market of a qualified contract."""
        self._log = log
        self._manager = manager
        self._reconciler = reconciler
        self._cases = cases
        self._price = price
        self._clock = clock
        self._age_max = timedelta(seconds=age_seconds_max)
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue()

    def note(self, envelopes: Iterable[Envelope]) -> None:
        """Queue the requests of a commit; called on the loop with every commit."""
        for envelope in envelopes:
            if isinstance(envelope.event, Request):
                self._queue.put_nowait(self._dated(envelope))

    def _dated(self, envelope: Envelope) -> Envelope:
        """Date a request by when it is heard where the machine's clock is behind the log: its
        writer could only take the last time of the log, which may be old.
        """
        now = self._clock.now()
        is_behind = self._clock.wall() < now - STEP
        return replace(envelope, recorded_at=now) if is_behind else envelope

    async def deny_stale(self, reader: Reader) -> None:
        """Deny what was asked of earlier daemons and what they did not take up.

        A daemon does this before it opens its first session; so whoever had one has done it, and
        only what came after that daemon's start can be left over.
        """
        system = await reader.one("system", "system")
        if not isinstance(system, SystemRecord) or not system.daemon_started_sequence:
            return
        kinds: set[type[Event]] = {OrderRequested, *_ANSWERS}
        kinds.update(answer for answers in _ANSWERS.values() for answer in answers)
        by_type: dict[type[Event], list[Envelope]] = {kind: [] for kind in kinds}
        # In one pass: each goes through everything that the last daemon wrote.
        since, until = system.served_from_sequence, system.daemon_started_sequence
        for envelope in await _events(reader, kinds, since, until):
            if type(envelope.event) in by_type:  # Else its text cannot be read: it was set aside.
                by_type[type(envelope.event)].append(envelope)
        for envelope in by_type[OrderRequested]:
            event = envelope.event
            assert isinstance(event, OrderRequested)
            if await reader.one("orders", event.order_id) is None:
                await self._deny_order(envelope, event, self._left_over(envelope))
        for request, answers in _ANSWERS.items():
            answered = {e.context.causation_sequence for answer in answers for e in by_type[answer]}
            for envelope in by_type[request]:
                if envelope.sequence in answered:
                    continue
                text = self._left_over(envelope).text
                if request is CaseRequested:
                    await self._cases.deny(envelope, text)
                elif request is GlobalCancelRequested:
                    await self._say(envelope, GlobalCancelDenied(text=text))
                else:
                    await self._deny_change(envelope, reader)

    async def serve(self) -> None:
        """Carry out requests for ever: those about one order in turn, others side by side.

        A cancel must not wait behind another order's contract look-up, nor behind a reconciliation.
        """
        latest: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                envelope = await self._queue.get()
                subject = _subject(envelope)
                before = latest.get(subject)
                task = tasks.create_task(self._serve_one(envelope, before))
                latest[subject] = task
                task.add_done_callback(_forget(latest, subject))

    async def _serve_one(self, envelope: Envelope, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        log.info("request_taken", sequence=envelope.sequence, request=type(envelope.event).__name__)
        try:
            # Words that fit the request may be too long for what is made of them.
            with in_words():
                await self._carry_out(envelope)
        except OmsError as error:
            log.warning(
                "request_refused",
                sequence=envelope.sequence,
                reason=error.message,
                hint=error.hint,
            )
            await self._refuse(envelope, error)

    async def _carry_out(self, envelope: Envelope) -> None:
        by = By(envelope.context.actor, envelope.sequence)
        match _request_of(envelope):
            case OrderRequested() as event:
                if self._clock.now() - envelope.recorded_at > self._age_max:
                    await self._deny_order(envelope, event, self._too_old(envelope))
                else:
                    await self._submit(event, by)
            case ModifyRequested() as event:
                await self._manager.modify(
                    event.order_id, reason=event.reason, by=by, **as_changes(fields_of(event))
                )
            case CancelRequested() as event:
                await self._manager.cancel(event.order_id, reason=event.reason, by=by)
            case DoubtResolutionRequested() as event:
                await self._manager.resolve(event.order_id, event.outcome, event.reason, by=by)
            case WhatIfRequested() as event:
                await self._what_if(envelope, event)
            case QuoteRequested() as event:
                await self._quote(envelope, event)
            case GlobalCancelRequested() as event:
                await self._manager.cancel_everything(reason=event.reason, by=by)
                # IB tells a client about its own orders; what became of others has to be asked.
                await self._reconciler.run("global cancel", asked_by=envelope.sequence)
            case CaseRequested():
                await self._cases.carry_out(envelope)
            case ReconciliationRequested() as event:
                await self._line()
                await self._reconciler.run(
                    event.reason or "request",
                    request_id=event.request_id,
                    account=event.account,
                    asked_by=envelope.sequence,
                )
            case _ as unknown:
                assert_never(unknown)

    async def _line(self) -> None:
        """Wait a while for a line that is being made again, and for the comparison that follows.

        Without one the comparison runs all the same and says that nothing is known.
        """
        view = self._manager.view
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINE_SECONDS_MAX):
                await view.until(lambda: view.system.ready)

    async def _submit(self, event: OrderRequested, by: By) -> None:
        if event.take_profit is None or event.stop_loss is None:
            await self._manager.submit(
                event.contract,
                event.terms,
                account=event.account or None,
                order_id=event.order_id,
                reason=event.reason,
                closing=event.closing,
                by=by,
            )
            return
        await self._manager.submit_bracket(
            event.contract,
            event.terms,
            take_profit=event.take_profit,
            stop_loss=event.stop_loss,
            account=event.account or None,
            order_id=event.order_id,
            reason=event.reason,
            by=by,
        )

    async def _what_if(self, envelope: Envelope, event: WhatIfRequested) -> None:
        """Ask IB, and write the answer where the person who asked will look."""
        found = await self._manager.what_if(
            event.contract, event.terms, account=event.account or None
        )
        said = fields_of(found)
        said = {name: said[name] for name in said if name in members(WhatIfAnswered)}
        await self._say(envelope, WhatIfAnswered(request_id=event.request_id, **said))

    async def _quote(self, envelope: Envelope, event: QuoteRequested) -> None:
        contract = await self._manager.qualify(event.contract)
        found = await self._price(contract)
        answer = QuoteAnswered(
            request_id=event.request_id,
            contract=contract,
            bid=found.bid,
            ask=found.ask,
            last=found.last,
            close=found.close,
            bid_size=found.bid_size,
            ask_size=found.ask_size,
            heard_at=found.at,
            market_type=found.market_type,
        )
        await self._say(envelope, answer)

    async def _refuse(self, envelope: Envelope, error: OmsError) -> None:
        """Write why a request came to nothing, where the person who asked will look."""
        match _request_of(envelope):
            case OrderRequested() as event:
                await self._deny_order(envelope, event, as_denial(error))
            case ModifyRequested() as event:
                denied_change = ModifyDenied(
                    order_id=event.order_id, text=error.message, intended=False
                )
                await self._say(envelope, denied_change)
            case CancelRequested() as event:
                await self._say(envelope, CancelDenied(order_id=event.order_id, text=error.message))
            case DoubtResolutionRequested() as event:
                denied = DoubtResolutionDenied(order_id=event.order_id, text=error.message)
                await self._say(envelope, denied)
            case WhatIfRequested() as event:
                refusal = WhatIfAnswered(request_id=event.request_id, refusal=error.message)
                await self._say(envelope, refusal)
            case QuoteRequested() as event:
                quote = QuoteAnswered(request_id=event.request_id, refusal=error.message)
                await self._say(envelope, quote)
            case GlobalCancelRequested():
                await self._say(envelope, GlobalCancelDenied(text=error.message))
            case CaseRequested():
                await self._cases.refuse(envelope, error)
            case ReconciliationRequested():
                pass  # no report comes, and why is in the program's messages
            case _ as unknown:
                assert_never(unknown)

    async def _deny_order(self, envelope: Envelope, event: OrderRequested, denial: Denial) -> None:
        await self._manager.deny(event, denial, By(envelope.context.actor, envelope.sequence))

    async def _deny_change(self, envelope: Envelope, reader: Reader) -> None:
        event = envelope.event
        assert isinstance(event, ModifyRequested | CancelRequested)
        order = await reader.one("orders", event.order_id)
        if isinstance(event, CancelRequested) and not (isinstance(order, Order) and order.live):
            return  # it has ended, which is what the person wanted
        log.warning("request_stale", sequence=envelope.sequence, order_id=event.order_id)
        text = self._left_over(envelope).text
        if isinstance(event, CancelRequested):
            await self._say(envelope, CancelDenied(order_id=event.order_id, text=text))
        else:
            denied = ModifyDenied(order_id=event.order_id, text=text, intended=False)
            await self._say(envelope, denied)

    async def _say(self, envelope: Envelope, event: Event) -> None:
        context = Context(
            actor="daemon",
            correlation_id=envelope.context.correlation_id,
            causation_sequence=envelope.sequence,
        )
        await self._log.append(Pending(event, context))

    def _left_over(self, envelope: Envelope) -> Denial:
        age = (self._clock.now() - envelope.recorded_at).total_seconds()
        return Denial(
            "request_age",
            f"{age:.0f} s",
            "the start of this daemon",
            "the daemon that was asked stopped before it took the request up; ask again",
        )

    def _too_old(self, envelope: Envelope) -> Denial:
        age = (self._clock.now() - envelope.recorded_at).total_seconds()
        return Denial(
            "request_age",
            f"{age:.0f} s",
            f"{self._age_max.total_seconds():.0f} s",
            f"the request was {age:.0f} s old when the daemon could act on it; ask again",
        )


async def _events(
    reader: Reader, kinds: Iterable[type[Event]], after: int, before: int
) -> list[Envelope]:
    """Return every event of some types between two sequences."""
    names = sorted(kind.__name__ for kind in kinds)
    found: list[Envelope] = []
    while True:
        page = await reader.events(after, before=before, type=names, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            return found
        after = page[-1].sequence


def _request_of(envelope: Envelope) -> Request:
    assert isinstance(envelope.event, Request)
    return envelope.event


def _subject(envelope: Envelope) -> str:
    """Return what a request is about: those about one thing are carried out in turn."""
    match _request_of(envelope):
        case (
            OrderRequested()
            | ModifyRequested()
            | CancelRequested()
            | DoubtResolutionRequested() as event
        ):
            return event.order_id
        case CaseRequested() as event:
            return event.break_id
        case ReconciliationRequested() | WhatIfRequested() | QuoteRequested() as event:
            return event.request_id
        case GlobalCancelRequested():
            return "global cancel"
        case _ as unknown:
            assert_never(unknown)


def _forget(
    latest: dict[str, asyncio.Task[None]], subject: str
) -> Callable[[asyncio.Task[None]], None]:
    """Return what takes an ended task out of the table, unless a later one stands there."""

    def forget(task: asyncio.Task[None]) -> None:
        if latest.get(subject) is task:
            del latest[subject]

    return forget
