"""The record of an order."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final, Literal, TypedDict

from oms.core.contracts import Contract
from oms.core.events import Origin, Terms
from oms.core.fold.records.row import Column, ColumnType, Evolving, Part
from oms.core.keys import can_be_key
from oms.core.money import ZERO


class OrderState(StrEnum):
    """Ours; the neighbours in FIX and in IB's words are in the glossary."""

    INTENDED = "INTENDED"
    DENIED = "DENIED"
    NOT_SENT = "NOT_SENT"
    IN_FLIGHT = "IN_FLIGHT"
    WORKING = "WORKING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    MODIFY_PENDING = "MODIFY_PENDING"
    CANCEL_PENDING = "CANCEL_PENDING"
    HELD = "HELD"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    IN_DOUBT = "IN_DOUBT"


ENDED: Final = frozenset(
    {
        OrderState.DENIED,
        OrderState.NOT_SENT,
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
    }
)
End = Literal["", "filled", "cancelled", "rejected", "expired"]


class ComboPart(Part):
    """What the executions of a combo itself (0) or of one of its legs add up to."""

    con_id: int
    quantity: Decimal
    notional: Decimal

    @property
    def price(self) -> Decimal:
        """Return the average price; 0 where nothing is executed."""
        return self.notional / self.quantity if self.quantity else ZERO


