"""Orders as the broker keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Literal, get_args

from oms.sim.broker.books import stored
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.stored import number_or_none
from oms.sim.protocol.fields import UNSET_INTEGER, number, to_bool, to_decimal, to_int

#: An order type that is known here, in one spelling.
Kind = Literal[
    "MKT", "LMT", "MTL", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC"
]
#: IB's words for an order that has not ended.
LiveStatus = Literal[
    "PendingSubmit", "ApiPending", "PreSubmitted", "Submitted", "PendingCancel", "PreCancelled",
    "WarnState", "Inactive",
]  # fmt: skip
#: Ends of an order in the books. `Rejected` is ours: on the wire it is Inactive after a 201.
EndStatus = Literal["Filled", "Cancelled", "ApiCancelled", "Rejected"]
Status = LiveStatus | EndStatus
LIVE: Final[Mapping[str, LiveStatus]] = {word: word for word in get_args(LiveStatus)}
ENDED: Final[frozenset[str]] = frozenset(get_args(EndStatus))
#: What a client may call the side of an order, or of a leg.
SIDES: Final = ("BUY", "SELL", "SSHORT")
#: Who entered an order: an API client, a person at TWS, or the broker that closes a position.
Origin = Literal["api", "manual", "liquidation"]

#: Fields of placeOrder that are about the message, or kept as attributes of the order.
_NOT_TERMS: Final = frozenset(
    (
        *("id", "orderId", "clientId", "conId", "symbol", "secType", "strike", "right"),
        *("lastTradeDateOrContractMonth", "multiplier", "primaryExchange", "currency"),
        *("localSymbol", "tradingClass", "secIdType", "secId", "transmit", "whatIf", "exchange"),
        *("sharesAllocation", "parentId", "account", "orderRef", "action", "totalQuantity"),
        *("orderType", "openClose"),
    )
)
#: What these mean when they come is what they mean when they are left out: not worth keeping.
_DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "exemptCode": ("-1",),
    "strike": ("0", "0.0"),
    "displaySize": ("0",),
    "ocaType": ("0",),
    "rule80A": ("0",),
    "referencePriceType": ("0",),
    "volatilityType": ("0",),
    "cashQty": ("0", "0.0"),
}

_KINDS: Final[Mapping[str, Kind]] = {
    **{kind: kind for kind in get_args(Kind)},
    "STPLMT": "STP LMT",
    "TRAILLMT": "TRAIL LIMIT",
    "TRAIL LMT": "TRAIL LIMIT",
}


def is_term(name: str) -> bool:
    """Say whether a field of placeOrder is kept among an order's terms."""
    return name not in _NOT_TERMS


def terms_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order's terms as sent, without what was left unset in any client's spelling."""
    terms: dict[str, Any] = {}
    for name, value in values.items():
        if not is_term(name) or not value:
            continue
        if isinstance(value, str):
            if value == UNSET_INTEGER or value in _DEFAULTS.get(name, ()):
                continue
            if "E308" in value.upper().replace("+", "") and to_decimal(value) is None:
                continue
        terms[name] = value
    return terms


class ConditionKind(StrEnum):
    """What a condition looks at; the value is IB's condType."""

    PRICE = "1"
    TIME = "3"
    MARGIN = "4"
    EXECUTION = "5"
    VOLUME = "6"
    PERCENT_CHANGE = "7"


