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
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO, plain
from oms.core.money_rules import CASH_TOLERANCE, rule_of
from oms.core.ratio import COST_TOLERANCE, Ratio, ratios_between

#: Ratios that a finding names.
_NAMED_MAX: Final = 3
_PRICE_STEP: Final = Decimal("0.00000001")
#: By the key of a drift: what is to be booked, and what explains it.
Causes = dict[str, tuple[Adjustment, str]]


def explained(
    drifts: Sequence[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
    *,
    spare: Mapping[str, Decimal],
    fills: Iterable[Fill],
    now: datetime,
) -> Iterator[Finding]:
    """Yield the drifts, with a cause where evidence names one.

    `spare` is the cash that our books do not explain, by account and currency, where that is known;
    `fills` are those of which an answer tells.
    """
    causes: Causes = {}
    for drift in drifts:
        if drift.key not in causes:
            causes |= _exercise(drift, drifts, positions) or _told(drift, positions, fills)
    ended = [d for d in drifts if d.key not in causes and _has_expired(d, positions, now)]
    causes |= _expiries(ended, positions, _left_of(spare, causes))
    for drift in drifts:
        if drift.key not in causes:
            causes |= (
                _split(drift, positions, rows)
                or _transfer(drift, drifts, positions, rows)
                or _symbol_change(drift, drifts, positions, rows)
                or _perhaps_split(drift, positions, rows)
            )
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


def _exercise(
    drift: Finding, drifts: Iterable[Finding], positions: Mapping[str, Position]
) -> Causes:
    """Match an option that went towards zero with its underlying, which moved for it."""
    wanted, option = wanted_of(drift)
    held = _held(positions, wanted)
    is_option = rule_of(option.sec_type).is_option
    if not is_option or not held or (held > 0) == (wanted.quantity > 0):
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
            and not rule_of(stock.sec_type).is_option
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


def _told(drift: Finding, positions: Mapping[str, Position], fills: Iterable[Fill]) -> Causes:
    """Match an option with executions at price 0 and without an order, which tell of its exercise.

    IB names the side of whoever held it (broker notes: positions), so that they seem to add what
    they take away.
    """
    wanted, option = wanted_of(drift)
    held, key = _held(positions, wanted), _key(wanted)
    told = sum(
        (
            f.signed_quantity
            for f in fills
            if (f.position_key, f.order_id) == (key, "") and not f.price
        ),
        ZERO,
    )
    if not rule_of(option.sec_type).is_option or not told or wanted.quantity != -2 * told:
        return {}
    if (held > 0) != (told > 0):
        return {}
    cause: Cause = "exercise" if held > 0 else "assignment"
    text = (
        f"{cause} of {plain(abs(told))} {option}, of which an execution at price 0 tells: it takes"
        " away what it seems to add"
    )
    return {drift.key: (_changed(wanted, cause=cause, price=ZERO), text)}


def _has_expired(drift: Finding, positions: Mapping[str, Position], now: datetime) -> bool:
    """Say whether a derivative is gone whole on or after its last day."""
    wanted, contract = wanted_of(drift)
    held = _held(positions, wanted)
    if not rule_of(contract.sec_type).expires or not held or held + wanted.quantity != 0:
        return False
    # The day itself counts: options go in its evening, and ours may be another day by then.
    return len(contract.expiry) == 8 and contract.expiry <= f"{now:%Y%m%d}"


def _left_of(spare: Mapping[str, Decimal], causes: Causes) -> dict[str, Decimal]:
    """Return the unexplained cash without what the causes that were found have paid."""
    left = dict(spare)
    for wanted, _ in causes.values():
        if wanted.moves_cash and wanted.price is not None and wanted.contract is not None:
            paid = wanted.quantity * wanted.price * wanted.contract.units
            key = f"{wanted.account}:{wanted.contract.currency}"
            if key in left:
                left[key] += paid
    return left


def _expiries(
    ended: Sequence[Finding], positions: Mapping[str, Position], left: Mapping[str, Decimal]
) -> Causes:
    """Explain derivatives that have expired, each by what it was worth in the end.

    IB sends no price of it. An option was worth nothing where its account has no money that nothing
    else explains; where there is some, and one contract that it can be of, it is proposed as its
    settlement. Else what it was worth is not known: no price is proposed, and a person names it.
    """
    causes: Causes = {}
    by_balance: dict[str, list[Finding]] = {}
    for drift in ended:
        _, contract = wanted_of(drift)
        by_balance.setdefault(f"{drift.account}:{contract.currency}", []).append(drift)
    for balance, drifts in by_balance.items():
        for drift in drifts:
            wanted, contract = wanted_of(drift)
            held = _held(positions, wanted)
            paid = left.get(balance)
            text = f"{contract} expired on {contract.expiry}; {plain(held)} are gone"
            price = None
            if paid is None or rule_of(contract.sec_type).cash == "settled":
                text += "; what they were worth in the end is not known, --price names it"
            elif abs(paid) <= CASH_TOLERANCE:
                price = ZERO
            elif len(drifts) == 1 and (paid > 0) == (held > 0):
                price = (paid / (held * contract.units)).quantize(_PRICE_STEP)
                text += (
                    f"; {plain(paid)} {contract.currency} came that nothing else explains, which"
                    f" would be a settlement at {plain(price)}"
                )
            else:
                text += (
                    f"; {plain(paid)} {contract.currency} came that nothing else explains, and"
                    " whose settlement it is, is not known, --price names it"
                )
            changed = _changed(wanted, cause="expiry", price=price, moves_cash=True)
            causes[drift.key] = (changed, text)
    return causes


def _split(
    drift: Finding, positions: Mapping[str, Position], rows: Mapping[str, Row[PositionReceived]]
) -> Causes:
    """Explain a quantity that changed by a ratio, and the cost of a unit by its inverse."""
    wanted, _ = wanted_of(drift)
    told, ratios = wanted.quantity + _held(positions, wanted), _ratios(wanted, positions, rows)
    if len(ratios) != 1:
        return {}
    (ratio,) = ratios
    text = f"a split, {ratio.words}: what the position cost in all is the same"
    if ratio.of(_held(positions, wanted)) != told:
        text = f"a split, {ratio.words}; IB pays for the fraction of a share in cash"
    return {drift.key: (_changed(wanted, cause="split", ratio=ratio), text)}


def _perhaps_split(
    drift: Finding, positions: Mapping[str, Position], rows: Mapping[str, Row[PositionReceived]]
) -> Causes:
    """Name the ratios of which none explains a quantity better than another."""
    wanted, _ = wanted_of(drift)
    ratios = _ratios(wanted, positions, rows)
    if not ratios:
        return {}
    words = " or ".join(ratio.words for ratio in ratios[:_NAMED_MAX])
    text = f"{drift.text}; a split of {words} explains it, --ratio names the right one"
    return {drift.key: (wanted, text)}


def _ratios(
    wanted: Adjustment,
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
) -> tuple[Ratio, ...]:
    position, row = _at(positions, wanted), rows.get(_key(wanted))
    if position is None or row is None or position.contract.sec_type != "STK":
        return ()
    return _ratios_of(position, row.event.quantity, row.event.average_cost or ZERO)


def _ratios_of(position: Position, told: Decimal, cost_told: Decimal) -> tuple[Ratio, ...]:
    """Return what may have made a position another one, by its cost as IB counts it: commissions
    included. Once a part was closed it is not known which of them were for the rest.
    """
    if not position.quantity:
        return ()
    cost = position.average_price * position.contract.units
    charged = dict(position.commissions).get(position.contract.currency, ZERO)
    is_exact = not position.realised_pnl and bool(charged or not position.fill_count)
    if is_exact:
        cost += charged / position.quantity
    return ratios_between(position.quantity, told, cost, cost_told, is_exact=is_exact)


def _transfer(
    drift: Finding,
    drifts: Iterable[Finding],
    positions: Mapping[str, Position],
    rows: Mapping[str, Row[PositionReceived]],
) -> Causes:
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
) -> Causes:
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
    ratios = _ratios_of(old, came, cost)
    return ratios[0] if len(ratios) == 1 else None


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
