"""What becomes of the cash of each account, by currency.

IB names a balance by currency, our books know what fills, commissions and adjustments did to it
since the first balance that IB named (`CashOpened`). Only changes are compared. Dividends,
interest, fees and payments are no messages of the API, so each is a difference until a person or a
statement says what it was. Currencies in which futures trade are left out: their daily settlement
moves cash without a message, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.compare.findings import MOVED, Thing
from oms.core.compare.matches import Match
from oms.core.compare.sides import Answers, OurSide, Scope
from oms.core.events import AccountValueReceived, Adjustment, Finding
from oms.core.fold.positions import explained_cash
from oms.core.fold.records import Fill, Position
from oms.core.money import ZERO, NotANumber, decimal_from_wire, plain
from oms.core.words import describe_amount

#: IB rounds each balance to the cent; the first and the last are two.
_TOLERANCE: Final = Decimal("0.02")
#: The tag of the balance, by currency; BASE is the sum of all at IB's own rates.
_CASH_TAG: Final = "CashBalance"
#: Contracts whose daily settlement moves cash without a message.
_SETTLED_DAILY: Final = frozenset({"FUT", "FOP"})


@dataclass(frozen=True, slots=True)
class ExplainedCash:
    """What our books did to cash, by account and currency."""

    #: None where it does not follow from them.
    amounts: Mapping[str, Decimal | None]
    #: When an execution last moved it.
    moved_at: Mapping[str, datetime]


def explained_by(positions: Iterable[Position], adjusted: Mapping[str, Decimal]) -> ExplainedCash:
    """Return what every position that ever was, and the adjustments of cash, did to it."""
    amounts: dict[str, Decimal | None] = {}
    moved_at: dict[str, datetime] = {}

    def add(key: str, amount: Decimal | None, at: datetime | None = None) -> None:
        """Count an amount; one that is not known makes the sum unknown."""
        known = amounts.get(key, ZERO)
        amounts[key] = None if known is None or amount is None else known + amount
        if at is not None:
            moved_at[key] = max(at, moved_at.get(key, at))

    for position in positions:
        contract, account, at = position.contract, position.account, position.moved_at
        if not (position.fill_count or position.adjustments):
            continue
        is_future = contract.sec_type in _SETTLED_DAILY
        paid = None if is_future else explained_cash(position)
        add(f"{account}:{contract.currency}", paid, at)
        if contract.sec_type == "CASH":
            bought = position.quantity - position.opening_quantity
            add(f"{account}:{contract.symbol}", bought, at)
        for currency, charged in position.commissions:
            add(f"{account}:{currency}", -charged, at)
    for key, amount in adjusted.items():
        add(key, amount)
    return ExplainedCash(amounts, moved_at)


def balances(answers: Answers) -> dict[str, tuple[AccountValueReceived, Decimal, int]]:
    """Return the balances that IB named, by account and currency."""
    found = {}
    for row in answers.account_summary:
        event = row.event
        if event.key != _CASH_TAG:
            continue
        amount = _amount(event.value)
        if amount is not None and event.currency not in ("", "BASE"):
            found[f"{event.account}:{event.currency}"] = (event, amount, row.sequence)
    return found


def _amount(text: str) -> Decimal | None:
    try:
        return decimal_from_wire(text)
    except NotANumber:
        return None


def cash_findings(
    ours: OurSide, answers: Answers, scope: Scope, drifting: Collection[str] = ()
) -> Iterator[Finding | Match]:
    """Yield what each balance is found to be; those seen for the first time are openings.

    `drifting` are the accounts and currencies about whose cash another break is, too.
    """
    if not answers.complete("account_summary"):
        return
    for key, (event, amount, sequence) in balances(answers).items():
        opening, explained = ours.cash_openings.get(key), ours.explained_cash.get(key, Decimal(0))
        if opening is None or explained is None or key in drifting:
            continue
        if scope.accounts and event.account not in scope.accounts:
            continue
        expected = opening + explained
        thing = Thing(
            subject="cash",
            name=key,
            account=event.account,
            symbol=event.currency,
            ours=describe_amount(expected, event.currency),
            theirs=describe_amount(amount, event.currency),
            evidence=(sequence,),
        )
        excess = amount - expected
        if abs(excess) <= _TOLERANCE:
            yield thing.match(plain(amount))
        else:
            yield _judge_cash(thing, event, excess, ours=ours, answers=answers, scope=scope)


def _judge_cash(
    thing: Thing,
    event: AccountValueReceived,
    excess: Decimal,
    *,
    ours: OurSide,
    answers: Answers,
    scope: Scope,
) -> Finding:
    key = f"{event.account}:{event.currency}"
    moved_at = ours.cash_moved_at.get(key)
    asked_at = answers.questions["account_summary"].asked_at
    if moved_at is not None and moved_at + scope.position_settle > asked_at:
        return thing.unknown(MOVED)
    if not answers.complete("executions"):
        text = "executions were not answered whole, so the difference has no explanation"
        return thing.unknown(text)
    uncharged = sum(_is_uncharged(fill, event) for fill in ours.fills.values())
    if uncharged:
        text = f"the commission of {uncharged} of the fills that moved it is not known"
        return thing.unknown(text)
    proposed = Adjustment(account=event.account, currency=event.currency, quantity=excess)
    text = (
        f"{plain(excess)} {event.currency} came without a fill or a commission (payments,"
        " dividends, interest and fees do that)"
    )
    return thing.broken("cash_drift", "medium", text, proposed=proposed)


def _is_uncharged(fill: Fill, event: AccountValueReceived) -> bool:
    return (
        fill.commission is None
        and bool(fill.quantity)
        and (fill.account, fill.contract.currency) == (event.account, event.currency)
        and fill.contract.sec_type != "BAG"
    )
