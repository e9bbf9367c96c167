"""The rule about what an order can make of a holding, beside all that may fill before it.

Counted per account and contract, on the order's own side: what is in flight, in doubt, intended,
at work, and what waits for a change or a cancel. What works on the other side may never fill and
does not help.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from oms.core.admit.holding import Unfilled, con_ids_of, unfilled_of
from oms.core.admit.limits import Limits
from oms.core.admit.proposal import Proposal, unfilled_new
from oms.core.admit.rule import Denial, Rule
from oms.core.contracts import Contract
from oms.core.money import ZERO, plain

#: Orders that a refusal names one by one.
_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class _Share:
    """What orders of which only one can fill whole may take of a contract, or add to it."""

    quantity: Decimal
    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far a holding can go when an order and all beside it fill."""

    con_id: int
    #: 1 where the order adds to the holding, -1 where it takes from it.
    sign: int
    #: What may be held, and of that the worst: the largest for a purchase, the smallest for a sale.
    held: tuple[Decimal, ...]
    base: Decimal
    #: Of the order alone.
    own: Decimal
    beside: tuple[_Share, ...]
    #: What would remain.
    after: Decimal

    @property
    def side(self) -> Literal["BUY", "SELL"]:
        """The order's side in this contract."""
        return "BUY" if self.sign > 0 else "SELL"

    @property
    def is_through_zero(self) -> bool:
        """Say whether a holding of its own side could begin or grow."""
        return self.after * self.sign > 0

    @property
    def room(self) -> Decimal:
        """What the order could take at most beside the others."""
        return max(-self.base * self.sign - _sum(self.beside), ZERO)


def _refuse(proposal: Proposal, limits: Limits) -> Denial | None:
    if not proposal.closing and limits.exposure != "refuse":
        return None
    found = _found(proposal)
    if found is None:
        return None
    if isinstance(found, str):
        return Denial("exposure", "unknown", "0", f"{found}; {_NEEDS[proposal.closing]}")
    text = f"{_sentence(proposal, found)}. {_RULE[proposal.closing]}. {_way_out(proposal, found)}"
    return Denial("exposure", plain(found.after), "0", text)


def _warn(proposal: Proposal, limits: Limits) -> str:
    if proposal.closing or limits.exposure != "warn":
        return ""
    found = _found(proposal)
    if found is None or isinstance(found, str):
        return found or ""
    return _sentence(proposal, found)


#: By whether the order is a closing one.
_RULE: Final = {
    True: "A closing order must not take a holding through zero",
    False: "OMS_ORDER_EXPOSURE is refuse: no order may open or enlarge a short position, or take a"
    " holding through zero",
}
_NEEDS: Final = {
    True: "a closing order needs to know what is held. `oms reconcile` asks IB",
    False: "OMS_ORDER_EXPOSURE is refuse, which needs to know what is held. `oms reconcile` asks"
    " IB",
}


def _found(proposal: Proposal) -> _Reach | str | None:
    """Return how an order goes too far, why that cannot be known, or None where it does not."""
    changed = proposal.change_of
    own = unfilled_new(proposal) if changed is None else unfilled_of(changed, proposal.terms)
    assert own.quantity is not None, "what we send has a size"
    if changed is not None:
        before = unfilled_of(changed).quantity
        if before is not None and own.quantity <= before:
            return None  # It asks for no more than what may fill already.
        if not proposal.system.ready:
            # New orders are refused before by `connected` and `reconciled`.
            return "the books have not been compared with the broker's since the line came up"
    for one in proposal.beside:
        if (why := _not_known(one, own.contract)) != "":
            return why
    reaches = _reaches(proposal, own)
    return next((one for one in reaches if _goes_too_far(proposal, one)), None)


def _not_known(one: Unfilled, contract: Contract) -> str:
    """Return why it is not known what another order may do to a contract; "" where it is."""
    theirs = con_ids_of(one.contract)
    if one.quantity is None and theirs & con_ids_of(contract):
        return f"IB has named only executions of order {one.order_id}: more of it may still fill"
    if theirs == {0} and one.contract.symbol == contract.symbol:
        return f"IB has not said which contract order {one.order_id} in {one.contract.symbol} is in"
    return ""


def _reaches(proposal: Proposal, own: Unfilled) -> Iterator[_Reach]:
    assert own.quantity is not None, "what we send has a size"
    for con_id in sorted(con_ids_of(own.contract)):
        units = own.sign_in(con_id)
        sign = 1 if units > 0 else -1
        held = proposal.held[con_id]
        base = max(held) if sign > 0 else min(held)
        yield _Reach(
            con_id=con_id,
            sign=sign,
            held=held,
            base=base,
            own=own.quantity * abs(units),
            beside=_shares(proposal.beside, con_id, sign),
            after=base + sign * _sum(_shares((*proposal.beside, own), con_id, sign)),
        )


def _goes_too_far(proposal: Proposal, reach: _Reach) -> bool:
    if not reach.is_through_zero:
        return False
    if proposal.closing:
        return True
    # To buy without a short position opens a long one, and to sell one currency buys another.
    opens_long = reach.sign > 0 or proposal.contract.sec_type == "CASH"
    return reach.base * reach.sign < 0 or not opens_long


