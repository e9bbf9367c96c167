"""Comparing our books with the broker's statement: pure, one deal at a time, then what they add up
to.

Deals are matched by `statement_matching`. Positions must follow from our own, from the deals that
the comparison has found on one side only (each is a break of its own, and its consequences are not
counted again), and from what the statement itself explains: assignments, exercises, expiries,
corporate actions, transfers. Cash must follow from the deals.

What lies at the edge of the statement's days, in the evening hours that IB books to the next
trading day, is unknown where it does not agree, and never a break.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from oms.core.compare.findings import Thing
from oms.core.compare.statement_alike import same_amount, same_holding
from oms.core.compare.statement_deals import Deal
from oms.core.compare.statement_matching import Dealt
from oms.core.compare.statement_rows import (
    DEAL_TAGS,
    Cash,
    Change,
    OptionLife,
    StatedPosition,
    Unread,
)
from oms.core.events import Adjustment, BooksAdjusted, Envelope, Finding
from oms.core.fold.records import Position
from oms.core.money import ZERO, plain

#: Of these classes, only the commission is cash of the day: what they gain is settled day by day.
_SETTLED_DAILY: Final = frozenset({"FUT", "CFD", "FXCFD"})
#: Rows that cannot be read are listed by their reason; of more reasons than these, only counted.
_REASONS_MAX: Final = 100
#: Where cash may be booked in other ways than a deal's proceeds.
_OPAQUE: Final = _SETTLED_DAILY | {"FOP", "FSFOP", "FSOPT"}


@dataclass(slots=True)
class Tally:
    """What one account's statement says, kept while its rows stream by."""

    #: What its deals were found to be, and those of the account's statements before it.
    dealt: Dealt
    changes: list[Change] = field(default_factory=list)
    life: list[OptionLife] = field(default_factory=list)
    #: By contract; a query may give summaries, lots, or both.
    summaries: dict[int, StatedPosition] = field(default_factory=dict)
    lots: dict[int, StatedPosition] = field(default_factory=dict)
    #: Contract and model of the rows of positions.
    placed: set[tuple[int, str]] = field(default_factory=set)
    cash: dict[str, Cash] = field(default_factory=dict)
    traded: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    charged: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    #: Currencies in which something was dealt whose cash the deals do not show, and why.
    opaque: dict[str, str] = field(default_factory=dict)
    #: Why a deal may have moved any currency; "" where each says which.
    obscure: str = ""
    #: Per contract: what this statement had more of a deal than a later one that corrects it.
    then: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    #: Why a position that differs may have an explanation that is not here; "" where it cannot.
    unexplained: str = ""
    #: Per contract: how the books were adjusted after the statement's moment, oldest first.
    adjusted: Mapping[int, Sequence[Decimal]] = field(default_factory=dict)
    #: Rows that could not be read, by element and reason: how many, and the first.
    unread: dict[tuple[str, str], tuple[int, Unread]] = field(default_factory=dict)
    #: Contracts of positions, actions and transfers that could not be read; 0 for any.
    unread_contracts: set[int] = field(default_factory=set)

    @property
    def account(self) -> str:
        """Return the account."""
        return self.dealt.account

    @property
    def holdings(self) -> dict[int, StatedPosition]:
        """Return what it says is held, by contract."""
        return self.summaries or self.lots

    def add_cash_of(self, deal: Deal) -> None:
        """Count what a row does to cash."""
        if not deal.currency:
            self.opaque[""] = "the query leaves out the currency of deals: add the field Currency"
        charged_in = deal.commission_currency or deal.currency
        if deal.category in _OPAQUE:
            self.opaque[deal.currency] = "futures settle day by day, which executions do not show"
        if deal.commission is None or deal.proceeds is None:
            text = "the query leaves out proceeds or commissions of deals"
            self.opaque |= {deal.currency: text, charged_in: text}
        self.obscure = self.obscure or _obscure(deal)
        if deal.category not in _SETTLED_DAILY:
            self.traded[deal.currency] += deal.proceeds or ZERO
        self.charged[charged_in] -= deal.commission or ZERO
        if deal.category == "CASH":
            self.traded[deal.symbol.partition(".")[0]] += deal.quantity

    def add_cash_of_replaced(self, deal: Deal, by: Deal) -> None:
        """Count a row that another one replaces, though the query leaves out what took it back: its
        charge stays where the deal is booked again without one.
        """
        if not by.commission:
            self.add_cash_of(replace(deal, quantity=ZERO, proceeds=ZERO))
        text = "the query leaves out the rows that take deals back"
        self.opaque.setdefault(deal.currency, text)

    def add_unread(self, row: Unread) -> None:
        """Count a row that could not be read, and note what cannot be concluded without it."""
        kind = (row.tag, row.reason)
        if kind not in self.unread and len(self.unread) >= _REASONS_MAX:
            kind = (row.tag, "of the same kind as others")
        count, first = self.unread.get(kind, (0, row))
        self.unread[kind] = (count + 1, first)
        contracts = self.dealt.unread if row.tag in DEAL_TAGS else self.unread_contracts
        contracts.add(row.con_id)

    def is_unread(self, con_id: int) -> bool:
        """Say whether a row that could not be read may be about a contract."""
        return self.dealt.is_unread(con_id) or bool(self.unread_contracts & {0, con_id})

    def add_position(self, row: StatedPosition) -> None:
        """Count a position; an account with models has a row for each."""
        rows = self.lots if row.is_lot else self.summaries
        place = (row.con_id, row.model)
        if not row.level and place in self.placed:
            # A summary and its lots, or two parts of it.
            self.unread_contracts.add(row.con_id)
        self.placed.add(place)
        known = rows.get(row.con_id)
        quantity = row.quantity + (known.quantity if known else ZERO)
        rows[row.con_id] = replace(row, quantity=quantity)

    def add_cash(self, row: Cash) -> None:
        """Count the cash of a currency; an account with models has a row for each."""
        known = self.cash.get(row.currency)
        self.cash[row.currency] = row if known is None else known.with_more(row)


