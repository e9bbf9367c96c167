"""The statement check: compares a Flex statement, row by row, with the books.

The file is read twice. The first reading finds out what must be known before a row can be compared:
which deals are taken back or booked again, which levels of detail came. In the second, most deals
stream by and are matched by their execution id, some hundred a query; the few that belong together
are kept until the end.

It only reads. What it finds is returned; whoever called it writes `StatementChecked` and the cases
(`events_of`). If the process dies in between, nothing was written, and the next check finds the
same.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, assert_never
from zoneinfo import ZoneInfo

from oms.core.compare.cases import accepted, break_id_of, case_events, settled_by
from oms.core.compare.run import verdict_of
from oms.core.compare.statement import (
    Tally,
    adjusted_since,
    cash_findings,
    holding_findings,
    unread_findings,
)
from oms.core.compare.statement_coverage import (
    CASH,
    DEALS,
    POSITIONS,
    UNCONFIRMED,
    Coverage,
    not_named,
)
from oms.core.compare.statement_days import Span, StatementDays, spans_of
from oms.core.compare.statement_deals import Deal, Net, net
from oms.core.compare.statement_matching import BESIDE, Dealt, Rest, by_id
from oms.core.compare.statement_rows import (
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
from oms.core.events import (
    BooksAdjusted,
    BreakClosed,
    Envelope,
    Event,
    Finding,
    StatementChecked,
    StatementCoverage,
    Verdict,
)
from oms.core.fold.records import BreakCase, Fill, Position, SessionRecord
from oms.core.money import ZERO
from oms.errors import StatementUnreadable
from oms.service.our_side import load_cases
from oms.service.statement_file import read_statement

if TYPE_CHECKING:
    from oms.store.reader import Reader

#: IB makes statements there: their days and times are New York's, whatever zone a gateway has.
NEW_YORK: Final = ZoneInfo("America/New_York")
#: Deals that are looked up in one query.
_DEALS_PER_QUERY: Final = 500
#: Deals that may be kept in memory: those that are taken back or booked again, and those without an
#: execution id.
_KEPT_MAX: Final = 200_000
#: Executions can be booked this much later than they happened: those of a day are fetched until its
#: midnight, and found by hand after a longer outage.
_BOOKED_LATE: Final = timedelta(days=2)
_PAGE_ROWS: Final = 2_000
_ROWS_MAX: Final = 1_000_000
#: How IB names an account; other texts stand over a statement of several.
_ACCOUNT: Final = re.compile(r"[A-Z]{1,3}\d{4,}[A-Z]?")


@dataclass(slots=True)
class Checked:
    """What a check found."""

    digest: str
    headings: list[Heading] = field(default_factory=list)
    deals: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: Which parts of the statements came.
    coverage: list[StatementCoverage] = field(default_factory=list)
    #: Matches are counted, the rest is kept.
    matches: int = 0
    #: Keys of what matched, for open cases that it settles.
    settled: list[Finding] = field(default_factory=list)
    #: The cases that were open when it began.
    open_cases: list[BreakCase] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Return clean only where every comparison matched."""
        return verdict_of(self.findings)

    @property
    def breaks(self) -> list[Finding]:
        """Return what differs."""
        return [f for f in self.findings if f.result == "break"]

    @property
    def run_id(self) -> str:
        """Return the name of this check: that of the file's contents."""
        return f"S{self.digest[:12]}"


# ── checking ─────────────────────────────────────────────────────────────────────────────────────


async def check_statement(reader: Reader, path: Path) -> Checked:
    """Compare a statement file with the books.

    Raises `StatementUnreadable` for a file that is no statement, is cut off, or is about accounts
    that the books do not know.
    """
    try:
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            return await _Check(reader, Checked(digest)).run(source)
    except OSError as error:
        raise StatementUnreadable(f"{path}: {error.strerror or error}") from error


@dataclass(slots=True)
class _Statement:
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
class _Survey:
    """What the first reading has found."""

    #: Account and contract of what was taken back.
    corrected: set[tuple[str, str]] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    #: Keys of deals that several rows are about.
    repeated: set[str] = field(default_factory=set)

    def add(self, deal: Deal) -> None:
        """Take a row."""
        if deal.kind == "cancel":
            self.corrected.add((deal.account, deal.thing))
        elif deal.exec_id:
            (self.repeated if deal.key in self.seen else self.seen).add(deal.key)

    def stands_alone(self, deal: Deal) -> bool:
        """Say whether no other row is about the same execution."""
        return (
            bool(deal.exec_id)
            and deal.kind == "exchange"
            and deal.key not in self.repeated
            and (deal.account, deal.thing) not in self.corrected
        )


