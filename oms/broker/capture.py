"""The tap: every order message that crosses the wire becomes one fact, before anything acts on it.

It sits below ib_async's state, at the decoder for what comes in and at the connection for what goes
out (decision D2), because ib_async's own events drop, merge and invent. Its handlers for order
messages do not run at all: none of the state that they build is used here, and they are its slowest
part. Market data goes to `market_data`, with its wire text. What the rest of ib_async lives on
(contract details, errors of requests) is passed on after it was recorded.

Promises: one fact per message, in the order of arrival, with its wire fields; a message that cannot
be translated is stored as `BrokerMessageUnreadable`, and counted (`repeats`) where it comes word
for word again; market data is not stored. A fact that the log does not take is never dropped in
silence: `on_failure` is called, once, and its business is to stop the daemon. Nothing is raised
into the socket's callback, where ib_async would swallow it.

If the process dies between the arrival of a message and its commit, the message is lost here and
asked for again by the reconciliation of the next start.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from ib_async import IB

from oms.broker import patches
from oms.broker.repeats import Repeats, is_stored
from oms.broker.said import Said
from oms.broker.sink import Durable, Sink
from oms.broker.ticks import MARKET_MESSAGES
from oms.broker.translate import (
    CONTRACT_DETAILS,
    DECODER,
    Unreadable,
    translate,
    unreadable,
    with_exchange_day,
)
from oms.clock import Clock
from oms.core.events import (
    BrokerMessageUnreadable,
    CompletedOrderReceived,
    Context,
    Event,
    ExecutionReceived,
    OpenOrderReceived,
    OrderMessageSent,
    Pending,
    Stamp,
)
from oms.core.keys import can_be_key
from oms.core.outgoing import Outgoing

ACTOR: Final = "broker"
#: Who hands our messages to the socket.
SENDER: Final = "daemon"

#: Server messages that only order management reads. ib_async's handlers for them would rebuild, at
#: forty times the cost, a state that the log holds. Notices (4) and ids (9, 15) it gets as well.
_OURS_ALONE: Final = frozenset(
    {"3", "5", "6", "7", "11", "53", "54", "55", "59", "61", "62", "63", "64"}
    | {"71", "72", "73", "74", "100", "101", "102"}
)
#: Facts of IB's that carry what an order was given for a name.
_NAMING: Final = (OpenOrderReceived, ExecutionReceived, CompletedOrderReceived)
#: placeOrder, cancelOrder, reqGlobalCancel.
_ORDER_REQUESTS: Final = (b"3\0", b"4\0", b"58\0")
#: Where orderRef stands in placeOrder, the same in every version that we speak.
_ORDER_REF: Final = 26
#: Bytes of the length before every message.
_PREFIX: Final = 4


class Held(Exception):
    """An order message may not leave this moment; nothing of it has left."""


class Cause(NamedTuple):
    """Why something is said: a run or a question of ours is under way."""

    #: Of the run, or of the question.
    correlation_id: str
    #: Of the event that made us ask; None where none did.
    sequence: int | None = None


class Asked(NamedTuple):
    """The question that a message answers."""

    cause: Cause
    #: Nothing but the answer makes it come: it need not be stored where it says nothing new.
    is_row: bool = False


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
        clock: Clock,
        zone: ZoneInfo | None,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Install the tap. `zone` is the time zone that TWS was logged in with."""
        self.listeners: list[Callable[[Captured], None]] = []
        #: Each says of a fact, before it is handed over, which question of its own it answers.
        self.askers: list[Callable[[Event, tuple[str, ...]], Asked | None]] = []
        #: What was said last of each thing.
        self.said = Said()
        #: When the bytes of the message that is being read came.
        self.received_at = clock.now()
        #: Called with every message about a market; these are not stored (decision D1).
        self.market_listener: Callable[[tuple[str, ...]], None] | None = None
        #: Called for every message that was handed to the socket, order message or not.
        self.sent_listeners: list[Callable[[], None]] = []
        #: Asked last before the bytes of an order message leave; `Held` is raised where it says no.
        self.may_leave: Callable[[], bool] = lambda: True
        #: What is being sent, while it is being sent; the bytes of a cancel do not name its order.
        self.sending: Outgoing | None = None
        self._sink = sink
        self._clock = clock
        self._stamp = Stamp(self.received_at, 0, DECODER)
        self._zone = zone
        self._on_failure = on_failure
        self._failed = False
        self._repeats = Repeats()
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
        version = patches.server_version(self._ib)
        event: Event
        occurred_at = None
        try:
            translated = translate(wire, version, self._zone)
        except Unreadable as error:
            self._record_unreadable(unreadable(wire, error), wire, version)
            return
        else:
            if translated is None:
                return
            event, occurred_at = translated
        self._keep(event, wire, version, occurred_at)

    def _keep(
        self,
        event: Event,
        wire: tuple[str, ...],
        version: int,
        occurred_at: datetime | None = None,
    ) -> Durable:
        if self._stamp.at is not self.received_at or self._stamp.server_version != version:
            self._stamp = Stamp(self.received_at, version, DECODER)
        asked = self._asked(event, wire)
        context = self._context_of(event, occurred_at, asked)
        repeats = self.said.repeated(event, wire) if asked is not None and asked.is_row else 0
        durable = self._append(event, context, wire, self._stamp, repeats)
        self.said.note(event, wire, durable)
        return durable

    def _record_unreadable(
        self, event: BrokerMessageUnreadable, wire: tuple[str, ...], version: int
    ) -> None:
        repeat = self._repeats.came(wire)
        if repeat.durable is None or is_stored(repeat.times):
            event = event.evolve(times=repeat.unstored_times)
            repeat.stored(self._keep(event, wire, version))
            return
        # No listener may take silence for it: an answer with such a row is not whole.
        for listener in self.listeners:
            listener(Captured(event, wire, repeat.durable))

    def _asked(self, event: Event, wire: tuple[str, ...]) -> Asked | None:
        """Return the question that a message answers."""
        for ask in self.askers:
            asked = ask(event, wire)
            if asked is not None:
                return asked
        return None

    def _context_of(
        self, event: Event, occurred_at: datetime | None, asked: Asked | None
    ) -> Context:
        """Return what is known of a message: the question that it answers, else the order whose
        name it carries. A status carries none; whose it is, the fold says (decision D1).
        """
        correlation_id, cause = None, None
        if asked is not None:
            correlation_id, cause = asked.cause
        elif isinstance(event, _NAMING) and can_be_key(event.order_ref):
            correlation_id = event.order_ref
        if occurred_at is None and correlation_id is None:
            return self._context
        return Context(ACTOR, self._context.session_epoch, occurred_at, correlation_id, cause)

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
        client_id, sending = self._ib.client.clientId, self.sending
        match wire[0]:
            case "3" if sending is not None and sending.kind == "what_if":
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
            actor=SENDER,
            session_epoch=self._context.session_epoch,
            correlation_id=(sending.order_id if sending else "") or event.order_ref or None,
            causation_sequence=sending.intent_sequence if sending else None,
        )
        stamp = Stamp(self._clock.now(), patches.server_version(self._ib))
        self._append(event, context, wire, stamp)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    def _append(
        self,
        event: Event,
        context: Context,
        wire: tuple[str, ...],
        stamp: Stamp,
        repeats: int = 0,
    ) -> Durable:
        durable = self._sink.append(Pending(event, context, wire, stamp, repeats))
        self._latest = durable
        if self._watched is None:
            self._watch(durable)
        captured = Captured(event, wire, durable)
        for listener in self.listeners:
            listener(captured)
        return durable

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
