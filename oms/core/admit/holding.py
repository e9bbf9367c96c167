"""What an account holds of a contract, and what may still fill in it: what `exposure` counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from oms.core.admit.limits import is_advisor
from oms.core.contracts import Contract
from oms.core.events import OrderIntended, Side, Terms
from oms.core.fold.records import BreakCase, Order, Position
from oms.core.money import ZERO


@dataclass(frozen=True, slots=True)
class Unfilled:
    """What may still fill of an order."""

    order_id: str
    contract: Contract
    side: Side
    #: The most of it; None where IB has named only executions of the order.
    quantity: Decimal | None
    oca_group: str = ""
    parent_order_id: str = ""
    #: What IB has still to send about it, where to cancel it helps no more.
    awaited: Literal["", "the answer to its cancel", "its executions"] = ""
    #: Of an exit that works in the size that its entry has filled: the most of it, once the entry
    #: has filled whole. TWS has them grow (broker notes: groups).
    whole: Decimal = ZERO
    filled: Decimal = ZERO

    def sign_in(self, con_id: int) -> int:
        """Return how many units of a contract it adds a unit of its own: negative where it sells,
        0 where it is about other contracts.
        """
        sign = 1 if self.side == "BUY" else -1
        if not self.contract.legs:
            return sign if self.contract.con_id == con_id else 0
        legs = (leg for leg in self.contract.legs if leg.con_id == con_id)
        return sum(sign * leg.ratio * (1 if leg.side == "BUY" else -1) for leg in legs)


def unfilled_of(order: Order, coming: Terms | None = None) -> Unfilled:
    """Return what may still fill of a live order, with new terms that are on their way to it.

    Until IB has shown which of several sizes holds, the largest of them can fill; and an order that
    is at work under several permanent numbers can fill under each.
    """
    late = (*order.unanswered_terms, *order.given_up_terms)
    terms = (order.terms, *late, *(() if coming is None else (coming,)))
    largest = max(*(one.quantity for one in terms), order.broker_quantity or ZERO)
    numbers = max(1, len(order.perm_ids) - len(order.ended_perm_ids))
    return Unfilled(
        order_id=order.order_id,
        contract=order.contract,
        side=order.terms.side,
        quantity=max(largest * numbers - order.filled, ZERO) if order.terms_known else None,
        oca_group=order.terms.oca_group,
        parent_order_id=order.parent_order_id,
        awaited="the answer to its cancel" if order.cancel_pending else "",
        whole=max(order.asked_sizes, default=ZERO) - order.filled,
        filled=order.filled,
    )


def unfilled_intent(intent: OrderIntended) -> Unfilled:
    """Return what may fill of an order that has not left."""
    return Unfilled(
        order_id=intent.order_id,
        contract=intent.contract,
        side=intent.terms.side,
        quantity=intent.terms.quantity,
        oca_group=intent.terms.oca_group,
        parent_order_id=intent.parent_order_id or "",
    )


def unfilled_in(
    account: str,
    orders: Iterable[Order],
    coming: Mapping[str, OrderIntended],
    positions: Mapping[str, Position],
    open_breaks: Iterable[BreakCase],
) -> Iterator[Unfilled]:
    """Yield what may still fill in an account: its own orders, and those that an advisor's account
    may allocate to it, ended ones included of which IB says otherwise; and what IB says that ended
    orders of ours have filled and no execution has shown yet.

    `coming` are new orders and new terms by order id that are on their way into `orders`.
    """
    known = set()
    otherwise = {
        case.finding.order_id
        for case in open_breaks
        if case.finding.break_class == "wrong_state" and case.finding.order_id
    }
    for order in orders:
        known.add(order.order_id)
        if not _may_fill_in(order.account, account):
            continue
        if order.live or order.order_id in otherwise:
            change = coming.get(order.order_id)
            yield unfilled_of(order, None if change is None else change.terms)
        elif unbooked := _unbooked(order, positions):
            yield Unfilled(
                order_id=order.order_id,
                contract=order.contract,
                side=order.terms.side,
                quantity=unbooked,
                awaited="its executions",
            )
    for order_id, intent in coming.items():
        if order_id not in known and _may_fill_in(intent.account, account):
            yield unfilled_intent(intent)


def _unbooked(order: Order, positions: Mapping[str, Position]) -> Decimal:
    """Return what our books do not hold yet of an order that has ended.

    Where a person has adjusted them since, they hold what there is. Of others' orders some
    executions can be older than the log.
    """
    if order.origin != "ours" or order.status_filled is None:
        return ZERO
    held = (positions.get(f"{order.account}:{one}") for one in con_ids_of(order.contract))
    adjusted = (made.sequence for one in held if one is not None for made in one.adjustments)
    if any(sequence > order.end_sequence for sequence in adjusted):
        return ZERO
    return max(order.status_filled - order.filled - order.disputed, ZERO)


def _may_fill_in(order_account: str, account: str) -> bool:
    return order_account in {account, ""} or is_advisor(order_account)


def holdings(
    account: str,
    contract: Contract,
    positions: Mapping[str, Position],
    open_breaks: Iterable[BreakCase],
) -> dict[int, tuple[Decimal, ...]]:
    """Return what an account may hold of each contract that an order moves, by con id.

    That IB holds so much more or less counts for as long as the break about it is open, however
    the books move meanwhile. IB's last word counts beside the books while it is newer than their
    last move, and while such a break is open: what was missing may have come since.
    """
    drifts: dict[int, set[Decimal]] = {}
    for case in open_breaks:
        finding = case.finding
        is_drift = finding.break_class == "quantity_drift" and finding.account == account
        if is_drift and finding.proposed is not None:
            drifts.setdefault(finding.con_id, set()).add(finding.proposed.quantity)
    found = {}
    for con_id in con_ids_of(contract):
        position = positions.get(f"{account}:{con_id}")
        ours = ZERO if position is None else position.quantity
        could = {ours + drift for drift in drifts.get(con_id, (ZERO,))}
        told = None if position is None else position.broker_quantity
        if position is not None and told is not None:
            is_newer = position.broker_sequence > position.moved_sequence
            could |= {told} if is_newer or con_id in drifts else set()
        found[con_id] = tuple(sorted(could))
    return found


def con_ids_of(contract: Contract) -> frozenset[int]:
    """Return the contracts that an order moves: of a combo, its legs."""
    return frozenset(leg.con_id for leg in contract.legs) or frozenset({contract.con_id})
