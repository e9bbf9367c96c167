"""What becomes of our orders: what IB's answers say about each of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple, TypeVar

from oms.core.compare.brackets import ends_the_other, unexplained_size
from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.nameless import rows_that_may_be
from oms.core.compare.sides import ORDER_QUESTIONS, Answers, OurSide, Row, Scope, reaches_back_to
from oms.core.events import CompletedOrderReceived, ExecutionReceived, Finding, OpenOrderReceived
from oms.core.fold.combos import uneven
from oms.core.fold.order_state import answered_with, is_listed, may_be_refused
from oms.core.fold.records import Order, OrderState
from oms.core.money import plain
from oms.core.terms import differing, terms_of
from oms.core.words import describe_order, describe_origin, describe_terms

_E = TypeVar("_E", OpenOrderReceived, CompletedOrderReceived, ExecutionReceived)

#: What of an order can outrun an answer.
_MOVING: Final = (
    "state",
    "filled",
    "parts",
    "status_filled",
    "terms",
    "revision",
    "perm_ids",
    "said_gone",
    "rival_filled",
)


def order_findings(
    before: OurSide, prior: OurSide, ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding | Match]:
    """Yield what each order on our side is found to be."""
    open_rows = _by_order(ours, answers.open_orders)
    done_rows = _by_order(ours, answers.completed_orders)
    executed = cache(lambda: _by_order(ours, answers.executions).keys())
    for order in ours.orders.values():
        order_id = order.order_id
        if scope.accounts and order.account not in scope.accounts:
            continue
        repair = _order_repair(before.orders.get(order_id), order, scope)
        named = _Named(
            order,
            open_rows.get(order_id, []),
            done_rows.get(order_id, []),
            repair=repair,
            executed=executed,
            may_be=rows_that_may_be(order, ours, answers),
        )
        found = _order_finding(named, answers, ours, scope)
        if (
            isinstance(found, Finding)
            and found.result == "break"
            and _have_moved(order, prior, ours)
        ):
            yield named.thing.unknown(MOVED)
        else:
            yield found
        if order.origin != "ours" and (order.live or repair or _is_unreported(order, ours)):
            yield _foreign(order, repair)


def _is_unreported(order: Order, ours: OurSide) -> bool:
    """Say whether an order was taken in by a run that died before it could report it."""
    reported = ours.reported_sequence
    return reported is not None and order.intent_sequence > reported


def _have_moved(order: Order, prior: OurSide, ours: OurSide) -> bool:
    """Say whether the order, or another one of the bracket that it is an exit of, moved while it
    was asked for.
    """
    entry = order.parent_order_id
    related = [order]
    if entry:
        every = ours.orders.values()
        related += [one for one in every if entry in (one.order_id, one.parent_order_id)]
    return any(_has_moved(prior.orders.get(other.order_id), other) for other in related)


def _has_moved(was: Order | None, order: Order) -> bool:
    """Say whether the order changed since the answers at hand were asked for.

    What an answer itself teaches counts as well: it is asked again, and then stands still.
    """
    if order.state is OrderState.IN_DOUBT and (was is None or was.state is order.state):
        return False  # nothing that moves is what makes it a doubt
    return was is None or any(getattr(was, n) != getattr(order, n) for n in _MOVING)


def _order_repair(was: Order | None, order: Order, scope: Scope) -> str:
    if order.intent_sequence > scope.started_sequence:
        return "adopted" if order.origin != "ours" else ""
    if was is None or (was.state is order.state and was.filled == order.filled):
        return ""
    return f"was {was.state.value}, {plain(was.filled)} filled"


def _by_order(ours: OurSide, rows: Iterable[Row[_E]]) -> dict[str, list[Row[_E]]]:
    found: dict[str, list[Row[_E]]] = {}
    for row in rows:
        owner = ours.owner(row.event.order_ref, row.event.perm_id)
        if owner is not None:
            found.setdefault(owner.order_id, []).append(row)
    return found


class _Named(NamedTuple):
    """One of our orders, and how IB's answers name it."""

    order: Order
    open_rows: list[Row[OpenOrderReceived]]
    done_rows: list[Row[CompletedOrderReceived]]
    repair: str
    #: Returns the orders that executions name; looked up where an order is listed nowhere else.
    executed: Callable[[], Collection[str]]
    #: Sequences of rows without an orderRef that may be it.
    may_be: tuple[int, ...]

    @property
    def rows(self) -> list[Row[OpenOrderReceived] | Row[CompletedOrderReceived]]:
        """Return the rows that name it, those of open orders first."""
        return [*self.open_rows, *self.done_rows]

    @property
    def thing(self) -> Thing:
        """Return what both sides say of it."""
        order, rows = self.order, self.rows
        return Thing(
            subject="order",
            name=order.order_id,
            account=order.account,
            con_id=order.contract.con_id,
            symbol=order.contract.symbol,
            order_id=order.order_id,
            ours=describe_order(order),
            theirs=", ".join(dict.fromkeys(r.event.status for r in rows)) or "not named",
            evidence=self.evidence,
            repair=self.repair,
        )

    @property
    def evidence(self) -> tuple[int, ...]:
        """Return the sequences of its rows, else of what our books have it from."""
        return tuple(r.sequence for r in self.rows) or self.may_be or (self.order.last_sequence,)

    def match(self) -> Finding | Match:
        """State a match in few steps: there are as many as orders, and few are ever shown."""
        if self.repair:
            return self.matched()
        order = self.order
        values = f"{order.state.value} {plain(order.filled)} {describe_terms(order.terms)}"
        key = f"order:{order.order_id}"
        return Match("order", key, values, self.evidence, self.matched)

    def matched(self) -> Finding:
        """Return that both sides agree."""
        return self.thing.matched()