class Order(Evolving):
    """One order: what we wanted, what IB said, and what its executions add up to."""

    COLUMNS: ClassVar[dict[str, ColumnType]] = {
        "account": "text",
        "con_id": "integer",
        "symbol": "text",
        "state": "text",
        "origin": "text",
        "perm_id": "integer",
        "broker_key": "text",
        "parent_order_id": "text",
        "order_ref": "text",
    }

    order_id: str
    origin: Origin
    account: str
    contract: Contract
    #: What we last asked for and IB has not refused.
    terms: Terms
    actor: str
    state: OrderState = OrderState.INTENDED
    parent_order_id: str = ""
    group_id: str = ""
    reason: str = ""
    transmit: bool = True
    #: It only takes from what the account holds; see OrderIntended.
    closing: bool = False
    #: What our own rules told of it, or of its last change, and let it leave.
    rule_warning: str = ""

    #: Facts that the state follows from; see `order_state.state_of`.
    denied: bool = False
    not_sent: bool = False
    sent: bool = False
    acknowledged: bool = False
    held: bool = False
    cancel_pending: bool = False
    modify_pending: bool = False
    end: End = ""
    #: True where the end is our conclusion, from a code or a person, and not IB's word for the
    #: order; it is taken back as soon as IB shows the order at work.
    concluded: bool = False
    #: Why the outcome is unknown; empty when it is known.
    doubt: str = ""

    #: IB's own words, last heard.
    status: str = ""
    why_held: str = ""
    warning: str = ""
    #: Terms that IB has announced to set otherwise than asked: a preset of TWS, a size reduced.
    announced: tuple[str, ...] = ()
    code: int = 0
    text: str = ""
    #: The first message that named the order's number before IB said anything else of the order:
    #: an answer, which shows that IB received it, whatever became of it. 0 where none came.
    answered_sequence: int = 0
    #: Where `code` was said.
    code_sequence: int = 0
    advanced_reject: str = ""
    #: The last cancel or modify that was refused, and why.
    refusal: str = ""
    #: IB's words that it is not at work any more, where a refusal said so since we last asked.
    said_gone: str = ""
    #: The order of its group (OCA, or exits of one entry) that filled while this one was at work.
    rival_filled: str = ""

    #: Every permanent number that IB gave to this order; more than one is a break.
    perm_ids: tuple[int, ...] = ()
    #: Those that IB has ended; the order ends with the last.
    ended_perm_ids: tuple[int, ...] = ()
    client_id: int = 0
    broker_order_id: int = 0
    #: "epoch:client:number" under which the order was last seen; numbers belong to a session.
    broker_key: str = ""
    #: What IB shows of the order as its orderRef; of our own it is our id.
    order_ref: str = ""
    #: True once IB has shown it under its orderRef: until then its number alone joins a message to
    #: it, and another order can turn out to have that number.
    named: bool = False
    #: True where its number at IB is another order's: no message about the number is about it, and
    #: nothing can be sent about it.
    number_lost: bool = False

    revision: int = 0
    #: The newest change that was asked for and not answered.
    pending_terms: Terms | None = None
    #: Those before it, the oldest first, whose terms and later ones IB has not shown.
    earlier_terms: tuple[Terms, ...] = ()
    #: How many of the unanswered ones IB has refused, without saying which.
    changes_refused: int = 0
    #: Changes of earlier sessions that IB did not take and that can still arrive, the oldest first.
    given_up_terms: tuple[Terms, ...] = ()
    #: Limit price and size as IB last reported them.
    broker_limit_price: Decimal | None = None
    broker_quantity: Decimal | None = None
    #: Sizes that we asked for, where IB works the order in another one: exits of a bracket follow
    #: what their entry has filled. The first is the whole.
    asked_sizes: tuple[Decimal, ...] = ()

    #: From executions, after corrections.
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    #: Of executions that IB names with it and that cannot be its own (`disputes`): not in `filled`.
    disputed: Decimal = ZERO
    #: Of a combo: what `filled` follows from (`combos`).
    parts: tuple[ComboPart, ...] = ()
    #: As orderStatus or completedOrder last claimed, restated with the executions that it counted;
    #: None before the first claim.
    status_filled: Decimal | None = None
    #: True when the claim came with the order's end: then fewer executions than claimed are missing
    #: and more are a contradiction. Before the end a claim is merely old.
    claim_is_final: bool = False
    commissions: tuple[tuple[str, Decimal], ...] = ()

    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None
    intent_sequence: int = 0
    sent_sequence: int = 0
    acknowledged_sequence: int = 0
    doubt_sequence: int = 0
    end_sequence: int = 0
    last_sequence: int = 0
    #: Session in which a cancel or modify was last sent.
    pending_epoch: int = 0
    #: Where a cancel or modify was last asked for.
    pending_sequence: int = 0

    @property
    def key(self) -> str:
        """Return our id of the order."""
        return self.order_id

    @property
    def live(self) -> bool:
        """Say whether the order can still change."""
        return self.state not in ENDED

    @property
    def remaining(self) -> Decimal:
        """Return what is left to fill; zero once the order has ended or was overfilled."""
        return max(self.terms.quantity - self.filled, ZERO) if self.live else ZERO

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the groups in which the fill of one order ends the others."""
        oca = self.terms.oca_group and f"oca:{self.account}:{self.terms.oca_group}"
        exits = self.parent_order_id and f"exits:{self.parent_order_id}"
        return tuple(name for name in (oca, exits) if name)

    @property
    def asked_terms(self) -> Terms:
        """Return what it will ask for once IB has answered: what the next change starts from."""
        return self.pending_terms or self.terms

    @property
    def unanswered_terms(self) -> tuple[Terms, ...]:
        """Return every change that was asked for and not answered, the oldest first."""
        newest = () if self.pending_terms is None else (self.pending_terms,)
        return (*self.earlier_terms, *newest)

    @property
    def largest_asked(self) -> Decimal:
        """Return the largest size that we asked for, whatever size IB works the order in now."""
        return max(self.terms.quantity, *self.asked_sizes, ZERO)

    @property
    def terms_known(self) -> bool:
        """Say whether IB or we have said what it asks for; of some only executions are known."""
        return bool(self.terms.order_type)

    @property
    def average_price(self) -> Decimal | None:
        """Return the average price of its fills, commissions excluded; None without fills."""
        return self.notional / self.filled if self.filled else None

    @property
    def perm_id(self) -> int:
        """Return the permanent number that IB gave last, 0 while unknown."""
        return self.perm_ids[-1] if self.perm_ids else 0

    @property
    def is_executed(self) -> bool:
        """Say whether IB has named any execution of it."""
        return bool(self.filled or self.disputed or self.parts)

    @property
    def number_key(self) -> str:
        """Return the key under which messages find it by its number, "" where none does."""
        return "" if self.number_lost else self.broker_key

    @property
    def shared_ref(self) -> str | None:
        """Return a key of a caller's that IB shows this order under, and that is not its id: the
        key is taken, and more than one order can have it.
        """
        foreign = self.origin != "ours" and self.order_ref != self.order_id
        return self.order_ref if foreign and can_be_key(self.order_ref) else None

    def is_keyed(self, order_ref: str) -> bool:
        """Say whether an orderRef is this order, whatever other names come with it: it is our key,
        and we sent it. What others write there can stand on many orders.
        """
        return self.origin == "ours" and bool(order_ref) and self.order_ref == order_ref

    def columns(self) -> dict[str, Column]:
        """Return the values that readers search by."""
        return {
            "account": self.account,
            "con_id": self.contract.con_id,
            "symbol": self.contract.symbol,
            "state": self.state.value,
            "origin": self.origin,
            "perm_id": self.perm_id,
            "broker_key": self.number_key,
            "parent_order_id": self.parent_order_id,
            "order_ref": self.shared_ref,
        }


class OrderChanges(TypedDict, total=False):
    """What a rule in `order_state` says about an order: the fields that change, and their types."""

    terms: Terms
    sent: bool
    acknowledged: bool
    not_sent: bool
    held: bool
    cancel_pending: bool
    modify_pending: bool
    end: End
    concluded: bool
    doubt: str
    doubt_sequence: int
    status: str
    why_held: str
    announced: tuple[str, ...]
    warning: str
    code: int
    text: str
    answered_sequence: int
    code_sequence: int
    advanced_reject: str
    refusal: str
    said_gone: str
    rival_filled: str
    rule_warning: str
    perm_ids: tuple[int, ...]
    ended_perm_ids: tuple[int, ...]
    client_id: int
    broker_order_id: int
    broker_key: str
    named: bool
    number_lost: bool
    revision: int
    pending_terms: Terms | None
    earlier_terms: tuple[Terms, ...]
    changes_refused: int
    given_up_terms: tuple[Terms, ...]
    pending_epoch: int
    pending_sequence: int
    broker_limit_price: Decimal | None
    broker_quantity: Decimal | None
    asked_sizes: tuple[Decimal, ...]
    filled: Decimal
    notional: Decimal
    disputed: Decimal
    parts: tuple[ComboPart, ...]
    status_filled: Decimal | None
    claim_is_final: bool
    commissions: tuple[tuple[str, Decimal], ...]
    sent_sequence: int
    acknowledged_sequence: int
    last_sequence: int
    updated_at: datetime | None


class UnknownOrder(Evolving):
    """An order that IB has named and that our books do not have: what no order of ours may take for
    its own.
    """

    COLUMNS: ClassVar[dict[str, ColumnType]] = {}

    #: What names it: its permanent number or its orderRef. One that has both has two records.
    name: str
    perm_id: int
    #: Its orderRef where that can be a key of a caller's, else "".
    order_ref: str
    #: The message that named it last.
    sequence: int
    #: True once an order of our books has this name.
    taken_in: bool = False

    @property
    def key(self) -> str:
        """Return its name."""
        return self.name

    @property
    def live(self) -> bool:
        """Never needed in memory: there can be any number, and it is found by its name."""
        return False

    def columns(self) -> dict[str, Column]:
        """Return nothing: it is found by its name."""
        return {}
