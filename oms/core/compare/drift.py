"""What explains a position that changed without an execution.

IB books an assignment, an exercise, an expiry, a split, a transfer and a change of symbol as bare
changes of the position. Each leaves a pattern over the positions that drift together, and where the
pattern is whole the difference gets its cause. It stays a break all the same: the cause is a
proposal, and only a policy of the settings or a person books it (`repair.by_policy`, `oms adjust`).
A pattern that fits half-way explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, TypedDict, Unpack

from oms.core.compare.findings import caused_by
from oms.core.compare.sides import Row
from oms.core.contracts import Contract
from oms.core.events import Adjustment, Cause, Finding, PositionReceived
from oms.core.fold.records import Position
from oms.core.money import ZERO, plain
from oms.core.ratio import COST_TOLERANCE, Ratio, ratio_between

_OPTIONS: Final = frozenset({"OPT", "FOP", "WAR"})
_EXPIRING: Final = _OPTIONS | {"FUT"}


def explained(
    drifts: Sequence[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
    now: datetime,
) -> Iterator[Finding]:
    """Yield the drifts, with a cause where evidence names one."""
    causes: dict[str, tuple[Adjustment, str]] = {}
    for drift in drifts:
        if drift.key not in causes:
            causes |= _cause_of(drift, drifts, positions, rows, now)
    for drift in drifts:
        found = causes.get(drift.key)
        if found is None:
            yield caused_by(drift, _priced(drift, positions, rows), drift.text)
        else:
            yield caused_by(drift, *found)


def wanted_of(drift: Finding) -> tuple[Adjustment, Contract]:
    """Return what would make a drifting position right, and its contract."""
    assert drift.proposed is not None
    assert drift.proposed.contract is not None
    return drift.proposed, drift.proposed.contract


def _cause_of(
    drift: Finding,
    drifts: Sequence[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
    now: datetime,
) -> dict[str, tuple[Adjustment, str]]:
    return (
        _exercise(drift, drifts, positions)
        or _expiry(drift, positions, now)
        or _split(drift, positions, rows)
        or _transfer(drift, drifts, positions, rows)
        or _symbol_change(drift, drifts, positions, rows)
    )


def _exercise(
    drift: Finding, drifts: Iterable[Finding], positions: Mapping[str, Position]
) -> dict[str, tuple[Adjustment, str]]:
    """Match an option that went towards zero with its underlying, which moved for it."""
    wanted, option = wanted_of(drift)
    held = _held(positions, wanted)
    if option.sec_type not in _OPTIONS or not held or (held > 0) == (wanted.quantity > 0):
        return {}
    if abs(wanted.quantity) > abs(held) or option.strike is None:
        return {}
    towards = -1 if option.right == "C" else 1
    delivered = wanted.quantity * option.units * towards
    for other in drifts:
        theirs, stock = wanted_of(other)
        if (
            other.account == drift.account
            and stock.symbol == option.symbol
            and stock.sec_type not in _OPTIONS
            and theirs.quantity == delivered
        ):
            cause: Cause = "exercise" if held > 0 else "assignment"
            text = (
                f"{cause} of {plain(abs(wanted.quantity))} {option}:"
                f" {plain(delivered)} {stock.symbol} at {plain(option.strike)}"
            )
            gone = _changed(wanted, cause=cause, price=ZERO)
            came = _changed(theirs, cause=cause, price=option.strike, moves_cash=True)
            return {drift.key: (gone, text), other.key: (came, text)}
    return {}


def _expiry(
    drift: Finding, positions: Mapping[str, Position], now: datetime
) -> dict[str, tuple[Adjustment, str]]:
    """Explain a derivative that is gone after its last day; it ended without value."""
    wanted, contract = wanted_of(drift)
    held = _held(positions, wanted)
    if contract.sec_type not in _EXPIRING or not held or held + wanted.quantity != 0:
        return {}
    # The day itself counts: options go in its evening, and ours may be another day by then.
    if len(contract.expiry) != 8 or contract.expiry > f"{now:%Y%m%d}":
        return {}
    text = f"{contract} expired on {contract.expiry}; {plain(held)} are gone"
    # A future ends at its settlement price, which nobody has told; its own average stands in.
    price = ZERO if contract.sec_type in _OPTIONS else None
    return {drift.key: (_changed(wanted, cause="expiry", price=price), text)}


def _split(
    drift: Finding, positions: Mapping[str, Position], rows: Mapping[str, Row[PositionReceived]]
) -> dict[str, tuple[Adjustment, str]]:
    """Explain a quantity that changed by a ratio, and the cost of a unit by its inverse."""
    wanted, contract = wanted_of(drift)
    position, row = _at(positions, wanted), rows.get(_key(wanted))
    if contract.sec_type != "STK" or position is None or row is None:
        return {}
    ratio = ratio_between(
        position.quantity,
        row.event.quantity,
        position.average_price * contract.units,
        row.event.average_cost or ZERO,
    )
    if ratio is None:
        return {}
    text = f"a split, {ratio.words}: what the position cost in all is the same"
    if ratio.of(position.quantity) != row.event.quantity:
        text = f"a split, {ratio.words}; IB pays for the fraction of a share in cash"
    return {drift.key: (_changed(wanted, cause="split", ratio=ratio), text)}


def _transfer(
    drift: Finding,
    drifts: Iterable[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
) -> dict[str, tuple[Adjustment, str]]:
    """Match what left one account of ours with what came into another."""
    wanted, contract = wanted_of(drift)
    for other in drifts:
        theirs, same = wanted_of(other)
        if (
            other.account != drift.account
            and same.con_id == contract.con_id
            and theirs.quantity == -wanted.quantity
        ):
            source, target = (drift, other) if wanted.quantity < 0 else (other, drift)
            text = f"a transfer from {source.account} to {target.account}"
            left = _changed(wanted_of(source)[0], cause="transfer")
            came = _changed(_priced(target, positions, rows), cause="transfer")
            return {source.key: (left, text), target.key: (came, text)}
    return {}


def _symbol_change(
    drift: Finding,
    drifts: Iterable[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
) -> dict[str, tuple[Adjustment, str]]:
    """Match a holding that is gone with a new contract of the same size and cost."""
    wanted, contract = wanted_of(drift)
    old = _at(positions, wanted)
    if old is None or not old.quantity or old.quantity + wanted.quantity != 0:
        return {}
    for other in drifts:
        theirs, new = wanted_of(other)
        row = rows.get(_key(theirs))
        if (
            other.account == drift.account
            and new.con_id != contract.con_id
            and (new.sec_type, new.currency) == (contract.sec_type, contract.currency)
            and not _held(positions, theirs)
            and row is not None
            and (ratio := _exchange(old, theirs.quantity, row.event.average_cost or ZERO))
        ):
            text = f"{plain(old.quantity)} {contract.symbol} became {plain(theirs.quantity)}"
            text += f" {new.symbol}, which cost the same in all"
            gone = _changed(wanted, cause="symbol_change")
            came = _changed(theirs, cause="symbol_change", price=ratio.price_of(old.average_price))
            return {drift.key: (gone, text), other.key: (came, text)}
    return {}


def _exchange(old: Position, came: Decimal, cost: Decimal) -> Ratio | None:
    """Return new units for old ones where a holding may have become another one."""
    before = old.average_price * old.contract.units
    if came == old.quantity:
        is_same = abs(cost - before) <= before * COST_TOLERANCE
        return Ratio(new=1, old=1) if is_same else None
    return ratio_between(old.quantity, came, before, cost)


def _priced(
    drift: Finding, positions: Mapping[str, Position], rows: Mapping[str, Row[PositionReceived]]
) -> Adjustment:
    """Return what is proposed for a drift, with IB's cost where ours has none to stand in."""
    wanted, contract = wanted_of(drift)
    row = rows.get(_key(wanted))
    if _held(positions, wanted) or row is None or row.event.average_cost is None:
        return wanted
    return _changed(wanted, price=row.event.average_cost / contract.units)


class _Changes(TypedDict, total=False):
    cause: Cause
    price: Decimal | None
    ratio: Ratio
    moves_cash: bool


def _changed(wanted: Adjustment, **changes: Unpack[_Changes]) -> Adjustment:
    return wanted.evolve(**changes)


def _key(wanted: Adjustment) -> str:
    assert wanted.contract is not None
    return f"{wanted.account}:{wanted.contract.con_id}"


def _at(positions: Mapping[str, Position], wanted: Adjustment) -> Position | None:
    return positions.get(_key(wanted))


def _held(positions: Mapping[str, Position], wanted: Adjustment) -> Decimal:
    found = _at(positions, wanted)
    return found.quantity if found is not None else ZERO
