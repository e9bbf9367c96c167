"""Orders that are sent together: brackets, OCA groups, and orders attached to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, get_type_hints

from oms.core.admit.rule import Denial
from oms.core.admit.validity import OCA_TYPES, check_order_id, validate
from oms.core.asked import check
from oms.core.bounds import brief
from oms.core.contracts import Contract, may_be_same
from oms.core.events import OrderDenied, OrderIntended, Side, Terms
from oms.core.fold.records import Order
from oms.core.money import Number, number
from oms.core.values import fields_of
from oms.errors import InvalidRequest

#: An OCA group of one cancels nothing.
_OCA_LEAST: Final = 2


@dataclass(frozen=True, slots=True)
class NewOrder:
    """One order of a bulk submission or a group."""

    contract: Contract
    terms: Terms
    #: The caller's key; one is made where it is left out.
    order_id: str = ""
    #: May be left out where the gateway serves one account.
    account: str = ""
    reason: str = ""
    #: True where the key was made here: no order can have it yet.
    fresh: bool = False
    #: True where it only takes from what the account holds, never through zero: it leaves past an
    #: open break, so that a position that is in question can be got rid of.
    closing: bool = False

    def __post_init__(self) -> None:
        """Raises `InvalidRequest` for a field that is not of its type."""
        for name, hint in _FIELDS.items():
            check(name, getattr(self, name), hint)


_FIELDS: Final = get_type_hints(NewOrder)


@dataclass(frozen=True, slots=True)
class Group:
    """Orders of one intent: they leave together or not at all."""

    orders: tuple[NewOrder, ...]
    #: Which order each one is attached to, by order id.
    parents: Mapping[str, str] = field(default_factory=dict)
    #: Orders that the gateway holds until a later one of the group arrives.
    held: frozenset[str] = frozenset()

    @property
    def name(self) -> str | None:
        """Return what joins the orders in the log; None for a single one."""
        return self.orders[0].order_id if len(self.orders) > 1 else None


def bracket_of(
    parent: NewOrder, *, take_profit: Number | Terms, stop_loss: Number | Terms
) -> Group:
    """Return an entry with its exits; raises `InvalidRequest` where they cannot protect it."""
    entry = parent.terms
    out: Side = "SELL" if entry.side == "BUY" else "BUY"
    leave = Terms(side=out, quantity=entry.quantity, order_type="LMT", tif="GTC")
    profit = _exit("take-profit", take_profit, leave, "limit_price")
    loss = _exit("stop-loss", stop_loss, leave.evolve(order_type="STP"), "stop_price")
    _check_sides(entry, profit, loss)
    orders = (
        parent,
        replace(parent, order_id=f"{parent.order_id}-tp", terms=profit),
        replace(parent, order_id=f"{parent.order_id}-sl", terms=loss),
    )
    return Group(
        orders,
        parents={one.order_id: parent.order_id for one in orders[1:]},
        held=frozenset(one.order_id for one in orders[:-1]),
    )


def oca_of(orders: Sequence[NewOrder], name: str, oca_type: int) -> Group:
    """Return a group of which one cancels or reduces all."""
    if len(orders) < _OCA_LEAST:
        raise InvalidRequest(f"an OCA group has two orders or more, found {len(orders)}")
    if oca_type not in OCA_TYPES:
        raise InvalidRequest(f"OCA type must be 1, 2 or 3, found {brief(oca_type)}")
    accounts = {one.account for one in orders}
    if len(accounts) > 1:
        raise InvalidRequest(f"an OCA group is of one account, found {', '.join(sorted(accounts))}")
    return Group(
        tuple(
            replace(one, terms=one.terms.evolve(oca_group=name, oca_type=oca_type))
            for one in orders
        )
    )


def _exit(name: str, wanted: Number | Terms, plain_exit: Terms, price: str) -> Terms:
    if not isinstance(wanted, Terms):
        return plain_exit.evolve(**{price: number(name, wanted)})
    if wanted.side != plain_exit.side:
        raise InvalidRequest(f"the {name} must be a {plain_exit.side}, found {wanted.side}")
    if wanted.quantity != plain_exit.quantity:
        raise InvalidRequest(
            f"the {name} closes the whole entry of {plain_exit.quantity}, found {wanted.quantity}"
        )
    return wanted


def _check_sides(entry: Terms, profit: Terms, loss: Terms) -> None:
    """A stop-loss beyond the take-profit would fill at once; where both have a price, it shows."""
    high, low = profit.limit_price, loss.stop_price
    if high is None or low is None:
        return
    below, above = (low, high) if entry.side == "BUY" else (high, low)
    if below >= above:
        raise InvalidRequest(
            f"a {entry.side} bracket needs its stop-loss on the losing side of its take-profit,"
            f" found take-profit {high} and stop-loss {low}"
        )


def complete(
    one: NewOrder | tuple[Contract, Terms], order_id: str, *, fresh: bool = False
) -> NewOrder:
    """Return an order with a key: its own, or else the given one; `fresh` says that it is new."""
    order = NewOrder(one[0], one[1]) if isinstance(one, tuple) else one
    return order if order.order_id else replace(order, order_id=order_id, fresh=fresh)


def check_distinct(orders: Sequence[NewOrder]) -> None:
    """Raise `InvalidRequest` where two orders have one key."""
    times = Counter(one.order_id for one in orders)
    for key, number_of_them in times.items():
        if number_of_them > 1:
            raise InvalidRequest(f"order id {brief(key)} is there twice; one key is one order")


def check_order(one: NewOrder, where: str = "") -> None:
    """Raise `InvalidRequest`, with the place, where an order cannot be one."""
    try:
        check_order_id(one.order_id)
        validate(one.terms)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}{error.message}", hint=error.hint) from error


def check_same(
    one: NewOrder,
    found: Order,
    first: OrderIntended | OrderDenied | None = None,
    parent: str = "",
) -> None:
    """Raise `InvalidRequest` where the order that has a key already is another one: then the caller
    means two orders by one key.

    `first` is what was asked for with the key first, where the order is ours: all its terms count.
    Of an order that IB shows, side and contract count alone.
    """
    what = ""
    if one.terms.side != found.terms.side or not may_be_same(one.contract, found.contract):
        what = f"{found.terms.side} {found.contract}"
    elif first is not None:
        what = ", ".join(_others(one, first, parent))
    if what:
        raise InvalidRequest(
            f"order id {brief(one.order_id)} belongs to another order: {what}",
            hint="the same key twice is one order; take a new key for a new order",
        )


def _others(one: NewOrder, first: OrderIntended | OrderDenied, parent: str) -> Iterator[str]:
    """Yield what was asked for first and is not asked for now."""
    now = fields_of(one.terms)
    for name, value in fields_of(first.terms).items():
        if value != now[name]:
            yield f"{name.replace('_', ' ')} {'none' if value in (None, '') else value}"
    if one.account and one.account != first.account:
        yield f"account {first.account}"
    if isinstance(first, OrderIntended):
        if one.closing != first.closing:
            yield "closing" if first.closing else "not closing"
        if parent != (first.parent_order_id or ""):
            yield f"parent {first.parent_order_id or 'none'}"


def attach_denial(intent: OrderIntended, parent: Order | None, *, is_own: bool) -> Denial | None:
    """Return why an order cannot be attached to a parent outside its own group.

    `is_own` says that the parent is of this client and has a number at IB, which takes no other.
    """
    name = intent.parent_order_id
    if parent is None or not parent.live:
        state = "unknown" if parent is None else parent.state.value
        text = f"the parent {name} is {state}; only a live order can have orders attached"
        return Denial("parent", state, "a live order of ours", text)
    if not is_own:
        text = f"the parent {name} is not of this client; IB takes only its own"
        return Denial("parent", "another client's", "a live order of ours", text)
    if parent.contract.con_id != intent.contract.con_id:
        text = f"the parent {name} is in {parent.contract}, not in {intent.contract}"
        return Denial("parent", str(parent.contract), str(intent.contract), text)
    return None
