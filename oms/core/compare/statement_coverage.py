"""Which parts of a statement came: only what is covered is compared, the rest is unknown.

Whoever makes a Flex query chooses its sections, their levels of detail and their fields. A section
that the query leaves out is not in the file, and says nothing; one without rows in these days is an
empty element, and that is an answer. A query of trade confirmations has executions only, which come
some minutes late and were not cleared yet: it says what was dealt, and not what was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final, assert_never

from oms.core.compare.findings import Thing
from oms.core.compare.statement_deals import Deal
from oms.core.compare.statement_rows import (
    DEAL_TAGS,
    Cash,
    Change,
    Heading,
    OptionLife,
    PassedOver,
    Section,
    StatedPosition,
    StatementRow,
    Unread,
)
from oms.core.events import Finding, StatementCoverage
from oms.core.fold.records import Position
from oms.core.words import counted

DEALS: Final = "Trades"
CONFIRMATIONS: Final = "TradeConfirms"
POSITIONS: Final = "OpenPositions"
CASH: Final = "CashReport"
OPTION_LIFE: Final = "OptionEAE"
ACTIONS: Final = "CorporateActions"
TRANSFERS: Final = "Transfers"
#: The elements of sections that are compared, with IB's names for them.
SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DEALS: "Trades",
        CONFIRMATIONS: "Trade Confirmations",
        POSITIONS: "Open Positions",
        CASH: "Cash Report",
        OPTION_LIFE: "Option Exercises, Assignments and Expirations",
        ACTIONS: "Corporate Actions",
        TRANSFERS: "Transfers",
    }
)
#: What is said of an execution that confirmations do not name.
UNCONFIRMED: Final = "may not be confirmed yet: confirmations come some minutes late"
#: Which rows can be compared, by section; a section may have only others.
_LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {DEALS: "Execution", CONFIRMATIONS: "Execution", POSITIONS: "Summary", CASH: "Currency"}
)
#: The section that a row stands in which could not be read.
_SECTIONS_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "OpenPosition": POSITIONS,
        "CashReportCurrency": CASH,
        "CorporateAction": ACTIONS,
        "Transfer": TRANSFERS,
        "TradeTransfer": TRANSFERS,
        "OptionEAE": OPTION_LIFE,
    }
)
#: What an activity query must have for everything to be compared.
_ACTIVITY: Final = tuple(name for name in SECTIONS if name != CONFIRMATIONS)


@dataclass(slots=True)
class Coverage:
    """What came of one account's statement of some days."""

    heading: Heading
    #: Elements of sections; accounts that share a statement share them.
    came: set[str]
    #: Sections of which rows can be compared, and those of which rows were passed over.
    read: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)

    def note(self, row: StatementRow) -> None:
        """Note that a row came."""
        match row:
            case PassedOver():
                self.passed.add(row.section)
            case Deal():
                self.read.add(self._deals)
            case Unread():
                # It is listed by itself.
                self.read.add(self._deals if row.tag in DEAL_TAGS else _SECTIONS_OF[row.tag])
            case StatedPosition():
                self.read.add(POSITIONS)
            case Cash():
                self.read.add(CASH)
            case Heading() | Section() | Change() | OptionLife():
                pass
            case _:
                assert_never(row)

    @property
    def _deals(self) -> str:
        return CONFIRMATIONS if CONFIRMATIONS in self.came else DEALS

    def has(self, section: str) -> bool:
        """Say whether what a section says can be compared, which an empty one can."""
        is_passed = section in _LEVELS and section in self.passed
        return section in self.read or (section in self.came and not is_passed)

    @property
    def has_deals(self) -> bool:
        """Say whether the executions of the days are named."""
        return self.has(DEALS) or self.has(CONFIRMATIONS)

    @property
    def only_confirmed(self) -> bool:
        """Say whether they are named as they were confirmed, and perhaps not all of them."""
        return self.heading.kind == "TCF" or (CONFIRMATIONS in self.came and not self.has(DEALS))

    def reason(self, section: str) -> str:
        """Return why a section cannot be compared."""
        name = SECTIONS[section]
        if section in self.came:
            return f"the section {name} has no rows of the level of detail {_LEVELS[section]}"
        if self.only_confirmed:
            return f"a query of trade confirmations has no section {name}"
        return f"the query has no section {name}"

    @property
    def unexplained(self) -> str:
        """Return why a position that differs may have an explanation all the same; "" where all
        that explains one came.
        """
        wanted = [DEALS, ACTIONS, TRANSFERS]
        missing = [SECTIONS[one] for one in wanted if not self.has(one)]
        if not missing:
            return ""
        return f"the query has no {' and no '.join(missing)}, which may explain it"

    def uncovered(self, *, executions: int, positions: Iterable[Position]) -> Iterator[Finding]:
        """Yield an unknown for each of executions, positions and cash that did not come.

        `executions` of ours are in the days, `positions` are ours.
        """
        held = counted(sum(bool(one.quantity) for one in positions), "position")
        for section, ours, what in (
            (DEALS, counted(executions, "execution"), "what was dealt"),
            (POSITIONS, held, "what the account holds"),
            (CASH, "", "its cash"),
        ):
            if self.has(section) or (section == DEALS and self.has_deals):
                continue
            heading = self.heading
            thing = Thing(
                subject="statement_section",
                name=f"{heading.account}:{heading.first}:{section}",
                account=heading.account,
                ours=ours,
                theirs="not in the file",
            )
            yield thing.unknown(f"{self.reason(section)}: {what} is not compared")

    def value(self) -> StatementCoverage:
        """Return it as the log keeps it."""
        heading = self.heading
        return StatementCoverage(
            account=heading.account,
            kind="confirmations" if self.only_confirmed else "activity",
            query=heading.query,
            first_day=heading.first.isoformat(),
            last_day=heading.last.isoformat(),
            period=heading.period,
            made=heading.generated,
            sections=tuple(name for name in SECTIONS if self.has(name)),
            missing=tuple(name for name in _ACTIVITY if not self.has(name)),
        )


def not_named(account: str, first: date, last: date) -> Finding:
    """Return that a statement says nothing of an account of our books."""
    thing = Thing(
        subject="statement_section",
        name=f"{account}:{first}:{last}",
        account=account,
        ours="in our books",
        theirs="not in the file",
    )
    return thing.unknown("the statement does not name the account: nothing of it is compared")
