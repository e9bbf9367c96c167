"""Where the rows of a statement file belong: which statement of which account.

A file may hold statements of several accounts, of several days, of a segment of an account beside
the account itself; a consolidated one has the account in each row. Every row is put to one account
that the books know, or the file is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import BinaryIO, Final
from zoneinfo import ZoneInfo

from oms.core.compare.statement import Tally
from oms.core.compare.statement_coverage import Coverage
from oms.core.compare.statement_days import Span, StatementDays
from oms.core.compare.statement_deals import Deal, Net
from oms.core.compare.statement_matching import Dealt
from oms.core.compare.statement_rows import Heading, PassedOver, Section, StatementRow
from oms.core.fold.records import Fill
from oms.errors import StatementUnreadable
from oms.service.statement_file import read_statement

#: IB makes statements there: their days and times are New York's, whatever zone a gateway has.
NEW_YORK: Final = ZoneInfo("America/New_York")
#: How IB names an account; other texts stand over a statement of several.
_ACCOUNT: Final = re.compile(r"[A-Z]{1,3}\d{4,}[A-Z]?")


@dataclass(slots=True)
class AccountStatement:
    """One account's statement of some days."""

    days: StatementDays
    tally: Tally
    coverage: Coverage
    #: A query may give executions, orders, or both; then orders only sum up.
    has_executions: bool = False
    #: Deals that cannot be matched one by one.
    kept: list[Deal] = field(default_factory=list)
    #: Deals that differ from ours or are not booked, with our fill.
    open: list[tuple[Net, Fill | None]] = field(default_factory=list)

    @property
    def account(self) -> str:
        """Return the account."""
        return self.tally.account


@dataclass(slots=True)
class Survey:
    """What the first reading has found."""

    #: Account and contract of what was taken back.
    corrected: set[tuple[str, str]] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    #: Keys of deals that several rows are about.
    repeated: set[str] = field(default_factory=set)
    #: Whether an order bought, by its first row.
    buys: dict[tuple[str, str, int], bool] = field(default_factory=dict)

    def add(self, deal: Deal) -> None:
        """Take a row."""
        order, is_buy = deal.order, deal.quantity > 0
        is_other = order is not None and self.buys.setdefault(order, is_buy) != is_buy
        if deal.kind == "cancel" or is_other:
            self.corrected.add((deal.account, deal.thing))
        if deal.kind != "cancel" and deal.exec_id:
            (self.repeated if deal.key in self.seen else self.seen).add(deal.key)

    def stands_alone(self, deal: Deal) -> bool:
        """Say whether no other row is about the same execution."""
        return (
            bool(deal.exec_id)
            and deal.kind == "exchange"
            and deal.key not in self.repeated
            and (deal.account, deal.thing) not in self.corrected
        )


class Placement:
    """The statements of a file, made as their rows are read."""

    def __init__(self, accounts: Mapping[str, Span]) -> None:
        """`accounts` are those of our books, each with the time that the log has of it."""
        self._accounts = accounts
        #: Elements of sections, by the statement that they stand in.
        self._came: dict[tuple[str, date, date, int], set[str]] = {}
        #: By account, first and last day, and how often these came before.
        self._statements: dict[tuple[str, date, date, int], AccountStatement] = {}
        self.dealt: dict[str, Dealt] = {}

    @property
    def statements(self) -> list[AccountStatement]:
        """Return those that came so far."""
        return list(self._statements.values())

    def rows(self, source: BinaryIO) -> Iterator[tuple[AccountStatement, StatementRow]]:
        """Yield each row with the statement that it belongs to, under the account that we know."""
        source.seek(0)
        heading: Heading | None = None
        counts: Counter[tuple[str, date, date]] = Counter()
        number = 0
        for row in read_statement(source):
            if isinstance(row, Heading):
                main = main_account(row.account, self._accounts)
                if not main and (_ACCOUNT.fullmatch(row.account) or not self._accounts):
                    raise self._of_others(row.account)
                counts[row.account, row.first, row.last] += 1
                number = counts[row.account, row.first, row.last]
                heading = replace(row, account=main)
                if main:
                    self._statement(heading, main, number)
                continue
            if heading is None:
                raise StatementUnreadable("a row stands before the first <FlexStatement>")
            if isinstance(row, Section):
                self._sections(heading, number).add(row.name)
                continue
            account = heading.account
            if row.account:
                account = main_account(row.account, self._accounts)
            if isinstance(row, PassedOver) and not account:
                continue
            if not account and heading.account:
                raise StatementUnreadable(
                    f"a row of account {row.account} stands in the statement of {heading.account}"
                )
            if not account:
                raise (
                    self._of_others(row.account)
                    if row.account
                    else StatementUnreadable(
                        "neither the statement nor a row in it names an account",
                        hint="add the field Account ID to every section of the Flex query",
                    )
                )
            yield self._statement(heading, account, number), replace(row, account=account)

    def _statement(self, heading: Heading, account: str, number: int) -> AccountStatement:
        key = (account, heading.first, heading.last, number)
        found = self._statements.get(key)
        if found is None:
            span = self._accounts[account]
            dealt = self.dealt.setdefault(account, Dealt(account, span, NEW_YORK))
            days = StatementDays(replace(heading, account=account), NEW_YORK)
            coverage = Coverage(days.heading, self._sections(heading, number))
            found = self._statements[key] = AccountStatement(days, Tally(dealt), coverage)
        return found

    def _sections(self, heading: Heading, number: int) -> set[str]:
        key = (heading.account, heading.first, heading.last, number)
        return self._came.setdefault(key, set())

    def _of_others(self, account: str) -> StatementUnreadable:
        return StatementUnreadable(
            f"the statement is of account {account or 'no name'}; the books know"
            f" {', '.join(sorted(self._accounts)) or 'no account yet'}",
            hint="choose the log of that account with --database, or another file",
        )


def main_account(name: str, known: Collection[str]) -> str:
    """Return the account that we know under a statement's name, "" where there is none: what is
    held in futures stands in a segment of the account, named by a letter after its number.
    """
    if name in known:
        return name
    return name[:-1] if name[-1:].isalpha() and name[:-1] in known else ""
