"""What becomes of the positions of both sides, and of what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from oms.core.compare.cash import unexplained
from oms.core.compare.drift import explained
from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Premiums, Row, Scope
from oms.core.contracts import Contract
from oms.core.events import Adjustment, Finding, PositionReceived, Question
from oms.core.fold.records import Position
from oms.core.money import ZERO, plain
from oms.core.money_rules import CASH_TOLERANCE, rule_of

#: How far IB's average cost may be from ours, beside the commissions that it contains: it is
#: rounded, and sub-cent prices are averaged in other ways than ours.
_COST_TOLERANCE: Final = Decimal("0.001")


def position_findings(
    before: OurSide, ours: OurSide, answers: Answers, scope: Scope
) -> Iterator[Finding | Match]:
    """Yield what each position of either side is found to be."""
    rows = {f"{r.event.account}:{r.event.contract.con_id}": r for r in answers.positions}
    uncharged = {f.position_key for f in ours.fills.values() if f.commission is None}
    spare = unexplained(ours, answers, scope)
    drifts: list[Finding] = []
    for key in sorted({*rows, *ours.positions}):
        position, row = ours.positions.get(key), rows.get(key)
        account, _ = _what(position, row)
        if scope.accounts and account not in scope.accounts:
            continue
        found = _position_finding(
            key, position, row, before=before, answers=answers, scope=scope, spare=spare
        )
        if isinstance(found, Finding) and found.break_class == "quantity_drift":
            drifts.append(found)
            continue
        yield found
        if (isinstance(found, Match) or found.result == "match") and position is not None:
            cost = row.event.average_cost if row else None
            yield from _cost(position, key not in uncharged, cost, found.evidence, ours)
    yield from explained(
        drifts, ours.positions, rows, spare=spare, fills=ours.fills.values(), now=scope.now
    )


def _position_finding(
    key: str,
    position: Position | None,
    row: Row[PositionReceived] | None,
    *,
    before: OurSide,
    answers: Answers,
    scope: Scope,
    spare: Mapping[str, Decimal],
) -> Finding | Match:
    held = position.quantity if position else ZERO
    told = row.event.quantity if row else ZERO
    complete = answers.complete("positions")
    was = before.positions.get(key)
    was_held = was.quantity if was else ZERO
    account, contract = _what(position, row)
    evidence = (row.sequence,) if row else ()

    def thing_of() -> Thing:
        return Thing(
            subject="position",
            name=key,
            account=account,
            con_id=contract.con_id,
            symbol=contract.symbol,
            ours=plain(held),
            theirs=plain(told) if complete or row else "not answered",
            evidence=evidence,
            repair="" if was_held == held else f"was {plain(was_held)}",
        )

    if complete and held == told == was_held:
        # In few steps: there are thousands, and few are ever shown.
        values = plain(held)
        return Match("position", f"position:{key}", values, evidence, lambda: thing_of().matched())
    thing = thing_of()
    if complete and held == told:
        return thing.matched()
    wanted = Adjustment(account=account, contract=contract, quantity=told - held)
    judged = _judge_position(thing, position, wanted, answers, scope)
    is_pair = rule_of(contract.sec_type).cash == "pair"
    if is_pair and row is None and complete and judged.text != MOVED:
        return _pair_unnamed(thing, contract, spare, answers)
    return judged


def _pair_unnamed(
    thing: Thing, contract: Contract, spare: Mapping[str, Decimal], answers: Answers
) -> Finding | Match:
    """Judge a currency pair of which IB names no position.

    A setting of the gateway leaves pairs out, and a person can set them to nothing (TWS guide: FX
    Portfolio). What was traded is in the balances of both currencies; where those are not asked
    for, as between two runs, nothing is new.
    """
    if "account_summary" not in answers.questions:
        return thing.match("not named")
    keys = (f"{thing.account}:{contract.symbol}", f"{thing.account}:{contract.currency}")
    if all(abs(spare.get(key, CASH_TOLERANCE + 1)) <= CASH_TOLERANCE for key in keys):
        return thing.matched("IB names no position of the pair; both of its balances agree")
    return thing.unknown(
        "IB names no position of the pair (a setting of the gateway leaves pairs out), and the"
        " balances of its currencies do not show what was traded"
    )


def _judge_position(
    thing: Thing,
    position: Position | None,
    wanted: Adjustment,
    answers: Answers,
    scope: Scope,
) -> Finding:
    """Say what it means that IB holds more or less than our executions explain."""
    if not answers.complete("positions"):
        return thing.unknown("positions were not answered whole")
    if position is not None and _moved(position, answers.questions["positions"], scope):
        return thing.unknown(MOVED)
    if not answers.complete("executions"):
        return thing.unknown(
            "executions were not answered whole, so the difference has no explanation"
        )
    text = (
        f"{plain(wanted.quantity)} came without an execution"
        " (assignment, exercise, expiry, split or transfer do that)"
    )
    return thing.broken("quantity_drift", "high", text, proposed=wanted)


def _moved(position: Position, asked: Question, scope: Scope) -> bool:
    """Say whether an execution moved the position while, or shortly before, it was asked for."""
    if position.moved_sequence > asked.asked_sequence:
        return True
    at = position.moved_at
    return at is not None and at + scope.position_settle > asked.asked_at


def _cost(
    position: Position,
    charged_whole: bool,
    broker_cost: Decimal | None,
    evidence: tuple[int, ...],
    ours: OurSide,
) -> Iterator[Finding | Match]:
    """Report an average cost that prices, multiplier and commissions do not explain.

    IB's is per unit, times multiplier, commissions included (broker notes: positions). Once a
    position has been reduced, IB's choice of lots decides and nothing can be compared, and a
    commission that is not known yet could be any; so could one in another currency, for no rate
    comes with it: currency pairs are charged in that of the account. A price in per cent of a face
    makes a cost that no message explains. Shares that an exercise or an assignment brought cost the
    strike at first, and with the option's premium a day or two later: both are right.
    """
    is_watched = f"cost:{position.key}" in ours.watched
    if not position.quantity:
        if is_watched:
            yield _cost_thing(position, broker_cost, evidence).match("flat")
        return
    if broker_cost is None or position.realised_pnl or not charged_whole:
        return
    contract = position.contract
    if rule_of(contract.sec_type).in_percent:
        return
    if any(amount and currency != contract.currency for currency, amount in position.commissions):
        return
    ours_cost = position.average_price * position.contract.units
    charged = sum((abs(amount) for _, amount in position.commissions), ZERO)
    allowed = charged / abs(position.quantity) + abs(ours_cost) * _COST_TOLERANCE
    beside = (broker_cost - ours_cost) * position.quantity
    premium = ours.premiums.get(f"{position.account}:{position.contract.symbol}")
    if premium is not None and not rule_of(position.contract.sec_type).is_option:
        allowed += premium.charged / abs(position.quantity)
        beside -= min(max(beside, -premium.gained), -premium.lost)
    if abs(beside) <= allowed * abs(position.quantity):
        if is_watched:
            yield _cost_thing(position, broker_cost, evidence).match(plain(ours_cost))
        return
    text = f"IB's average cost differs by more than commissions ({plain(charged)}) explain"
    yield _cost_thing(position, broker_cost, evidence).broken("cost_drift", "low", text)


def premiums_of(positions: Iterable[Position]) -> dict[str, Premiums]:
    """Return what options that were closed at price 0 realised, by account and symbol."""
    found: dict[str, Premiums] = {}
    for position in positions:
        realised = position.closed_at_zero
        if not realised or not rule_of(position.contract.sec_type).is_option:
            continue
        key = f"{position.account}:{position.contract.symbol}"
        lost, gained, charged = found.get(key, Premiums(ZERO, ZERO, ZERO))
        found[key] = Premiums(
            lost + min(realised, ZERO),
            gained + max(realised, ZERO),
            charged + sum((abs(amount) for _, amount in position.commissions), ZERO),
        )
    return found


def _cost_thing(
    position: Position, broker_cost: Decimal | None, evidence: tuple[int, ...]
) -> Thing:
    return Thing(
        subject="cost",
        name=position.key,
        account=position.account,
        con_id=position.contract.con_id,
        symbol=position.contract.symbol,
        ours=plain(position.average_price * position.contract.units),
        theirs=plain(broker_cost),
        evidence=evidence,
    )


def _what(position: Position | None, row: Row[PositionReceived] | None) -> tuple[str, Contract]:
    if position is not None:
        return position.account, position.contract
    assert row is not None
    return row.event.account, row.event.contract
