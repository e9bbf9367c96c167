"""What an order would cost: asked of IB in the form of an order that never becomes one.

The question is a placeOrder with the flag whatIf; the answer is one openOrder with the flag, or an
error that names the number under which it was asked. Both are in the log (OrderMessageSent of kind
what_if, WhatIfReceived or NoticeReceived). It carries no orderRef: should a gateway ever lose the
flag, the order that appears is nobody's, and reconciliation reports it.

IB asks for at most one in ten orders (broker notes: what-if).
"""

from __future__ import annotations

import asyncio
import uuid

from oms.broker.capture import Asked, Capture, Captured, Cause
from oms.broker.news import News, SessionDown
from oms.broker.outbox import Outbox
from oms.broker.session import Session
from oms.core.codes import meaning
from oms.core.contracts import Contract
from oms.core.events import Event, NoticeReceived, Terms, WhatIfReceived
from oms.core.outgoing import Outgoing
from oms.errors import IBConnectionError, IBOrderRejectError


class Previews:
    """Asks, and waits for the answer no longer than for any other question."""

    def __init__(
        self, capture: Capture, session: Session, outbox: Outbox, *, timeout_seconds: float
    ) -> None:
        self._session = session
        self._outbox = outbox
        self._timeout_seconds = timeout_seconds
        #: By the number under which it was asked.
        self._open: dict[int, asyncio.Future[WhatIfReceived]] = {}
        #: The question asked under that number, by its name.
        self._names: dict[int, str] = {}
        capture.listeners.append(self._on_captured)
        capture.askers.append(self._asked)
        session.listeners.append(self._on_news)

    async def ask(self, *, account: str, contract: Contract, terms: Terms) -> WhatIfReceived:
        """Return IB's answer; raises `IBOrderRejectError` with IB's words where it refuses, and
        `IBConnectionError` where no answer comes, because the line is lost or IB is silent.
        """
        broker_order_id = self._session.next_broker_order_id()
        answer: asyncio.Future[WhatIfReceived] = asyncio.get_running_loop().create_future()
        self._open[broker_order_id] = answer
        try:
            question = Outgoing(
                kind="what_if",
                order_id=f"what-if-{uuid.uuid4().hex}",
                broker_order_id=broker_order_id,
                account=account,
                contract=contract,
                terms=terms,
            )
            self._names[broker_order_id] = question.order_id
            handed = self._outbox.send(question)
            if handed == "not_sent":
                raise IBConnectionError("the what-if could not leave: there is no line")
            async with asyncio.timeout(self._timeout_seconds):
                return await answer
        except TimeoutError as error:
            if self._outbox.withdraw(question):
                raise IBConnectionError(
                    f"the what-if waited {self._timeout_seconds:g} seconds behind other messages,"
                    " and did not leave"
                ) from error
            raise IBConnectionError(
                f"IB did not say within {self._timeout_seconds:g} seconds what the order would cost"
            ) from error
        finally:
            del self._open[broker_order_id]
            self._names.pop(broker_order_id, None)

    def _asked(self, event: Event, wire: tuple[str, ...]) -> Asked | None:
        """Return the what-if that a fact answers, by its number."""
        match event:
            case WhatIfReceived(broker_order_id=number) | NoticeReceived(subject_id=number):
                name = self._names.get(number)
                return None if name is None else Asked(Cause(name))
            case _:
                return None

    def _on_captured(self, captured: Captured) -> None:
        if not self._open:
            return
        match captured.event:
            case WhatIfReceived(broker_order_id=number) | NoticeReceived(subject_id=number):
                if number in self._open:
                    # Nobody acts on what is not in the log yet.
                    durable, event = captured.durable, captured.event
                    durable.add_done_callback(lambda _: self._answer(number, event))
            case _:
                pass

    def _answer(self, number: int, event: Event) -> None:
        answer = self._open.get(number)
        if answer is None or answer.done():
            return
        match event:
            case WhatIfReceived():
                answer.set_result(event)
            case NoticeReceived(code=code, text=text) if meaning(code).kind != "warning":
                words = f"IB refused the what-if ({code}): {text}"
                answer.set_exception(IBOrderRejectError(words, code=code))
            case _:
                pass

    def _on_news(self, news: News) -> None:
        if isinstance(news, SessionDown):
            for answer in self._open.values():
                if not answer.done():
                    lost = f"the line was lost during the what-if: {news.reason}"
                    answer.set_exception(IBConnectionError(lost))
