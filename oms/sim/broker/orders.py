"""Orders, executions and commissions as the gateway keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from oms.sim.protocol import frames
from oms.sim.protocol.frames import number, to_bool, to_decimal, to_int

ZERO: Final = Decimal(0)
ENDED: Final = frozenset(("Filled", "Cancelled", "ApiCancelled", "Rejected"))
"""Ends of an order in the books.  `Rejected` is ours: on the wire it is Inactive after a 201."""

# Fields of placeOrder that are about the message, or kept as attributes of the order.
_NOT_TERMS: Final = frozenset(
    (
        *("id", "orderId", "clientId", "conId", "symbol", "secType", "strike", "right"),
        *("lastTradeDateOrContractMonth", "multiplier", "primaryExchange", "currency"),
        *("localSymbol", "tradingClass", "secIdType", "secId", "transmit", "whatIf", "exchange"),
        *("sharesAllocation", "parentId", "account", "orderRef", "action", "totalQuantity"),
        *("orderType", "openClose"),
    )
)
# What these mean when they come is what they mean when they are left out: not worth keeping.
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

_KINDS: Final[Mapping[str, str]] = {
    "STPLMT": "STP LMT",
    "TRAILLMT": "TRAIL LIMIT",
    "TRAIL LMT": "TRAIL LIMIT",
}


def terms_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The order's terms as sent, without what was left unset in any client's spelling."""
    terms: dict[str, Any] = {}
    for name, value in values.items():
        if name in _NOT_TERMS or not value:
            continue
        if isinstance(value, str):
            if value == frames.UNSET_INTEGER or value in _DEFAULTS.get(name, ()):
                continue
            if "E308" in value.upper().replace("+", "") and to_decimal(value) is None:
                continue
        terms[name] = value
    return terms


@dataclass(slots=True)
class Order:
    """One order of one account.

    `terms` holds every other field of the placeOrder message under IB's name, so that openOrder
    can give it back.  `filled` is what executions add up to, corrections applied.  `whole` is the
    size of a child that works for less so far, because its parent has filled in part.
    """

    perm_id: int
    client_id: int
    order_id: int
    account: str
    con_id: int
    exchange: str
    side: str
    quantity: Decimal
    order_type: str
    order_ref: str = ""
    terms: dict[str, Any] = field(default_factory=dict)
    status: str = "PreSubmitted"
    why_held: str = ""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    last_price: Decimal = ZERO
    parent_id: int = 0
    parent_perm_id: int = 0
    origin: str = "api"
    triggered: bool = False
    trail_price: Decimal | None = None
    reject_code: int | None = None
    reject_text: str = ""
    completed_at: datetime | None = None
    completed_status: str = ""
    placed_at: datetime | None = None
    warning: str = ""
    whole: Decimal | None = None

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        if not self.filled:
            return ZERO
        return (self.value / self.filled).quantize(Decimal("0.00000001"))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_buy(self) -> bool:
        return self.side == "BUY"

    @property
    def wire_status(self) -> str:
        return "Inactive" if self.status == "Rejected" else self.status

    def price(self, name: str) -> Decimal | None:
        return to_decimal(self.terms.get(name, ""))

    def flag(self, name: str) -> bool:
        return to_bool(self.terms.get(name, ""))

    @property
    def limit_price(self) -> Decimal | None:
        return self.price("lmtPrice")

    @property
    def aux_price(self) -> Decimal | None:
        return self.price("auxPrice")

    @property
    def kind(self) -> str:
        """The order type in one spelling."""
        return _KINDS.get(self.order_type, self.order_type)

    @property
    def contracts(self) -> set[int]:
        """Con ids whose quotes matter to it: its own, its legs', its conditions'."""
        named = [*self.terms.get("comboLegs", ()), *self.terms.get("conditions", ())]
        return {self.con_id, *(to_int(one.get("conId", "")) for one in named)}

    def exposure(self) -> list[tuple[int, Decimal]]:
        """Con ids and signed units of what one unit of the order trades: a combo's are its legs."""
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
        return str(self.terms.get("tif", "")) or "DAY"

    @property
    def oca_group(self) -> str:
        return str(self.terms.get("ocaGroup", ""))

    @property
    def oca_type(self) -> int:
        return to_int(self.terms.get("ocaType", ""), 3) or 3

    def to_json(self) -> str:
        return json.dumps({name: _plain(getattr(self, name)) for name in _ORDER_FIELDS})

    @classmethod
    def from_json(cls, text: str) -> Order:
        row = json.loads(text)
        for name in ("quantity", "filled", "value", "last_price", "trail_price", "whole"):
            text = row.get(name)
            row[name] = None if text is None else Decimal(text)
        for name in ("completed_at", "placed_at"):
            row[name] = None if row[name] is None else datetime.fromisoformat(row[name])
        return cls(**row)

    def public(self, symbol: str) -> dict[str, Any]:
        """The order as the control port shows it."""
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
            "limit_price": _text_or_none(self.limit_price),
            "aux_price": _text_or_none(self.aux_price),
            "tif": self.tif,
            "oca_group": self.oca_group,
            "status": self.status,
            "wire_status": self.wire_status,
            "why_held": self.why_held,
            "parent_perm_id": self.parent_perm_id,
            "origin": self.origin,
            "reject_code": self.reject_code,
            "reject_text": self.reject_text,
            "completed_at": _plain(self.completed_at),
            "completed_status": self.completed_status,
        }


