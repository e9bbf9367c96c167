"""What a person may do about a case, and when it takes two: pure.

`assign` and `explain` change nothing but the case. `resolve`, `adopt` and `adjust` close it, and
above a value that the settings name they wait for a second person: the first one's wish is a fact
of its own (`CaseActionProposed`), and `approve` by anybody else carries it out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, assert_never, get_args

from oms.core.events import (
    Adjustment,
    BooksAdjusted,
    BreakAssigned,
    BreakClosed,
    BreakExplained,
    CaseAction,
    CaseActionProposed,
    CaseRequested,
    Cause,
    Event,
)
from oms.core.fold.records import BreakCase, Order, Position
from oms.core.money import ZERO, plain
from oms.core.ratio import Ratio
from oms.errors import CaseRefused, InvalidRequest

CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
OF_POSITIONS: Final[frozenset[Cause]] = frozenset(
    {
        "assignment",
        "exercise",
        "expiry",
        "split",
        "symbol_change",
        "transfer",
        "correction",
        "other",
    }
)
#: Causes whose price is paid: the strike, or the settlement.
_PAID: Final[frozenset[Cause | None]] = frozenset({"assignment", "exercise", "expiry"})
#: What a case with an order behind it is about.
_OF_ORDERS: Final = frozenset({"order", "execution"})
OF_CASH: Final[frozenset[Cause]] = frozenset(CAUSES) - {
    "assignment",
    "exercise",
    "expiry",
    "split",
    "symbol_change",
}


def carried_out(
    case: BreakCase,
    request: CaseRequested,
    actor: str,
    *,
    notional_max: Decimal | None = None,
    position: Position | None = None,
    order: Order | None = None,
    twin: BreakCase | None = None,
) -> tuple[Event, ...]:
    """Return the events that a request makes of a case.

    `position` and `order` are those that the case is about, where it is about one. `twin` is the
    open case of the same difference in a log of an earlier version, which kept the statement's
    apart: what closes one closes both.

    Raises `InvalidRequest` where it cannot mean anything, `CaseRefused` where it may not be done.
    """
    match request.action:
        case "assign":
            return (BreakAssigned(break_id=case.break_id, assignee=_text(request, "a name")),)
        case "explain":
            return (BreakExplained(break_id=case.break_id, text=_text(request, "a text")),)
        case "approve":
            return _approved(case, actor, twin)
        case "resolve" | "adopt" | "adjust":
            return _closed(
                case,
                request,
                notional_max=notional_max,
                position=position,
                order=order,
                twin=twin,
            )
        case _:
            assert_never(request.action)


def _closed(
    case: BreakCase,
    request: CaseRequested,
    *,
    notional_max: Decimal | None,
    position: Position | None,
    order: Order | None,
    twin: BreakCase | None,
) -> tuple[Event, ...]:
    if case.status != "open":
        raise CaseRefused(f"break {case.break_id} is closed already: {case.close_reason}")
    wanted = _adjustment(case, request, position, twin) if request.action == "adjust" else None
    if request.action == "adopt" and case.finding.break_class != "unknown_order":
        raise CaseRefused(
            f"break {case.break_id} is {case.finding.break_class}, not an order to adopt",
            hint="`oms resolve` closes it, `oms adjust` books what moved a position or cash",
        )
    reason = _text(request, "a reason")
    notional = _notional(case, wanted, _average_price(position), order)
    if notional_max is not None and (notional is None or notional > notional_max):
        return (
            CaseActionProposed(
                break_id=case.break_id,
                action=request.action,
                reason=reason,
                adjustment=wanted,
                notional=notional,
                limit=notional_max,
            ),
        )
    return _closing(case, twin, request.action, reason, wanted)


def _approved(case: BreakCase, actor: str, twin: BreakCase | None) -> tuple[Event, ...]:
    waiting = case.waiting
    if waiting is None or case.status != "open":
        raise CaseRefused(f"nothing about break {case.break_id} waits for a second person")
    if actor == case.waiting_actor:
        raise CaseRefused(
            f"{actor} asked for it; it takes somebody else to approve it",
            hint="the second person runs `oms approve` under a login of their own",
        )
    return _closing(
        case, twin, waiting.action, waiting.reason, waiting.adjustment, approved_by=actor
    )


def _closing(
    case: BreakCase,
    twin: BreakCase | None,
    action: CaseAction,
    reason: str,
    wanted: Adjustment | None,
    *,
    approved_by: str = "",
) -> tuple[Event, ...]:
    closed = tuple(
        BreakClosed(
            break_id=one.break_id,
            reason=reason,
            evidence=one.finding.evidence,
            how="adjust" if action == "adjust" else "adopt" if action == "adopt" else "resolve",
            approved_by=approved_by,
        )
        # The one that was asked about comes last: who asked waits for it.
        for one in (twin, case)
        if one is not None
    )
    if wanted is None:
        return closed
    adjusted = BooksAdjusted(
        adjustment=wanted,
        reason=reason,
        break_id=case.break_id,
        evidence=case.finding.evidence,
        approved_by=approved_by,
    )
    return adjusted, *closed


def _adjustment(
    case: BreakCase, request: CaseRequested, position: Position | None, twin: BreakCase | None
) -> Adjustment:
    """Return what is to be booked: what the case proposes, with the person's cause and figures."""
    proposed = case.proposed or (None if twin is None else twin.proposed)
    if proposed is None:
        raise CaseRefused(
            f"break {case.break_id} is {case.finding.break_class}; only a position or cash that"
            " drifted can be adjusted",
            hint="`oms resolve BREAK --reason TEXT` closes it by your word",
        )
    allowed = OF_CASH if proposed.contract is None else OF_POSITIONS
    if request.cause not in allowed:
        known = ", ".join(c for c in CAUSES if c in allowed)
        raise InvalidRequest(f"the cause must be one of {known}, found {request.cause}")
    if request.quantity is not None and not request.quantity:
        raise InvalidRequest("the quantity must not be 0")
    quantity = proposed.quantity if request.quantity is None else request.quantity
    price = proposed.price if request.price is None else request.price
    if request.cause == "expiry" and price is None:
        raise CaseRefused(
            f"what {proposed.contract} was worth in the end is not known",
            hint="give its settlement price with --price; 0 where it ended worthless",
        )
    return proposed.evolve(
        cause=request.cause,
        quantity=quantity,
        price=price,
        ratio=_split_ratio(case, request, proposed.ratio, quantity, position),
        moves_cash=request.cause in _PAID and price is not None,
    )