def holding_findings(
    positions: Sequence[tuple[Position, Decimal, Decimal]], tally: Tally
) -> Iterator[Finding]:
    """Yield a finding for each contract that either side holds.

    `positions` are ours with what they held at the last day's end, and with what was dealt in the
    evening hours before it, which the statement may have left to the next day.
    """
    ours = {position.contract.con_id: (position, held, late) for position, held, late in positions}
    for con_id in sorted({*ours, *tally.holdings}):
        position, held, late = ours.get(con_id, (None, ZERO, ZERO))
        holding = tally.holdings.get(con_id)
        told = holding.quantity if holding else ZERO
        if not (held or told or late):
            continue
        if holding is None and position is not None and position.contract.sec_type == "CASH":
            # A currency pair is no position of a statement: both of its currencies are cash.
            continue
        symbol = position.contract.symbol if position else holding.symbol if holding else ""
        thing = Thing(
            subject="statement_position",
            name=f"{tally.account}:{con_id}",
            account=tally.account,
            con_id=con_id,
            symbol=symbol,
            ours=plain(held),
            theirs=plain(told),
        )
        if (
            holding is not None
            and told != held
            and same_holding(_class_of(holding, position), told, held)
        ):
            yield thing.matched("a statement counts bonds in nominal")
            continue
        yield _holding_finding(thing, position, held, told, late=late, tally=tally)


def _class_of(holding: StatedPosition, position: Position | None) -> str:
    return holding.category or (position.contract.sec_type if position else "")


def _holding_finding(
    thing: Thing,
    position: Position | None,
    held: Decimal,
    told: Decimal,
    *,
    late: Decimal,
    tally: Tally,
) -> Finding:
    differing = tally.dealt.more.get(thing.con_id, ZERO) + tally.then.get(thing.con_id, ZERO)
    excess = told - held - differing
    if not excess:
        text = "" if told == held else "follows from the executions that differ"
        return thing.matched(text)
    explained, words = _explanation(thing.con_id, tally)
    if excess == explained:
        if thing.con_id in tally.dealt.nameless:
            text = f"{plain(excess)} has no execution; {words} may be one that our books have"
            return thing.unknown(text)
        return thing.matched(f"explained by {words}")
    if excess in (-late, explained - late):
        text = f"{plain(late)} of it was dealt in the evening and may count for the next day"
        return thing.unknown(text)
    adjusted = tally.adjusted.get(thing.con_id, ())
    # What was adjusted later may have happened before or after the statement's moment.
    if any(excess == -sum(adjusted[i:], ZERO) for i in range(len(adjusted))):
        return thing.matched("the books were adjusted later")
    if tally.is_unread(thing.con_id):
        return thing.unknown("a row about it could not be read")
    if tally.unexplained:
        return thing.unknown(f"{plain(excess)} has no execution here; {tally.unexplained}")
    text = f"{plain(excess)} has no execution and no explanation in the statement"
    if words:
        text = f"{plain(excess)} has no execution; {words} explains {plain(explained)} of it"
    # Of a contract that our books do not know the statement says too little to book it; and where
    # the gateway holds what our books do, a change of the books would make a second difference.
    wanted = None
    if position is not None and position.broker_quantity != position.quantity:
        wanted = Adjustment(account=tally.account, contract=position.contract, quantity=excess)
    return thing.broken("quantity_drift", "high", text, proposed=wanted)


