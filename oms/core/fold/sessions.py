"""Folds of the daemon, its sessions and their gaps."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from oms.core.events import (
    Context,
    DaemonStarted,
    DaemonStopped,
    Envelope,
    GapClosed,
    GapOpened,
    HaltInForce,
    LossAccepted,
    NextOrderIdReceived,
    SessionClosed,
    SessionOpened,
    SessionReady,
    TradingHaltedByPerson,
    TradingResumed,
)
from oms.core.fold.books import Books, set_system, settle
from oms.core.fold.fold import Fold
from oms.core.fold.order_state import answered_with
from oms.core.fold.records import Anomaly, SessionRecord, SystemRecord
from oms.core.fold.wants import Want, Wants, nothing


def _daemon_started(books: Books, envelope: Envelope, event: DaemonStarted) -> None:
    for session in books.all(SessionRecord):
        if session.live:
            reason = "the process ended without closing it"
            books.put(session.evolve(closed_at=envelope.recorded_at, close_reason=reason))
    _doubt(books, envelope, "the process ended")
    set_system(
        books,
        connected=False,
        ready=False,
        process_id=event.process_id,
        daemon_started_at=envelope.recorded_at,
        daemon_started_sequence=envelope.sequence,
        daemon_stopped_at=None,
        # Blind since the last word of the daemon before, not since this one began.
        **_gap(books, envelope, "daemon was down", event.last_recorded_at)
        if books.system.session_epoch
        else {},
    )


def _gap(
    books: Books, envelope: Envelope, cause: str, opened_at: datetime | None = None
) -> dict[str, object]:
    if books.system.gap_sequence:
        return {}
    return {
        "gap_sequence": envelope.sequence,
        "gap_cause": cause,
        "gap_opened_at": opened_at or envelope.recorded_at,
        "gap_closed_at": None,
    }


def _daemon_stopped(books: Books, envelope: Envelope, event: DaemonStopped) -> None:
    set_system(books, daemon_stopped_at=envelope.recorded_at, connected=False, ready=False)


def _session_opened(books: Books, envelope: Envelope, event: SessionOpened) -> None:
    epoch = envelope.context.session_epoch
    # An id that left and never arrived is rightly offered again; one that IB has shown is not.
    shown = books.system.shown_broker_order_ids.get(event.client_id, 0)
    if event.next_broker_order_id <= shown:
        text = (
            f"next order id {event.next_broker_order_id} of client {event.client_id} is not above"
            f" {shown}, under which IB has shown an order; ids of this session may name other"
            " orders"
        )
        found = Anomaly(
            sequence=envelope.sequence, kind="order_id_rollback", text=text, severity="medium"
        )
        books.put(found)
    books.put(
        SessionRecord(
            epoch=epoch,
            host=event.host,
            port=event.port,
            client_id=event.client_id,
            server_version=event.server_version,
            accounts=event.accounts,
            next_broker_order_id=event.next_broker_order_id,
            opened_at=envelope.recorded_at,
            opened_sequence=envelope.sequence,
        )
    )
    set_system(
        books,
        session_epoch=epoch,
        client_id=event.client_id,
        connected=True,
        ready=False,
        served_from_sequence=books.system.daemon_started_sequence,
        gateway_zone=event.gateway_zone,
        clock_shown=event.connection_time,
        clock_shown_at=envelope.recorded_at,
        zone_utc_offset_minutes=event.zone_utc_offset_minutes,
        shown_utc_offset_minutes=event.shown_utc_offset_minutes,
        # A setting of the gateway may have changed; what is still wrong will show again.
        strange_time="",
        strange_time_at=None,
        unread_time="",
        unread_time_at=None,
    )


def _session_ready(books: Books, envelope: Envelope, event: SessionReady) -> None:
    session = books.get("sessions", str(envelope.context.session_epoch))
    if isinstance(session, SessionRecord) and session.live:
        books.put(session.evolve(ready_at=envelope.recorded_at))
        set_system(books, ready=True)


def _session_closed(books: Books, envelope: Envelope, event: SessionClosed) -> None:
    session = books.get("sessions", str(envelope.context.session_epoch))
    if isinstance(session, SessionRecord):
        books.put(
            session.evolve(
                closed_at=envelope.recorded_at,
                close_reason=event.reason,
                deliberate=event.deliberate,
            )
        )
    _doubt(books, envelope, "the line was lost", event.reason)
    set_system(books, connected=False, ready=False)


def _doubt(books: Books, envelope: Envelope, cause: str, reason: str = "") -> None:
    """Turn what may have left and was not answered into doubt: silence is not an outcome.

    An intent without a sent event counts too when the process died: the bytes may have left before
    the event was durable.
    """
    crashed = isinstance(envelope.event, DaemonStarted)
    for order in books.unanswered():
        if order.doubt or not (order.sent or crashed):
            continue
        heard = answered_with(order)
        why = f"{cause} before IB " + (f"said more than {heard!r}" if heard else "answered")
        doubt = f"{why}: {reason}" if reason else why
        settle(books, envelope, order, {"doubt": doubt, "doubt_sequence": envelope.sequence})


def _gap_opened(books: Books, envelope: Envelope, event: GapOpened) -> None:
    set_system(books, ready=False, **_gap(books, envelope, event.cause))


def _gap_closed(books: Books, envelope: Envelope, event: GapClosed) -> None:
    set_system(
        books,
        gap_sequence=0,
        gap_cause="",
        gap_opened_at=None,
        gap_closed_at=envelope.recorded_at,
    )


def switched(system: SystemRecord, envelope: Envelope) -> SystemRecord:
    """Return the state of the whole after somebody halted or resumed trading."""
    match envelope.event:
        case TradingHaltedByPerson(reason=reason):
            return system.evolve(halted=True, halt_reason=reason, halt_actor=envelope.context.actor)
        case TradingResumed():
            return system.evolve(halted=False, halt_reason="", halt_actor="")
        case _:
            return system


def _switched(
    books: Books, envelope: Envelope, event: TradingHaltedByPerson | TradingResumed
) -> None:
    books.put(switched(books.system, envelope))


def _halt_in_force(books: Books, envelope: Envelope, event: HaltInForce) -> None:
    """Keep nothing: what was called back has events of its own."""


def _loss_accepted(books: Books, envelope: Envelope, event: LossAccepted) -> None:
    """Keep nothing: the daemon's start, which follows, puts in doubt what was open."""


def _next_order_id(books: Books, envelope: Envelope, event: NextOrderIdReceived) -> None:
    """Keep nothing: the session's first one is in SessionOpened, later ones answer reqIds."""


def _for_session(event: SessionClosed, context: Context, books: Books) -> Wants:
    return (Want("sessions", "", str(context.session_epoch)),)


FOLDS: Final = (
    Fold(DaemonStarted, _daemon_started, nothing),
    Fold(DaemonStopped, _daemon_stopped, nothing),
    Fold(SessionOpened, _session_opened, nothing),
    Fold(SessionReady, _session_ready, nothing),
    Fold(SessionClosed, _session_closed, _for_session),
    Fold(GapOpened, _gap_opened, nothing),
    Fold(GapClosed, _gap_closed, nothing),
    Fold(TradingHaltedByPerson, _switched, nothing),
    Fold(TradingResumed, _switched, nothing),
    Fold(HaltInForce, _halt_in_force, nothing),
    Fold(LossAccepted, _loss_accepted, nothing),
    Fold(NextOrderIdReceived, _next_order_id, nothing),
)