def _split_ratio(
    case: BreakCase,
    request: CaseRequested,
    proposed: Ratio | None,
    quantity: Decimal,
    position: Position | None,
) -> Ratio | None:
    """Return the ratio of a split, which must lead from what is held to what IB shows."""
    if request.cause != "split":
        if request.ratio is not None:
            raise InvalidRequest("a ratio belongs to the cause split")
        return None
    ratio = request.ratio or proposed
    if ratio is None:
        raise CaseRefused(
            f"break {case.break_id} has not the size and cost of a split",
            hint="give its --ratio, new shares for old ones, such as 1:3; or book it as correction",
        )
    held = ZERO if position is None else position.quantity
    if not ratio.may_leave(held, held + quantity):
        raise CaseRefused(
            f"{ratio.words} of {plain(held)} is not {plain(held + quantity)}",
            hint="`oms breaks BREAK` shows what both sides hold",
        )
    return ratio


def _average_price(position: Position | None) -> Decimal | None:
    """Return what one unit is worth, by our books or by IB's; it values what has no price."""
    if position is None:
        return None
    if position.quantity:
        return position.average_price
    cost = position.broker_average_cost
    return None if cost is None else cost / position.contract.units


def _notional(
    case: BreakCase,
    wanted: Adjustment | None,
    average_price: Decimal | None,
    order: Order | None,
) -> Decimal | None:
    """Return what a case is worth in the currency of its thing; None where nobody can say.

    A split changes no value, and a case without money in it (a message, an answer) has none to
    limit.
    """
    about = wanted or case.proposed
    if about is None:
        if case.finding.subject in _OF_ORDERS:
            return None if order is None else _value_of(order)
        return Decimal(0)
    if about.contract is None:
        return abs(about.quantity)
    if about.ratio is not None:
        return Decimal(0)
    price = about.price if about.price is not None else average_price
    return None if price is None else abs(about.quantity * price * about.contract.units)


def _value_of(order: Order) -> Decimal | None:
    """Return what an order is worth at its own price, or at what it filled at."""
    terms = order.terms
    price = terms.limit_price if terms.limit_price is not None else terms.stop_price
    if price is None and order.filled:
        price = order.notional / order.filled
    return None if price is None else abs(price) * terms.quantity * order.contract.units


def _text(request: CaseRequested, what: str) -> str:
    if not request.text.strip():
        raise InvalidRequest(f"to {request.action} a break takes {what}")
    return request.text.strip()