def _sum(shares: Iterable[_Share]) -> Decimal:
    return sum((one.quantity for one in shares), ZERO)


def _shares(orders: Iterable[Unfilled], con_id: int, sign: int) -> tuple[_Share, ...]:
    """Return what orders may take of a contract or add to it (by `sign`), the largest first.

    Of an OCA group one fills, and the exits of one entry are such a group (broker notes: groups).
    """
    every = {one.order_id: one for one in orders}
    groups: dict[tuple[str, str], list[Unfilled]] = {}
    for one in every.values():
        if one.sign_in(con_id) * sign <= 0 or max(one.quantity or ZERO, one.whole) <= 0:
            continue
        key = ("order", one.order_id)
        if one.parent_order_id:
            key = ("parent", one.parent_order_id)
        elif one.oca_group:
            key = ("oca", one.oca_group)
        groups.setdefault(key, []).append(one)
    found = []
    for (kind, name), members in groups.items():
        entry = every.get(name) if kind == "parent" else None
        if entry is not None and entry.sign_in(con_id) * sign < 0:
            largest = _of_exits(entry, members, con_id)
        else:
            largest = max((one.quantity or ZERO) * abs(one.sign_in(con_id)) for one in members)
        if largest > 0:
            found.append(_Share(largest, tuple(one.order_id for one in members)))
    return tuple(sorted(found, key=lambda share: (-share.quantity, share.order_ids)))


def _of_exits(entry: Unfilled, exits: Sequence[Unfilled], con_id: int) -> Decimal:
    """Return what the exits of an entry that works on may take from what is held now.

    They take from the position that the entry makes: what it has filled, and above its own size
    what they have more.
    """
    largest = max(max(one.quantity or ZERO, one.whole) * abs(one.sign_in(con_id)) for one in exits)
    units = abs(entry.sign_in(con_id))
    taken = sum((one.filled * abs(one.sign_in(con_id)) for one in exits), ZERO)
    made = entry.filled * units - taken
    return max(largest - (entry.quantity or ZERO) * units, min(largest, made))


def _sentence(proposal: Proposal, reach: _Reach) -> str:
    what = str(proposal.contract)
    if proposal.contract.is_combo:
        what = f"contract {reach.con_id}, a leg of {what},"
    verb = "buy" if reach.sign > 0 else "sell"
    if reach.beside:
        total = plain(_sum(reach.beside))
        others = f"other orders may still {verb} {total} ({_named(reach.beside)})"
    else:
        others = f"no other order may {verb}"
    held = " or ".join(plain(quantity) for quantity in reach.held)
    if len(reach.held) > 1:
        held += " (our books and IB's last word differ)"
    return (
        f"{reach.side} {plain(reach.own)} {what} could leave {plain(reach.after)}:"
        f" {proposal.account} holds {held}, and {others}"
    )


def _way_out(proposal: Proposal, reach: _Reach) -> str:
    if len(reach.held) > 1 and reach.base * reach.sign >= 0:
        return "`oms reconcile` shows which of the two holdings is right"
    if reach.base * reach.sign >= 0:
        return f"It holds nothing that a {reach.side} could close"
    ways = []
    if reach.beside:
        awaited = {one.order_id: one.awaited for one in proposal.beside if one.awaited}
        ids = [order_id for share in reach.beside for order_id in share.order_ids]
        left = [order_id for order_id in ids if order_id not in awaited]
        if left:
            more = " and the others" if len(left) > _NAMED_MAX else ""
            ways.append(f"cancel {', '.join(left[:_NAMED_MAX])}{more} first (`oms cancel ORDER`)")
        else:
            ways.append(f"wait for what IB has still to send of {ids[0]}: {awaited[ids[0]]}")
    is_alone = not (proposal.terms.oca_group or proposal.parent_order_id)
    if reach.room and is_alone and not proposal.contract.is_combo:
        ways.append(f"send at most {plain(reach.room)}")
    text = ", or ".join(ways) or "send a smaller order"
    return text[:1].upper() + text[1:]


def _named(shares: tuple[_Share, ...]) -> str:
    names = [f"{' or '.join(one.order_ids)}: {plain(one.quantity)}" for one in shares]
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f", and {more} more" if more > 0 else "")


def _limit(proposal: Proposal, limits: Limits) -> str:
    return "0" if proposal.closing or limits.exposure != "off" else ""


def _unidentified(proposal: Proposal) -> str:
    known = 0 not in con_ids_of(proposal.contract)
    return "" if known else "IB has not been asked which contract it is"


EXPOSURE: Final = Rule(
    name="exposure",
    reads="what the account holds of the contract (of a combo, of each leg), and what may still"
    " fill on the order's side: in flight, in doubt, at work, with a change or a cancel on its way;"
    " of an OCA group its largest order, of exits what their entry has filled",
    refuses="a closing order, always, that could take the holding through zero; under"
    " `order_exposure = refuse` every order that could, or that could open or enlarge a short"
    " position; a change only where it asks for more",
    settings=("order_exposure",),
    refuse=_refuse,
    warn=_warn,
    limit=_limit,
    missing=_unidentified,
    changes=True,
)