def _explanation(con_id: int, tally: Tally) -> tuple[Decimal, str]:
    kinds = {(one.con_id, one.quantity): one.kind for one in tally.life}
    parts: list[tuple[str, Decimal]] = []
    for deal in tally.dealt.booked:
        if deal.con_id == con_id:
            kind = kinds.get((con_id, deal.quantity), "a deal without an order")
            parts.append((kind, deal.quantity))
    if not parts:
        parts += [(one.kind, one.quantity) for one in tally.life if one.con_id == con_id]
    parts += [(c.kind, c.quantity) for c in tally.changes if c.con_id == con_id]
    parts += [
        ("a deal without an execution id", deal.quantity)
        for deal in tally.dealt.loose
        if deal.con_id == con_id
    ]
    words = ", ".join(f"{kind.replace('_', ' ')} of {plain(quantity)}" for kind, quantity in parts)
    return sum((quantity for _, quantity in parts), ZERO), words


def adjusted_since(
    moment: datetime, account: str, adjusted: Iterable[Envelope]
) -> dict[int, list[Decimal]]:
    """Return how positions of an account were adjusted from a moment on, by contract."""
    found: dict[int, list[Decimal]] = defaultdict(list)
    for one in adjusted:
        event = one.event
        if isinstance(event, BooksAdjusted) and one.recorded_at >= moment:
            wanted = event.adjustment
            if wanted.account == account and wanted.contract is not None:
                found[wanted.contract.con_id].append(wanted.quantity)
    return found


def cash_findings(tally: Tally, without_deals: str = "") -> Iterator[Finding]:
    """Yield a finding for each currency: what the statement says was traded and charged must follow
    from its deals, which were compared with ours one by one; `without_deals` says why it has none.
    """
    for currency in sorted({*tally.traded, *tally.charged} - {*tally.cash, ""}):
        # Deals in a currency without a row leave the question open what became of it.
        expected = (tally.traded[currency], tally.charged[currency])
        if any(expected):
            thing = Thing(
                subject="statement_cash",
                name=f"{tally.account}:{currency}",
                account=tally.account,
                symbol=currency,
                ours=_cash_words(*expected),
                theirs="not said",
            )
            yield thing.unknown("the section Cash Report has no row of this currency")
    for cash in tally.cash.values():
        expected = (tally.traded[cash.currency], tally.charged[cash.currency])
        found = (cash.traded, cash.commissions)
        is_said = cash.traded is not None and cash.commissions is not None
        thing = Thing(
            subject="statement_cash",
            name=f"{tally.account}:{cash.currency}",
            account=tally.account,
            symbol=cash.currency,
            ours=_cash_words(*expected),
            theirs=_cash_words(*found) if is_said else "not said",
        )
        if without_deals:
            yield thing.unknown(without_deals)
        elif not is_said:
            yield thing.unknown("the query leaves out what was traded or charged")
        elif all(same_amount(one, other) for one, other in zip(expected, found, strict=True)):
            yield thing.matched()
        elif "" in tally.opaque:
            yield thing.unknown(tally.opaque[""])
        elif tally.dealt.unread:
            yield thing.unknown("a row about a deal could not be read")
        elif cash.currency in tally.opaque or tally.obscure:
            yield thing.unknown(tally.opaque.get(cash.currency) or tally.obscure)
        else:
            text = "cash does not follow from the statement's deals"
            yield thing.broken("cash_drift", "medium", text)


def _obscure(deal: Deal) -> str:
    """Return why it cannot be told which currencies a deal moved; "" where it can."""
    if not deal.category:
        return "the query leaves out the class of deals: add the field Asset Class"
    if deal.category == "CASH" and "." not in deal.symbol:
        return "the query leaves out which currencies were dealt: add the field Symbol"
    if deal.category == "CASH" and not deal.commission_currency:
        return "the query leaves out the currency of charges: add IB Commission Currency"
    return "" if deal.currency else "the query leaves out the currency of deals"


def unread_findings(tally: Tally) -> Iterator[Finding]:
    """Yield a finding for each kind of row that could not be read."""
    for (tag, reason), (count, first) in tally.unread.items():
        thing = Thing(
            subject="statement_row",
            name=f"{tally.account}:{tag}:{reason}",
            account=tally.account,
            con_id=first.con_id if count == 1 else 0,
            symbol=first.symbol if count == 1 else "",
            theirs=f"line {first.line}" if count == 1 else f"{count} rows, first line {first.line}",
        )
        yield thing.unknown(f"cannot be compared: {reason}")


def _cash_words(traded: Decimal | None, charged: Decimal | None) -> str:
    return f"traded {plain(traded)}, commissions {plain(charged)}"
