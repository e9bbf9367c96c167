"""What happens to stocks though nobody trades: a split, another symbol, a transfer of any position.

Each function changes the books, tells who subscribed to positions, and returns what changed. It
raises ValueError for what cannot be; then nothing has changed.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Final

from oms.sim.broker.adjustments import Change, set_position
from oms.sim.broker.books.books import ChangeKind
from oms.sim.broker.books.ledger import ZERO, Position
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.broker.floor import Floor

#: IB shows parts of a share to four decimals.
_SHOWN_STEP: Final = Decimal("0.0001")
_COST_DIGITS: Final = Decimal("0.00000001")


def split(floor: Floor, contract: Contract, ratio: Fraction) -> list[Change]:
    """Give `ratio` new shares for each old one: quantities, costs and the quote follow.

    A fraction that whole shares leave behind is paid in cash at the new price. Orders and
    options on the stock stay as they are, for their owner to change.
    """
    if contract.sec_type != "STK" or ratio <= 0:
        raise ValueError(f"{contract.local_symbol} cannot be split {ratio} to one")
    floor.market.split(contract, ratio)
    last = floor.market.quote(contract).last
    changes = []
    for (account, con_id), row in list(floor.books.positions.items()):
        if con_id != contract.con_id or not row.quantity:
            continue
        exact = row.quantity * ratio.numerator / ratio.denominator
        is_whole = row.quantity == row.quantity.to_integral_value()
        kept = exact.quantize(Decimal(1) if is_whole else _SHOWN_STEP, rounding=ROUND_DOWN)
        cost = (row.average_cost * ratio.denominator / ratio.numerator).quantize(_COST_DIGITS)
        after = Position(exact, cost, row.realized)
        if exact != kept:
            after, _ = after.after(kept - exact, last, Decimal(1), ZERO)
            floor.books.add_cash(account, contract.currency, (exact - kept) * last)
        changes.append(set_position(floor, account, contract, after, kind="split"))
    return changes


def change_symbol(floor: Floor, contract: Contract, symbol: str, con_id: int = 0) -> list[Change]:
    """Give a stock another symbol, and another con id if one is given.

    With a new con id the positions move to it: the old rows go to zero.
    """
    if contract.sec_type != "STK" or not symbol:
        raise ValueError(f"{contract.local_symbol} cannot be renamed to {symbol!r}")
    catalogue = floor.catalogue
    if con_id and con_id != contract.con_id and catalogue.by_id(con_id) is not None:
        raise ValueError(f"con id {con_id} is another contract's")
    new = catalogue.rename(contract, symbol.upper(), con_id or contract.con_id)
    floor.books.keep_contract(new)
    floor.market.rename(contract, new)
    changes = []
    renamed: ChangeKind = "symbol_change"
    for (account, held), row in list(floor.books.positions.items()):
        if held != contract.con_id or not row.quantity:
            continue
        if new.con_id != contract.con_id:
            gone, kept = Position(realized=row.realized), replace(row, realized=ZERO)
            changes.append(set_position(floor, account, contract, gone, kind=renamed))
            changes.append(set_position(floor, account, new, kept, kind=renamed))
        else:
            changes.append(set_position(floor, account, new, row, kind=renamed))
    return changes


def transfer(
    floor: Floor,
    account: str,
    contract: Contract,
    quantity: Decimal,
    *,
    cost: Decimal | None = None,
    to_account: str = "",
) -> list[Change]:
    """Move `quantity` into an account (out of it when negative), from nowhere one can see.

    With `to_account` it goes from one account to the other. `cost` is the average cost of
    what arrives; without it that of the giving account, else of what is held, else the last
    price. No cash moves.
    """
    if not quantity or to_account == account:
        raise ValueError("a transfer needs a quantity, and two accounts if it names a second")
    held = floor.books.position(account, contract.con_id)
    if cost is None:
        cost = held.average_cost
        if not held.quantity:
            cost = floor.market.quote(contract).last * contract.multiplier
    if not to_account:
        return [_arrive(floor, account, contract, quantity, cost)]
    return [
        _arrive(floor, account, contract, -quantity, cost),
        _arrive(floor, to_account, contract, quantity, cost),
    ]


def _arrive(
    floor: Floor, account: str, contract: Contract, quantity: Decimal, cost: Decimal
) -> Change:
    held = floor.books.position(account, contract.con_id)
    # A transfer realises nothing, whatever it closes.
    after, _ = held.after(quantity, cost / contract.multiplier, contract.multiplier, ZERO)
    row = replace(after, realized=held.realized)
    return set_position(floor, account, contract, row, kind="transfer")