class _Check:
    def __init__(self, reader: Reader, checked: Checked) -> None:
        self._reader = reader
        self._checked = checked
        #: The accounts of our books, each with the time that the log has of it.
        self._accounts: dict[str, Span] = {}
        #: Elements of sections, by the statement that they stand in.
        self._came: dict[tuple[str, date, date, int], set[str]] = {}
        #: By account, first and last day, and how often these came before.
        self._statements: dict[tuple[str, date, date, int], _Statement] = {}
        self._dealt: dict[str, Dealt] = {}
        self._waiting: list[tuple[_Statement, Deal]] = []
        self._wanted: set[str] = set()
        self._kept = 0

    async def run(self, source: BinaryIO) -> Checked:
        """Compare every row of a statement; returns what was found."""
        self._accounts = spans_of(await self._sessions())
        rows = await self._reader.rows("breaks", {"live": True})
        open_cases = [row for row in rows if isinstance(row, BreakCase)]
        self._checked.open_cases = open_cases
        self._wanted = {key for case in open_cases for f in case.findings for key in settled_by(f)}
        survey = _Survey()
        for statement, row in self._placed(source):
            statement.coverage.note(row)
            if isinstance(row, Deal):
                survey.add(row)
                statement.has_executions |= row.level == "execution"
        if not self._statements:
            raise StatementUnreadable(
                "the file holds no <FlexStatement> with an account that the books know"
            )
        self._checked.headings = [one.days.heading for one in self._statements.values()]
        for statement, row in self._placed(source):
            await self._take(statement, row, survey)
        await self._match_waiting()
        for account, dealt in self._dealt.items():
            await self._end_account(account, dealt)
        await self._end_others()
        self._checked.coverage = [one.coverage.value() for one in self._statements.values()]
        cases = await load_cases(self._reader, self._checked.findings, open_cases)
        after = accepted(cases, self._checked.findings)
        self._checked.findings = [finding for finding in after if finding.result != "match"]
        self._checked.matches += len(after) - len(self._checked.findings)
        return self._checked

    # ── where a row belongs ──────────────────────────────────────────────────────────────────────

    def _placed(self, source: BinaryIO) -> Iterator[tuple[_Statement, StatementRow]]:
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

    def _statement(self, heading: Heading, account: str, number: int) -> _Statement:
        key = (account, heading.first, heading.last, number)
        found = self._statements.get(key)
        if found is None:
            span = self._accounts[account]
            dealt = self._dealt.setdefault(account, Dealt(account, span, NEW_YORK))
            days = StatementDays(replace(heading, account=account), NEW_YORK)
            coverage = Coverage(days.heading, self._sections(heading, number))
            found = self._statements[key] = _Statement(days, Tally(dealt), coverage)
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

    # ── what becomes of a row ────────────────────────────────────────────────────────────────────

    async def _take(
        self,
        statement: _Statement,
        row: StatementRow,
        survey: _Survey,
    ) -> None:
        tally = statement.tally
        match row:
            case Deal():
                await self._take_deal(statement, row, survey)
            case StatedPosition():
                tally.add_position(row)
            case Cash():
                tally.add_cash(row)
            case Change():
                tally.changes.append(row)
            case OptionLife():
                tally.life.append(row)
            case Unread():
                tally.add_unread(row)
            case Heading() | Section() | PassedOver():
                pass
            case _:
                assert_never(row)

    async def _take_deal(self, statement: _Statement, deal: Deal, survey: _Survey) -> None:
        if deal.level == "order" and statement.has_executions:
            return
        self._checked.deals += 1
        if not survey.stands_alone(deal):
            statement.kept.append(deal)
            self._kept += 1
            if self._kept > _KEPT_MAX:
                raise StatementUnreadable(
                    f"more than {_KEPT_MAX:,} rows belong together or have no execution id",
                    hint="choose fewer days in the Flex query, and its field IB Execution ID",
                )
            return
        statement.tally.add_cash_of(deal)
        self._waiting.append((statement, deal))
        if len(self._waiting) >= _DEALS_PER_QUERY:
            await self._match_waiting()

    async def _match_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        await self._match([(statement, Net.of(deal)) for statement, deal in waiting])

    async def _match(self, nets: Sequence[tuple[_Statement, Net]]) -> None:
        keys = sorted({one.key for _, one in nets})
        fills = {fill.key: fill for fill in await self._fills(fill_key=keys)}
        for statement, one in nets:
            fill = fills.get(one.key)
            if fill is not None:
                statement.tally.dealt.name(fill.key, statement.days.heading.last)
            finding = by_id(one, fill)
            if finding is None:
                statement.open.append((one, fill))
            else:
                self._note(finding)

    async def _end_account(self, account: str, dealt: Dealt) -> None:
        statements = sorted(
            (one for one in self._statements.values() if one.account == account),
            key=lambda one: (one.days.heading.last, one.days.heading.first),
        )
        nets = net(
            [deal for one in statements for deal in one.kept],
            min(one.days.heading.first for one in statements),
        )
        replaced = {deal.place: one.deal for one in nets for deal in one.replaced}
        index = {deal.place: i for i, one in enumerate(statements) for deal in one.kept}
        with_id: list[tuple[_Statement, Net]] = []
        for one in nets:
            _note_then(one, statements, index)
            statement = statements[max(index[deal.place] for deal in one.rows)]
            if one.deal.exec_id and not one.is_outside:
                with_id.append((statement, one))
            else:
                statement.open.append((one, None))
        for start in range(0, len(with_id), _DEALS_PER_QUERY):
            await self._match(with_id[start : start + _DEALS_PER_QUERY])
        since = min(one.days.begin for one in statements)
        adjusted = await self._adjusted(min(one.days.moment for one in statements))
        fills = await self._fills_since(account, since)
        rows = await self._reader.rows("positions", {"account": account}, limit=_ROWS_MAX)
        positions = [row for row in rows if isinstance(row, Position)]
        for statement in statements:
            for deal in statement.kept:
                by = replaced.get(deal.place)
                if by is None or index[by.place] != index[deal.place]:
                    statement.tally.add_cash_of(deal)
                else:
                    statement.tally.add_cash_of_replaced(deal, by)
            await self._end_statement(statement, fills, positions, adjusted)

    async def _end_statement(
        self,
        statement: _Statement,
        fills: Sequence[Fill],
        positions: Sequence[Position],
        adjusted: Sequence[Envelope],
    ) -> None:
        days, tally, coverage = statement.days, statement.tally, statement.coverage
        for finding in unread_findings(tally):
            self._note(finding)
        too_early = days.before_the_log(tally.dealt.span.began)
        if too_early is not None:
            self._note(too_early)
            return
        inside, edge = days.inside_and_edge(fills)
        count = len(inside) + len(edge)
        for finding in coverage.uncovered(executions=count, positions=positions):
            self._note(finding)
        if coverage.has_deals:
            earlier = await self._earlier(statement)
            last, unsure = days.heading.last, BESIDE
            if coverage.only_confirmed:
                inside, edge, unsure = [], [*inside, *edge], UNCONFIRMED
            left = Rest(tally.dealt, last, inside=inside, edge=edge, earlier=earlier, unsure=unsure)
            for finding in left.findings(statement.open):
                self._note(finding)
        if coverage.has(POSITIONS):
            tally.unexplained = tally.dealt.span.unknown_at(days.moment) or coverage.unexplained
            tally.adjusted = adjusted_since(days.moment, tally.account, adjusted)
            held = days.held(positions, fills, tally.dealt.named)
            for finding in holding_findings(held, tally):
                self._note(finding)
        if coverage.has(CASH):
            for finding in cash_findings(
                tally, "" if coverage.has_deals else coverage.reason(DEALS)
            ):
                self._note(finding)

    async def _end_others(self) -> None:
        """Say of which accounts of our books the file says nothing, though they held or dealt."""
        days = [one.days for one in self._statements.values()]
        first, last = min(one.begin for one in days), max(one.end for one in days)
        for account, span in self._accounts.items():
            if account in self._dealt or span.began >= last:
                continue
            rows = await self._reader.rows("positions", {"account": account, "live": True}, limit=1)
            if rows or await self._fills_since(account, first):
                heading = days[0].heading
                self._note(not_named(account, heading.first, heading.last))

    def _note(self, finding: Finding) -> None:
        if finding.result != "match":
            self._checked.findings.append(finding)
            return
        self._checked.matches += 1
        if finding.key in self._wanted or finding.text:
            self._checked.settled.append(finding)

    # ── our side ─────────────────────────────────────────────────────────────────────────────────

    async def _sessions(self) -> list[SessionRecord]:
        rows = await self._reader.rows("sessions", limit=_ROWS_MAX)
        return [row for row in rows if isinstance(row, SessionRecord)]

    async def _adjusted(self, since: datetime) -> list[Envelope]:
        """Return the adjustments of the books from a moment on, oldest first."""
        found: list[Envelope] = []
        before: int | None = None
        while True:
            page = await self._reader.events(
                type=BooksAdjusted.__name__, before=before, reverse=True, limit=_PAGE_ROWS
            )
            late = [one for one in page if one.recorded_at >= since]
            found += late
            if len(late) < _PAGE_ROWS:
                return found[::-1]
            before = page[-1].sequence

    async def _fills(self, **wanted: Sequence[str] | Sequence[int]) -> list[Fill]:
        if not all(wanted.values()):
            return []
        rows = await self._reader.rows("fills", wanted, limit=_ROWS_MAX)
        return [row for row in rows if isinstance(row, Fill)]

    async def _earlier(self, statement: _Statement) -> list[Fill]:
        """Return our fills of any day that a cancel may take back whose original is not here."""
        outside = [one.deal for one, _ in statement.open if one.is_outside]
        by_order = await self._fills(perm_id=sorted({d.perm_id for d in outside} - {0}))
        keys = {f"{d.account}:{d.con_id}" for d in outside if d.con_id and not d.perm_id}
        by_contract = await self._fills(position_key=sorted(keys))
        return [f for f in (*by_order, *by_contract) if f.account == statement.account]

    async def _fills_since(self, account: str, since: datetime) -> list[Fill]:
        """Return the account's fills from a moment on, newest booking first."""
        limit = _PAGE_ROWS
        while True:
            rows = await self._reader.rows(
                "fills", {"account": account}, order="booked_sequence", reverse=True, limit=limit
            )
            fills = [row for row in rows if isinstance(row, Fill)]
            oldest = fills[-1].happened_by if fills else None
            if len(fills) < limit or (oldest is not None and oldest < since - _BOOKED_LATE):
                return [f for f in fills if f.happened_by is None or f.happened_by >= since]
            limit *= 4


