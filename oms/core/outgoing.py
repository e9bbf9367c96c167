"""One order message on its way out: made where its intent became durable, handed to the socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oms.core.contracts import Contract
from oms.core.events import Terms

OutgoingKind = Literal["place", "modify", "cancel", "what_if", "global_cancel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What IB is to be told; the whole order where it is placed, changed or only asked about."""

    kind: OutgoingKind
    #: Our order, or the name of a what-if question; empty for a global cancel.
    order_id: str = ""
    broker_order_id: int = 0
    account: str = ""
    #: None for a cancel.
    contract: Contract | None = None
    terms: Terms | None = None
    parent_broker_order_id: int = 0
    #: False where the gateway holds it until a later order of its group comes.
    transmit: bool = True
    #: When it was asked for, in milliseconds of the monotonic clock; None for what no age makes
    #: wrong (a cancel).
    asked_at_ms: int | None = None
    #: What travels in orderRef: our order id, or what an adopted order had there.
    order_ref: str = ""
    #: Sequence of the intent that it carries out; None for what needs none (a what-if).
    intent_sequence: int | None = None
