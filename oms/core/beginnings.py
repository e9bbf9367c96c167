"""Why an event has no earlier one behind it: who or what began something, in a sentence.

Each type of event has its sentence, so that no answer of `oms why` ends without a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from oms.core import events
from oms.core.events import Envelope, Event

_PUSHED: Final = "IB sent it without being asked, as far as the log shows"
_ANSWER: Final = "the log does not show which question it answers"
_CONNECTING: Final = "IB sends it when a program connects, before the session has an event"
_WANTED: Final = "it was asked for by {actor}; nothing in the log stands behind that"
_OWN: Final = "the {actor} says it by itself, and names no earlier event"
_UNSAID: Final = "the version of the program that wrote it did not say what it follows from"

#: By type: what stands behind an event that names nothing and for which nothing was found.
BEGINNINGS: Final[Mapping[type[Event], str]] = {
    events.OrderStatusReceived: _PUSHED,
    events.OpenOrderReceived: _PUSHED,
    events.ExecutionReceived: _PUSHED,
    events.CommissionReceived: _PUSHED,
    events.NoticeReceived: _PUSHED,
    events.PositionReceived: _PUSHED,
    events.PortfolioReceived: _PUSHED,
    events.AccountValueReceived: _PUSHED,
    events.OrderBoundReceived: _PUSHED,
    events.BrokerMessageUnreadable: _PUSHED,
    events.NextOrderIdReceived: _CONNECTING,
    events.ManagedAccountsReceived: _CONNECTING,
    events.WhatIfReceived: _ANSWER,
    events.CompletedOrderReceived: _ANSWER,
    events.AnswerEndReceived: _ANSWER,
    events.EventSetAside: "what it follows from stands in a text that this program cannot read",
    events.NaturalKeyConflict: _UNSAID,
    events.QueryAsked: "the program asks it by itself, to know what IB has",
    events.QueryAnswered: _UNSAID,
    events.ReconciliationStarted: "the program compares by itself, and found no earlier event that"
    " called for it",
    events.ReconciliationCompleted: _UNSAID,
    events.StatementChecked: _WANTED,
    events.OpeningPositionRecorded: _UNSAID,
    events.CommissionRestated: _UNSAID,
    events.CashOpened: _UNSAID,
    events.BreakOpened: _UNSAID,
    events.BreakUpdated: _UNSAID,
    events.BreakClosed: _UNSAID,
    events.BreakAssigned: _WANTED,
    events.BreakExplained: _WANTED,
    events.CaseActionProposed: _WANTED,
    events.BooksAdjusted: _WANTED,
    events.CheckpointSigned: "{actor} signed it, by count, by time or at a shell",
    events.DaemonStarted: "a person or a service manager started the program; the log does not"
    " show who",
    events.LossAccepted: _WANTED,
    events.DaemonStopped: "the event says itself why the program ended",
    events.SessionOpened: "the program connects when it starts and after each loss of the line",
    events.SessionReady: _UNSAID,
    events.SessionClosed: "the event says itself why the session ended",
    events.ConnectFailed: "the program connects when it starts and after each loss of the line",
    events.GapOpened: "the program saw itself that the line no longer told everything",
    events.GapClosed: _UNSAID,
    events.TradingHaltedByPerson: _WANTED,
    events.HaltInForce: _UNSAID,
    events.TradingResumed: _WANTED,
    events.ProjectionsRebuilt: "`oms rebuild` or an upgrade made the rows again; the log does not"
    " show who ran it",
    events.BackupRestored: _WANTED,
    events.SegmentArchived: _WANTED,
    events.TextsRemoved: _WANTED,
    events.AccessGranted: _WANTED,
    events.AccessRevoked: _WANTED,
    events.HoldPlaced: _WANTED,
    events.HoldReleased: _WANTED,
    events.OrderIntended: _WANTED,
    events.OrderDenied: _WANTED,
    events.ModifyIntended: _WANTED,
    events.ModifyDenied: _WANTED,
    events.CancelIntended: _WANTED,
    events.CancelDenied: _WANTED,
    events.GlobalCancelIntended: _WANTED,
    events.GlobalCancelDenied: _WANTED,
    events.OrderMessageSent: "the program sent it, and the log does not show for which intent",
    events.OrderNotSent: _UNSAID,
    events.OrderDoubted: _OWN,
    events.DoubtResolved: _UNSAID,
    events.RequestNotTaken: _UNSAID,
    events.OrderAdopted: _UNSAID,
    events.OrderRequested: _WANTED,
    events.ModifyRequested: _WANTED,
    events.CancelRequested: _WANTED,
    events.GlobalCancelRequested: _WANTED,
    events.DoubtResolutionRequested: _WANTED,
    events.DoubtResolutionDenied: _UNSAID,
    events.WhatIfRequested: _WANTED,
    events.WhatIfAnswered: _UNSAID,
    events.QuoteRequested: _WANTED,
    events.QuoteAnswered: _UNSAID,
    events.ReconciliationRequested: _WANTED,
    events.CaseRequested: _WANTED,
    events.CaseRequestDenied: _UNSAID,
    events.AlarmRaised: "the watchman saw it himself, on the machine and in the books",
    events.AlarmCleared: _UNSAID,
    events.ServerTimeRead: "the watchman reads the gateway's clock with each session and from time"
    " to time",
    events.ClockStepped: "the watchman compares the machine's clock with the time of the log each"
    " time that he looks",
}


def beginning_of(envelope: Envelope) -> str:
    """Say why nothing earlier stands behind an event."""
    event, context = envelope.event, envelope.context
    text = BEGINNINGS[type(event)]
    if text is _PUSHED and getattr(event, "fetched", False):
        text = _ANSWER
    if text in {_PUSHED, _ANSWER} and context.correlation_id:
        return f"it belongs to {context.correlation_id}; {_ANSWER}"
    return text.format(actor=context.actor.partition(":")[2] or context.actor)
