"""The tap: every order message that crosses the wire becomes one fact, before anything acts on it.

It sits below ib_async's state, at the decoder for what comes in and at the connection for what goes
out (decision D2), because ib_async's own events drop, merge and invent. Its handlers for order
messages do not run at all: none of the state that they build is used here, and they are its slowest
part. Market data goes to `market_data`, with its wire text. What the rest of ib_async lives on
(contract details, errors of requests) is passed on after it was recorded.

Promises: one fact per message, in the order of arrival, with its wire fields; a message that cannot
be translated is stored as `BrokerMessageUnreadable`; market data is not stored. A fact that the log
does not take is never dropped in silence: `on_failure` is called, once, and its business is to stop
the daemon. Nothing is raised into the socket's callback, where ib_async would swallow it.

If the process dies between the arrival of a message and its commit, the message is lost here and
asked for again by the reconciliation of the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ib_async import IB

from oms.broker import patches
from oms.broker.sink import Durable, Sink
from oms.broker.ticks import MARKET_MESSAGES
from oms.broker.translate import (
    CONTRACT_DETAILS,
    Unreadable,
    translate,
    unreadable,
    with_exchange_day,
)
from oms.core.events import Context, Event, OrderMessageSent, Pending

ACTOR: Final = "broker"

#: Server messages that only order management reads. ib_async's handlers for them would rebuild, at
#: forty times the cost, a state that the log holds. Notices (4) and ids (9, 15) it gets as well.
_OURS_ALONE: Final = frozenset(
    {"3", "5", "6", "7", "11", "53", "54", "55", "59", "61", "62", "63", "64"}
    | {"71", "72", "73", "74", "100", "101", "102"}
)
#: placeOrder, cancelOrder, reqGlobalCancel.
_ORDER_REQUESTS: Final = (b"3\0", b"4\0", b"58\0")
#: Where orderRef stands in placeOrder, the same in every version that we speak.
_ORDER_REF: Final = 26
#: Bytes of the length before every message.
_PREFIX: Final = 4


class Held(Exception):
    """An order message may not leave this moment; nothing of it has left."""


class Captured(NamedTuple):
    """A fact that has just been handed to the log."""

    event: Event
    wire: tuple[str, ...]
    durable: Durable


class Capture:
    """Taps one `IB` object for its whole life; the tap survives reconnects."""

    def __init__(
        self,
        ib: IB,
        sink: Sink,
        *,
        zone: ZoneInfo | None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Install the tap. `zone` is the time zone that TWS was logged in with."""
        self.listeners: list[Callable[[Captured], None]] = []
        #: Called with every message about a market; these are not stored (decision D1).
        self.market_listener: Callable[[tuple[str, ...]], None] | None = None
        #: Called for every message that was handed to the socket, order message or not.
        self.sent_listeners: list[Callable[[], None]] = []
        #: Asked last before the bytes of an order message leave; `Held` is raised where it says no.
        self.may_leave: Callable[[], bool] = lambda: True
        #: Our order id of what is being sent, while it is being sent; a cancel does not carry it.
        self.subject: str | None = None
        #: True while what is being sent only asks what an order would cost.
        self.what_if = False
        self._sink = sink
        self._zone = zone
        self._on_failure = on_failure
        self._failed = False
        self._context = Context(actor=ACTOR)
        self._latest: Durable | None = None
        self._watched: Durable | None = None
        self._ib = ib
        self._interpret_rest = patches.tap_received(ib, self._interpret)
        self._write = patches.tap_sent(ib, self._send)

    @property
    def session_epoch(self) -> int:
        """The session that messages belong to from now on."""
        return self._context.session_epoch

    @session_epoch.setter
    def session_epoch(self, epoch: int) -> None:
        self._context = Context(actor=ACTOR, session_epoch=epoch)

    # ── in ───────────────────────────────────────────────────────────────────────────────────────

    def _interpret(self, fields: list[str]) -> None:
        try:
            if fields and fields[0] in MARKET_MESSAGES:
                if self.market_listener is not None:
                    self.market_listener(tuple(fields))
                return
            self._record_received(tuple(fields))
        except Exception as error:  # noqa: BLE001 - ib_async would log it and go on
            self._fail(error)
        if fields and fields[0] == CONTRACT_DETAILS:
            fields = with_exchange_day(fields, patches.server_version(self._ib), self._zone)
        if not fields or fields[0] not in _OURS_ALONE:
            self._interpret_rest(fields)

    def _record_received(self, wire: tuple[str, ...]) -> None:
        context = self._context
        event: Event
        try:
            translated = translate(wire, patches.server_version(self._ib), self._zone)
        except Unreadable as error:
            event = unreadable(wire, error)
        else:
            if translated is None:
                return
            event, occurred_at = translated
            if occurred_at is not None:
                context = Context(
                    actor=ACTOR, session_epoch=context.session_epoch, occurred_at=occurred_at
                )
        self._append(event, context, wire)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: bytes) -> None:
        if not patches.can_write(self._ib):
            # ib_async would drop it as well, and it may not be recorded as sent.
            return
        is_order = message.startswith(_ORDER_REQUESTS, _PREFIX)
        # Between this look and the system call of the socket nothing is made, encoded or awaited.
        if is_order and not self.may_leave():
            raise Held
        self._write(message)
        try:
            for listener in self.sent_listeners:
                listener()
            if is_order:
                self._record_sent(tuple(message[_PREFIX:-1].decode().split("\0")))
        except Exception as error:  # noqa: BLE001 - the bytes have left; the caller cannot undo it
            self._fail(error)

    def _record_sent(self, wire: tuple[str, ...]) -> None:
        client_id = self._ib.client.clientId
        match wire[0]:
            case "3" if self.what_if:
                event = OrderMessageSent(
                    kind="what_if", client_id=client_id, broker_order_id=int(wire[1])
                )
            case "3":
                event = OrderMessageSent(
                    kind="place",
                    client_id=client_id,
                    broker_order_id=int(wire[1]),
                    order_ref=wire[_ORDER_REF],
                )
            case "4":
                event = OrderMessageSent(
                    kind="cancel", client_id=client_id, broker_order_id=int(wire[2])
                )
            case _:
                event = OrderMessageSent(
                    kind="global_cancel", client_id=client_id, broker_order_id=0
                )
        context = Context(
            actor=ACTOR,
            session_epoch=self._context.session_epoch,
            correlation_id=self.subject or event.order_ref or None,
        )
        self._append(event, context, wire)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    def _append(self, event: Event, context: Context, wire: tuple[str, ...]) -> None:
        durable = self._sink.append(Pending(event, context, wire))
        self._latest = durable
        if self._watched is None:
            self._watch(durable)
        captured = Captured(event, wire, durable)
        for listener in self.listeners:
            listener(captured)

    def _watch(self, durable: Durable) -> None:
        # One callback at a time is enough: once an append has failed, all later ones fail.
        self._watched = durable
        durable.add_done_callback(self._settled)

    def _settled(self, durable: Durable) -> None:
        self._watched = None
        error = durable.exception()
        if error is not None:
            self._fail(error)
        elif self._latest is not None and self._latest is not durable:
            self._watch(self._latest)

    def _fail(self, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(error)