@dataclass(slots=True)
class Order:
    """One order of one account."""

    #: 0 until it has reached IB.
    perm_id: int
    client_id: int
    #: 0 for an order of a person at TWS that is not bound.
    order_id: int
    account: str
    con_id: int
    exchange: str
    side: str
    quantity: Decimal
    #: As the client spells it; `kind` is the one spelling.
    order_type: str
    order_ref: str = ""
    #: Every other field of the placeOrder message under IB's name: openOrder gives it back.
    terms: dict[str, Any] = field(default_factory=dict)
    status: Status = "PreSubmitted"
    #: What it waits for: `child`, `trigger`, `locate`, by commas.
    why_held: str = ""
    #: What executions add up to, corrections applied, and what that cost.
    filled: Decimal = ZERO
    value: Decimal = ZERO
    last_price: Decimal = ZERO
    parent_id: int = 0
    parent_perm_id: int = 0
    origin: Origin = "api"
    #: A stop or an if-touched order whose price was reached.
    triggered: bool = False
    #: Where a trailing stop stands now.
    trail_price: Decimal | None = None
    reject_code: int | None = None
    reject_text: str = ""
    completed_at: datetime | None = None
    completed_status: str = ""
    placed_at: datetime | None = None
    warning: str = ""
    #: The size of a child that works for less so far, because its parent has filled in part.
    whole: Decimal | None = None

    @property
    def remaining(self) -> Decimal:
        """Return what is left to fill; below zero when it was overfilled."""
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Return the average price of its fills, 0 without one."""
        if not self.filled:
            return ZERO
        return (self.value / self.filled).quantize(Decimal("0.00000001"))

    @property
    def ended(self) -> bool:
        """Say whether nothing more is to come of it."""
        return self.status in ENDED

    @property
    def is_buy(self) -> bool:
        """Say whether it buys; a short sale does not."""
        return self.side == "BUY"

    @property
    def waits_for_parent(self) -> bool:
        """Say whether it is attached to an order that has not filled yet."""
        return "child" in self.why_held

    @property
    def wire_status(self) -> str:
        """Return the status that clients see."""
        return "Inactive" if self.status == "Rejected" else self.status

    def price(self, name: str) -> Decimal | None:
        """Return an amount among its terms; None when it was left unset."""
        return to_decimal(self.terms.get(name, ""))

    def flag(self, name: str) -> bool:
        """Say whether a yes-or-no term was set."""
        return to_bool(self.terms.get(name, ""))

    @property
    def limit_price(self) -> Decimal | None:
        """Return its limit as sent."""
        return self.price("lmtPrice")

    @property
    def aux_price(self) -> Decimal | None:
        """Return its stop price, its touch price or its trailing amount."""
        return self.price("auxPrice")

    @property
    def kind(self) -> Kind | None:
        """Return the order type in one spelling; None for one that is not known here."""
        return _KINDS.get(self.order_type)

    @property
    def contracts(self) -> set[int]:
        """Return con ids whose quotes matter to it: its own, its legs', its conditions'."""
        named = [*self.terms.get("comboLegs", ()), *self.terms.get("conditions", ())]
        return {self.con_id, *(to_int(one.get("conId", "")) for one in named)}

    def per_unit(self) -> list[tuple[int, Decimal]]:
        """Return con ids and signed units of what one unit of it trades: a combo's are its legs."""
        sign = 1 if self.is_buy else -1
        legs = self.terms.get("comboLegs", ())
        if not legs:
            return [(self.con_id, Decimal(sign))]
        return [
            (
                to_int(leg["conId"]),
                Decimal(to_int(leg["ratio"], 1) * (sign if leg["action"] == "BUY" else -sign)),
            )
            for leg in legs
        ]

    @property
    def tif(self) -> str:
        """Return its time in force; a day when none was said."""
        return str(self.terms.get("tif", "")) or "DAY"

    @property
    def oca_group(self) -> str:
        """Return the name of its one-cancels-all group; empty without one."""
        return str(self.terms.get("ocaGroup", ""))

    @property
    def oca_type(self) -> int:
        """Return how its group goes on after a fill: 1 ends the others, 2 and 3 reduce them."""
        return to_int(self.terms.get("ocaType", ""), 3) or 3

    def to_json(self) -> str:
        """Return it as the books keep it."""
        return stored.dump(self)

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Read what `to_json` wrote."""
        amounts = ("quantity", "filled", "value", "last_price", "trail_price", "whole")
        return cls(**stored.load(text, decimals=amounts, times=("completed_at", "placed_at")))

    def public(self, symbol: str) -> dict[str, Any]:
        """Return it as the control port shows it."""
        return {
            "perm_id": self.perm_id,
            "client_id": self.client_id,
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "account": self.account,
            "con_id": self.con_id,
            "symbol": symbol,
            "side": self.side,
            "quantity": number(self.quantity),
            "filled": number(self.filled),
            "remaining": number(self.remaining),
            "average_price": number(self.average_price),
            "order_type": self.order_type,
            "limit_price": number_or_none(self.limit_price),
            "aux_price": number_or_none(self.aux_price),
            "tif": self.tif,
            "oca_group": self.oca_group,
            "status": self.status,
            "wire_status": self.wire_status,
            "why_held": self.why_held,
            "parent_perm_id": self.parent_perm_id,
            "origin": self.origin,
            "reject_code": self.reject_code,
            "reject_text": self.reject_text,
            "completed_at": self.completed_at.isoformat() if self.completed_at else None,
            "completed_status": self.completed_status,
        }
