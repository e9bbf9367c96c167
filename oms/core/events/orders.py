"""What we want."""

from __future__ import annotations

from typing import Literal

from oms.core.bounds import (
    ClientId,
    Count,
    Instant,
    Label,
    OrderNumber,
    PermId,
    Price,
    Prose,
    Quantity,
    SequenceNumber,
    Total,
    WireInteger,
    Word,
)
from oms.core.contracts import Contract
from oms.core.events.base import Event, Origin, Side
from oms.core.values import Given


class Terms(Given):
    """What an order asks for; tif is always explicit, because a preset in TWS would set it
    otherwise (code 10349).
    """

    side: Side
    quantity: Total
    #: IB's spelling. Text and not a closed set: adopted orders can be of any type that IB knows.
    order_type: Word
    limit_price: Price | None = None
    stop_price: Price | None = None
    tif: Word = "DAY"
    outside_rth: bool = False
    oca_group: Word = ""
    #: 1 cancel all with block, 2 reduce with block, 3 reduce without block; 0 outside a group.
    oca_type: WireInteger = 0
    #: How far a trailing stop stays behind the market: exactly one of the two.
    trail_amount: Price | None = None
    trail_percent: Price | None = None
    #: Where a trailing stop begins; None lets IB begin at the market.
    trail_stop_price: Price | None = None
    #: How far the limit of a trailing stop-limit stays from its stop.
    limit_offset: Price | None = None
    #: The end of a GTD order.
    good_till: Instant | None = None
    all_or_none: bool = False
    #: The least that one fill may have.
    min_quantity: Quantity | None = None
    #: How much of it the book shows.
    display_size: Quantity | None = None
    hidden: bool = False


class OrderIntended(Event):
    """We are about to send this order. Durable before the first byte leaves."""

    order_id: Word
    account: Word
    contract: Contract
    terms: Terms
    #: Our order_id of the parent, for the children of a bracket.
    parent_order_id: Word | None = None
    #: Orders that were intended in one transaction and belong together.
    group_id: Word | None = None
    #: False for all but the last order of a bracket: the gateway holds it until the last one comes.
    transmit: bool = True
    reason: Prose = ""
    #: Names of the checks that the order passed.
    checks: tuple[Word, ...] = ()
    #: The limit that each of them kept, in their order; empty in logs of earlier versions.
    limits: tuple[Prose, ...] = ()
    #: It was to take from what the account held and nothing else; so it passed open breaks.
    closing: bool = False
    #: What a rule told of it and let it pass; empty where none did.
    warning: Prose = ""


class OrderDenied(Event):
    """Our own check refused the order; nothing was sent."""

    order_id: Word
    account: Word
    contract: Contract
    terms: Terms
    rule: Word
    value: Prose
    limit: Prose
    text: Prose


class ModifyIntended(Event):
    """We are about to send new terms for an order."""

    order_id: Word
    revision: Count
    terms: Terms
    reason: Prose = ""
    #: As in OrderIntended.
    warning: Prose = ""


class ModifyDenied(Event):
    """Our own check refused the change; nothing was sent and the order stays as it is."""

    order_id: Word
    text: Prose
    #: False where it was refused before it was intended: a change that was sent before goes on
    #: waiting for IB.
    intended: bool = True
    #: As in OrderDenied; empty where no rule refused but the state of things.
    rule: Word = ""
    value: Prose = ""
    limit: Prose = ""


class CancelIntended(Event):
    """We are about to ask for the order's cancellation."""

    order_id: Word
    reason: Prose = ""


class CancelDenied(Event):
    """The order cannot be cancelled by us: it has ended, or it never left."""

    order_id: Word
    text: Prose


class GlobalCancelIntended(Event):
    """We are about to ask IB to cancel everything."""

    reason: Prose = ""


class GlobalCancelDenied(Event):
    """The global cancel did not leave."""

    text: Prose


class OrderMessageSent(Event):
    """Bytes of an order message were handed to the socket; whether they arrived is for the broker
    to show.
    """

    #: A what_if is a question in the form of an order: what it would cost.
    kind: Literal["place", "cancel", "global_cancel", "what_if"]
    client_id: ClientId
    broker_order_id: OrderNumber
    #: What travels in orderRef: our order_id. Empty in a cancel and a what-if.
    order_ref: Label = ""


class OrderNotSent(Event):
    """The line was lost before the order's bytes were handed to the socket; the order will not be
    sent.
    """

    order_id: Word
    text: Prose


class OrderDoubted(Event):
    """IB has said too little about an order for too long: whether it has it is not known."""

    order_id: Word
    text: Prose


class DoubtResolved(Event):
    """Evidence, or a person, says what became of an order in doubt."""

    order_id: Word
    #: A refused order is one that a code of IB named, and that IB has nowhere.
    outcome: Literal["not_received", "ended", "refused"]
    text: Prose
    run_id: Word | None = None
    #: Sequences that prove it: the questions whose complete answers do not name the order.
    evidence: tuple[SequenceNumber, ...] = ()


class RequestNotTaken(Event):
    """A change or a cancel was sent in an earlier session, or answered with a code that does not
    say what it refuses, and IB shows the order as it was before: it is not waited for any more.
    Where it arrives all the same, what IB then shows counts.
    """

    order_id: Word
    request: Literal["modify", "cancel"]
    text: Prose
    run_id: Word
    #: The openOrder that showed it, and the question that it answers.
    evidence: tuple[SequenceNumber, ...]


class OrderAdopted(Event):
    """An order that we did not originate is taken into the books, with its provenance."""

    order_id: Word
    origin: Origin
    account: Word
    contract: Contract
    terms: Terms
    perm_id: PermId
    client_id: ClientId
    broker_order_id: OrderNumber
    order_ref: Label
    status: Word
    #: True where complete answers show that it has ended: IB lists it among the day's completed
    #: orders, or knows its executions and lists it nowhere.
    ended: bool = False
    #: IB's words for the end, from the completed order.
    completed_status: Label = ""
    #: The message that showed it.
    evidence: SequenceNumber
    run_id: Word | None = None