def _order_finding(named: _Named, answers: Answers, ours: OurSide, scope: Scope) -> Finding | Match:
    order = named.order
    if order.state is OrderState.IN_DOUBT:
        return _doubt_finding(named, answers, ours)
    if order.denied or order.state is OrderState.NOT_SENT:
        return named.match()
    if order.terms_known and order.filled > order.largest_asked:
        text = f"executions add up to {plain(order.filled)}, more than the order asked for"
        return named.thing.broken("contradiction", "high", text)
    elsewhere = _other_contract(named)
    if elsewhere:
        return named.thing.broken("wrong_terms", "high", elsewhere)
    missing = _missing_fills(named, answers)
    if missing is not None:
        return missing
    if order.live:
        return _live_finding(named, answers, ours, scope)
    if any(_works(row.event) for row in named.open_rows):
        text = "IB lists it as open, our books have it as ended"
        return named.thing.broken("wrong_state", "high", text)
    rival = ours.orders.get(order.rival_filled)
    if (
        order.state is OrderState.FILLED
        and rival is not None
        and ends_the_other(rival, order, ours)
    ):
        text = f"it is filled, and the fill of {rival.order_id} had ended its group before"
        return named.thing.broken("contradiction", "high", text)
    return named.match()


#: What a person does about an order that the gateway may hold and that no answer can show.
_UNTRANSMITTED: Final = (
    "it was sent without the word to transmit it, and IB lists no such order. Look at the orders in"
    " TWS: transmit it or delete it there, or cancel it with `oms cancel`. A restart of TWS or IB"
    " Gateway deletes it. If it is not there, say so with `oms doubt resolve`"
)
_RECEIVED: Final = (
    "IB received it, and no answer names it. Look at the orders in TWS: it may wait there for a"
    " person. If it is not there, say so with `oms doubt resolve`"
)


def _doubt_finding(named: _Named, answers: Answers, ours: OurSide) -> Finding:
    order, thing = named.order, named.thing
    if named.may_be:
        text = (
            f"{order.doubt}; IB names an order like it without an orderRef: look at it in TWS, then"
            " `oms doubt resolve` says whether it is that one"
        )
        return thing.broken("in_doubt", "high", text)
    if not answers.complete(*ORDER_QUESTIONS):
        return thing.unknown(f"{order.doubt}; not every place where IB could name it has answered")
    reaches = reaches_back_to(answers)
    heard = answered_with(order)
    if not is_listed(order, ours.orders.values()):
        text = f"IB answered it with {heard}; {_UNTRANSMITTED}" if heard else _UNTRANSMITTED
    elif heard and not may_be_refused(order):
        text = f"IB answered it with {heard}: {_RECEIVED}"
    elif reaches is not None and order.created_at is not None and order.created_at < reaches:
        text = f"no answer names it, and IB's answers reach back only to {reaches}"
    else:
        text = "no answer names it, and it is too early to say"
    return thing.broken("in_doubt", "high", f"{order.doubt}; {text}")


def _works(event: OpenOrderReceived) -> bool:
    return event.status in {"PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel"}


def _other_contract(named: _Named) -> str:
    """Say that IB has the order in another contract than we asked for (INC-211)."""
    asked = named.order.contract
    for row in named.rows:
        shown = row.event.contract
        if asked.con_id and shown.con_id and shown.con_id != asked.con_id:
            return (
                f"asked for {asked.symbol} ({asked.con_id}); IB has the order in {shown.symbol}"
                f" ({shown.con_id})"
            )
    return ""


