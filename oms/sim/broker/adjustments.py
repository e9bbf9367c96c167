"""Changes of a position that nobody traded.

IB says so with position rows and nothing else; a statement tells the next morning what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from oms.sim.broker.books.books import ChangeKind
from oms.sim.broker.books.ledger import ZERO, Position
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one position."""

    account: str
    contract: Contract
    quantity: Decimal
    average_cost: Decimal


def set_position(
    floor: Floor,
    account: str,
    contract: Contract,
    row: Position,
    *,
    kind: ChangeKind,
    price: Decimal = ZERO,
) -> Change:
    """Make a position what `row` says, and tell who subscribed.

    `kind` is what a statement calls it, and `price` what was paid for what came or went.
    """
    change = row.quantity - floor.books.position(account, contract.con_id).quantity
    floor.books.remember(contract)
    if change:
        floor.books.add_life(
            account,
            kind,
            con_id=contract.con_id,
            quantity=change,
            price=price,
            at=floor.clock.now(),
        )
    return _put(floor, account, contract, row)


def change_without_trace(
    floor: Floor, account: str, contract: Contract, quantity: Decimal, cost: Decimal | None
) -> Change:
    """Add to a position (or take from it) what no execution and no statement tells of."""
    old = floor.books.position(account, contract.con_id)
    total = old.quantity + quantity
    average = cost if cost is not None else old.average_cost
    floor.books.remember(contract)
    row = Position(total, average if total else ZERO, old.realized)
    return _put(floor, account, contract, row)


def _put(floor: Floor, account: str, contract: Contract, row: Position) -> Change:
    floor.books.set_position(account, contract.con_id, row)
    floor.books.add_adjustment(account, contract.con_id, row.quantity, row.average_cost)
    floor.notify.position(account, contract.con_id)
    return Change(account, contract, row.quantity, row.average_cost)