def main_account(name: str, known: Collection[str]) -> str:
    """Return the account that we know under a statement's name, "" where there is none: what is
    held in futures stands in a segment of the account, named by a letter after its number.
    """
    if name in known:
        return name
    return name[:-1] if name[-1:].isalpha() and name[:-1] in known else ""


def _note_then(
    one: Net, statements: Sequence[_Statement], index: Mapping[tuple[int, int], int]
) -> None:
    """Note in each statement what it had of a deal that a later one of the file corrects."""
    places = sorted({index[deal.place] for deal in one.rows})
    for i in places[:-1]:
        until = [deal for deal in one.rows if index[deal.place] <= i]
        then = sum((part.quantity for part in net(until, date.min)), ZERO)
        statements[i].tally.then[one.deal.con_id] += then - one.quantity


# ── what is written ──────────────────────────────────────────────────────────────────────────────


async def events_of(reader: Reader, checked: Checked) -> list[Event]:
    """Return what the log is to hold of a check: its result, and the cases that it opens, updates
    and closes. A second check of the same file yields its result only.
    """
    rows = await reader.rows("breaks", {"live": True})
    open_cases = [row for row in rows if isinstance(row, BreakCase)]
    about = [*checked.findings, *checked.settled]
    cases = await load_cases(reader, about, open_cases)
    report = StatementChecked(
        run_id=checked.run_id,
        digest=checked.digest,
        accounts=tuple(h.account for h in checked.headings),
        first_day=min(h.first for h in checked.headings).isoformat(),
        last_day=max(h.last for h in checked.headings).isoformat(),
        coverage=tuple(checked.coverage),
        verdict=checked.verdict,
        deals=checked.deals,
        matches=checked.matches,
        findings=tuple(checked.findings),
    )
    news = case_events(cases, about, {}, run_id=checked.run_id, complete=True)
    return [report, *news]


def still_shut(checked: Checked, events: Iterable[Event]) -> list[BreakCase]:
    """Return the cases that refuse new orders after a check and are not among its own findings."""
    closed = {event.break_id for event in events if isinstance(event, BreakClosed)}
    found = {break_id_of(finding) for finding in checked.breaks}
    return [
        case
        for case in checked.open_cases
        if case.shuts_gate
        and case.break_id not in closed
        and break_id_of(case.finding) not in found
    ]