def _missing_fills(named: _Named, answers: Answers) -> Finding | None:
    """Report an order that IB says to have filled by more than its executions add up to."""
    order = named.order
    text = _lacking(order)
    if not text:
        return None
    if not answers.complete("executions"):
        return named.thing.unknown(f"{text}; executions were not answered whole")
    if order.origin != "ours":
        return named.thing.unknown(f"{text}; it may have been filled before our books knew it")
    reaches = answers.questions["executions"].reaches_back_to
    if reaches is not None and order.created_at is not None and order.created_at < reaches:
        return named.thing.unknown(f"{text}; IB's executions reach back only to {reaches}")
    return named.thing.broken("missing_fill", "high", text)


def _lacking(order: Order) -> str:
    """Say which executions an order lacks. What its executions dispute is a case of its own."""
    claimed, legs = order.status_filled, order.contract.legs
    told = order.filled + order.disputed
    if order.contract.is_combo and not legs and not any(part.con_id == 0 for part in order.parts):
        return ""  # Only executions of its legs are known, and not what sets they make.
    if claimed is not None and claimed > told:
        claims = f"IB's status claims {plain(claimed)} filled"
        text = f"{claims}, executions add up to {plain(order.filled)}"
    else:
        text = ""
    # While it works, one leg may well be ahead of another.
    found = "" if order.live or not order.parts else uneven(legs, order.parts, order.filled)
    return "; ".join(words for words in (text, found) if words)


def _live_finding(named: _Named, answers: Answers, ours: OurSide, scope: Scope) -> Finding | Match:
    order = named.order
    if not named.open_rows:
        return _unlisted_finding(named, answers)
    event = named.open_rows[0].event
    against = _why_not_at_work(order, event, ours)
    if against:
        return named.thing.broken("contradiction", "high", against)
    if order.modify_pending:
        return named.thing.unknown("a change of its terms is under way")
    if order.cancel_pending and order.pending_epoch < scope.epoch:
        return named.thing.unknown("IB has not answered the cancel that an earlier session sent")
    asked, because = order.terms, ""
    different = differing(asked, event)
    if order.asked_sizes and order.parent_order_id:
        asked = asked.evolve(quantity=order.asked_sizes[0])
        because = unexplained_size(order, event.quantity, ours)
        sizes = ("quantity",) if because else ()
        different = (*sizes, *(name for name in different if name != "quantity"))
    if different:
        return named.thing.broken(
            "wrong_terms",
            "high",
            f"{', '.join(different)}: asked {describe_terms(asked)}; at IB"
            f" {describe_terms(terms_of(event, event.quantity))}{because and f'; {because}'}",
        )
    return named.match()


def _why_not_at_work(order: Order, event: OpenOrderReceived, ours: OurSide) -> str:
    """Say what else IB has said by which an order that it lists as working cannot be at work."""
    if event.status not in {"PreSubmitted", "Submitted"}:
        return ""
    listed = f"IB lists it as {event.status}"
    if order.said_gone:
        return f"{listed}, and has refused a cancel or a change of it: {order.said_gone}"
    rival = ours.orders.get(order.rival_filled)
    if rival is None or not ends_the_other(rival, order, ours):
        return ""
    return f"{listed}, and {rival.order_id} of its group is filled"


def _unlisted_finding(named: _Named, answers: Answers) -> Finding | Match:
    """Judge a live order that IB does not list as open."""
    order = named.order
    if not order.sent:
        return named.match()  # Nothing has left yet, so there is nothing to find at IB.
    if not answers.complete("open_orders", "completed_orders"):
        return named.thing.unknown("open and completed orders were not answered whole")
    if not order.acknowledged and order.answered_sequence:
        heard = answered_with(order)
        return named.thing.unknown(f"IB answered it with {heard} and has said no more of it yet")
    if not order.transmit and not order.acknowledged:
        # A group is sent in a moment; what stays behind of one comes into doubt.
        return named.thing.unknown("the gateway holds it until the rest of its group has come")
    if order.sent_sequence > answers.questions["open_orders"].asked_sequence:
        return named.thing.unknown(MOVED)
    is_named = order.order_id in named.executed()
    found = "it was executed in part" if is_named else "no execution names it"
    reaches = answers.questions["completed_orders"].reaches_back_to
    if reaches is not None and order.updated_at is not None and order.updated_at < reaches:
        found += f"; what ended before {reaches} is listed no more"
    return named.thing.broken(
        "lost_order", "high", f"IB lists it neither as open nor as completed; {found}"
    )


def _foreign(order: Order, repair: str) -> Finding:
    who = describe_origin(order.origin, order.client_id)
    thing = Thing(
        subject="order",
        name=order.order_id,
        account=order.account,
        con_id=order.contract.con_id,
        symbol=order.contract.symbol,
        order_id=order.order_id,
        ours="not ours",
        theirs=f"{describe_terms(order.terms)} {order.contract.symbol}, perm id {order.perm_id}",
        evidence=(order.intent_sequence,),
        repair=repair,
    )
    return thing.broken("unknown_order", "medium", f"an order that we did not send: {who}")