_ORDER_FIELDS: Final = tuple(Order.__dataclass_fields__)


@dataclass(slots=True)
class Execution:
    """One revision of one fill.  `superseded` when a later revision replaces it.

    One that tells of an exercise does not move the position: that is an adjustment of its own.
    """

    exec_id: str
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    account: str
    con_id: int
    side: str
    quantity: Decimal
    price: Decimal
    time: datetime
    venue: str
    cumulative: Decimal
    average_price: Decimal
    liquidation: bool = False
    liquidity: int = 2
    model_code: str = ""
    superseded: bool = False
    commission: Decimal | None = None
    commission_currency: str = ""
    realized: Decimal | None = None
    pending_revision: bool = False
    moves_position: bool = True

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "BOT" else -self.quantity

    @property
    def stem(self) -> str:
        return self.exec_id.rpartition(".")[0]

    @property
    def revision(self) -> int:
        return int(self.exec_id.rpartition(".")[2])

    def to_json(self) -> str:
        return json.dumps({name: _plain(getattr(self, name)) for name in _EXECUTION_FIELDS})

    @classmethod
    def from_json(cls, text: str) -> Execution:
        row = json.loads(text)
        for name in ("quantity", "price", "cumulative", "average_price", "commission", "realized"):
            row[name] = None if row[name] is None else Decimal(row[name])
        row["time"] = datetime.fromisoformat(row["time"])
        return cls(**row)

    def public(self, symbol: str) -> dict[str, Any]:
        return {
            "exec_id": self.exec_id,
            "perm_id": self.perm_id,
            "client_id": self.client_id,
            "order_id": self.order_id,
            "order_ref": self.order_ref,
            "account": self.account,
            "con_id": self.con_id,
            "symbol": symbol,
            "side": self.side,
            "quantity": number(self.quantity),
            "price": number(self.price),
            "time": self.time.astimezone(UTC).isoformat(),
            "superseded": self.superseded,
        }

    def public_commission(self) -> dict[str, Any]:
        return {
            "exec_id": self.exec_id,
            "commission": _text_or_none(self.commission),
            "currency": self.commission_currency,
            "realized_pnl": _text_or_none(self.realized),
        }


_EXECUTION_FIELDS: Final = tuple(Execution.__dataclass_fields__)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else number(value)
