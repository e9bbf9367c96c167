"""Where an execution is held against the order that IB names with it: one place for all of it.

What contradicts its order is booked all the same, because positions follow executions. It counts
for nothing of what the order has filled, and is shown until a person has seen it.
"""

from __future__ import annotations

from typing import Final

from oms.core.contracts import ComboLeg
from oms.core.events import ExecutionReceived, Side
from oms.core.fold.books import Books, show
from oms.core.fold.records import Anomaly, Fill, Order

#: How the accounts of advisors begin, live and on paper: an order on one is executed account by
#: account.
_ADVISORS: Final = ("F", "DF")
_OTHER_SIDE: Final[dict[Side, Side]] = {"BUY": "SELL", "SELL": "BUY"}


def dispute(order: Order, fill: Fill) -> str:
    """Return why an execution cannot be the order's that it is named with; "" where it can.

    Of an order that only its executions show, nothing is known that they could contradict.
    """
    if not order.terms_known:
        return ""
    if is_copy(order, fill):
        return (
            f"it is of client 0 (TWS, or a program with that id) and permanent number"
            f" {fill.perm_id}, an order that only carries its reference"
        )
    asked, found = order.contract, fill.contract
    if fill.account != order.account and not _is_allocated(order):
        return f"it was executed in account {fill.account}, the order is of {order.account}"
    side = order.terms.side
    if asked.is_combo and not found.is_combo:
        if not asked.legs:
            return ""  # IB has not said what the combo is made of.
        leg = next((one for one in asked.legs if one.con_id == found.con_id), None)
        if leg is None:
            return (
                f"it was executed in {found.symbol} ({found.con_id}), which is no leg of the order"
            )
        side = _side_of(leg, side)
    elif asked.is_combo is not found.is_combo or (
        asked.con_id and found.con_id and asked.con_id != found.con_id and not asked.is_combo
    ):
        return (
            f"it was executed in {found.symbol} ({found.con_id}), the order is in"
            f" {asked.symbol} ({asked.con_id})"
        )
    return "" if fill.side == side else f"it is a {fill.side}, the order asked for a {side}"


def is_copy(order: Order, found: Fill | ExecutionReceived) -> bool:
    """Say whether an execution is of another order that carries our order's reference: client 0,
    which is where a person at TWS trades, and another permanent number than the order first had,
    or another number of the session where IB has not said that one.
    """
    if order.origin != "ours" or not order.client_id or found.client_id != 0:
        return False
    if not order.perm_ids:
        return found.broker_order_id != order.broker_order_id
    return found.perm_id not in {0, order.perm_ids[0]}


def show_dispute(books: Books, order: Order, fill: Fill) -> None:
    """Keep a contradiction for the reconciler to open a case on; none where there is none."""
    if fill.disputed:
        text = (
            f"execution {fill.exec_id} cannot be of order {order.order_id}: {fill.disputed}."
            " It moves the position, and is not counted as filled"
        )
        show(
            books,
            Anomaly(
                sequence=fill.last_sequence,
                kind="contradiction",
                text=text,
                order_id=order.order_id,
                account=fill.account,
                con_id=fill.contract.con_id,
                symbol=fill.contract.symbol,
            ),
        )


def _is_allocated(order: Order) -> bool:
    return not order.account or order.account.startswith(_ADVISORS)


def _side_of(leg: ComboLeg, side: Side) -> Side:
    return leg.side if side == "BUY" else _OTHER_SIDE[leg.side]
