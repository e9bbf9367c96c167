"""What becomes of the cash of each account, by currency.

IB names a balance by currency, our books know what fills, commissions and adjustments did to it
since the first balance that IB named (`CashOpened`). Only changes are compared. Dividends,
interest, fees and payments are no messages of the API, so each is a difference until a person or a
statement says what it was. Every balance of either side is found to be something: where it does not
follow from executions (`money_rules`), it is unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, ExplainedCash, OurSide, Scope
from oms.core.events import AccountValueReceived, Adjustment, Finding
from oms.core.fold.positions import explained_cash, explained_units, is_booked
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO, NotANumber, decimal_from_wire, plain
from oms.core.money_rules import CASH_TAGS, CASH_TOLERANCE, rule_of
from oms.core.words import describe_amount


def explained_by(positions: Iterable[Position], adjusted: Mapping[str, Decimal]) -> ExplainedCash:
    """Return what every position that ever was, and the adjustments of cash, did to it."""
    amounts: dict[str, Decimal] = dict(adjusted)
    unknown: dict[str, str] = {}
    clouded: set[str] = set()
    moved_at: dict[str, datetime] = {}
    for position in positions:
        contract, account, at = position.contract, position.account, position.moved_at
        rule, key = rule_of(contract.sec_type), f"{account}:{contract.currency}"
        is_settled = rule.cash == "settled" and bool(position.quantity)
        if not (position.fill_count or position.adjustments or is_settled):
            continue
        moves = {key: explained_cash(position)}
        if rule.cash == "pair":
            moves[f"{account}:{contract.symbol}"] = explained_units(position)
        for name, amount in moves.items():
            if amount is None:
                unknown.setdefault(name, f"{contract}: {rule.why or _OLDER}")
            amounts[name] = amounts.get(name, ZERO) + (amount or ZERO)
            if at is not None:
                moved_at[name] = max(at, moved_at.get(name, at))
        if rule.cash == "unknown" or (rule.cash == "settled" and position.opening_quantity):
            clouded.add(key)
        for currency, charged in position.commissions:
            name = f"{account}:{currency}"
            amounts[name] = amounts.get(name, ZERO) - charged
    return ExplainedCash(amounts, unknown, frozenset(clouded | set(unknown)), moved_at)


#: Why money of a position does not follow from its executions.
_OLDER: Final = "what was held before the log began cost what IB does not say"
#: The row, its amount and its sequence, by account and currency.
Balances = Mapping[str, tuple[AccountValueReceived, Decimal, int]]


def balances(answers: Answers) -> Balances:
    """Return the balances that IB named, by account and currency."""
    found: dict[str, tuple[AccountValueReceived, Decimal, int]] = {}
    for tag in CASH_TAGS:
        for row in answers.account_summary:
            event = row.event
            if event.key != tag or event.currency in ("", "BASE"):
                continue
            amount = _amount(event.value)
            if amount is not None:
                found.setdefault(f"{event.account}:{event.currency}", (event, amount, row.sequence))
    return found


def _amount(text: str) -> Decimal | None:
    try:
        return decimal_from_wire(text)
    except NotANumber:
        return None


def cash_findings(
    ours: OurSide, answers: Answers, scope: Scope, drifting: Collection[str] = ()
) -> Iterator[Finding | Match]:
    """Yield what each balance of either side is found to be.

    `drifting` are the accounts and currencies about whose cash another break is, too.
    """
    if not answers.complete("account_summary"):
        return
    told = balances(answers)
    moved = {key for key, amount in ours.cash.amounts.items() if abs(amount) > CASH_TOLERANCE}
    keys = {*told, *ours.cash_openings, *ours.cash.unknown, *moved}
    yield from _unnamed(answers, scope, {key.partition(":")[0] for key in keys})
    for key in sorted(keys):
        account, _, currency = key.partition(":")
        if scope.accounts and account not in scope.accounts:
            continue
        expected = _expected(ours, key)
        _, amount, sequence = told.get(key, (None, ZERO, 0))
        thing = Thing(
            subject="cash",
            name=key,
            account=account,
            symbol=currency,
            ours="not known" if expected is None else describe_amount(expected, currency),
            theirs=describe_amount(amount, currency) if key in told else "not named",
            evidence=(sequence,) if sequence else (),
        )
        excess = _excess(key, told, ours, answers, scope)
        if key in drifting:
            yield thing.unknown("a break about a position or an execution moves it, too")
        elif isinstance(excess, str):
            yield thing.unknown(excess)
        elif abs(excess) <= CASH_TOLERANCE:
            yield thing.match(plain(amount))
        else:
            proposed = Adjustment(account=account, currency=currency, quantity=excess)
            text = (
                f"{plain(excess)} {currency} came without a fill or a commission (payments,"
                " dividends, interest and fees do that)"
            )
            yield thing.broken("cash_drift", "medium", text, proposed=proposed)


def _unnamed(answers: Answers, scope: Scope, accounts: Collection[str]) -> Iterator[Finding]:
    """Yield the accounts of which IB names values and no balance at all."""
    named = {row.event.account for row in answers.account_summary}
    for account in sorted(named.difference(accounts)):
        if not scope.accounts or account in scope.accounts:
            thing = Thing(subject="cash", name=account, account=account, theirs="not named")
            yield thing.unknown("the account summary was answered whole and names no balance")


def unexplained(ours: OurSide, answers: Answers, scope: Scope) -> dict[str, Decimal]:
    """Return how much more each balance is than our books explain, where that can be said."""
    if not answers.complete("account_summary"):
        return {}
    told = balances(answers)
    found = {key: _excess(key, told, ours, answers, scope) for key in told}
    return {key: excess for key, excess in found.items() if isinstance(excess, Decimal)}


def _expected(ours: OurSide, key: str) -> Decimal | None:
    opening = ours.cash_openings.get(key)
    if opening is None or key in ours.cash.unknown:
        return None
    return opening + ours.cash.amounts.get(key, ZERO)


def _excess(
    key: str, told: Balances, ours: OurSide, answers: Answers, scope: Scope
) -> Decimal | str:
    """Return how much more a balance is than our books explain, or why that cannot be said."""
    if key in ours.cash.unknown:
        return ours.cash.unknown[key]
    expected = _expected(ours, key)
    moved_at = ours.cash.moved_at.get(key)
    asked_at = answers.questions["account_summary"].asked_at
    has_moved = moved_at is not None and moved_at + scope.position_settle > asked_at
    if expected is None:
        return MOVED if has_moved else "its first balance could not be recorded yet"
    excess = (told[key][1] if key in told else ZERO) - expected
    if abs(excess) <= CASH_TOLERANCE:
        return excess
    if key not in told:
        return "the account summary was answered whole and leaves the currency out"
    if has_moved:
        return MOVED
    if not answers.complete("executions"):
        return "executions were not answered whole, so the difference has no explanation"
    uncharged = sum(_is_uncharged(fill, key) for fill in ours.fills.values())
    if uncharged:
        return f"the commission of {uncharged} of the fills that moved it is not known"
    return excess


def _is_uncharged(fill: Fill, key: str) -> bool:
    return (
        fill.commission is None
        and bool(fill.quantity)
        and f"{fill.account}:{fill.contract.currency}" == key
        and is_booked(fill)
    )
