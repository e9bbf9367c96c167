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
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, assert_never

from oms.core.compare.cases import accepted, break_id_of, case_events, settled_by
from oms.core.compare.run import verdict_of
from oms.core.compare.statement import (
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
    not_named,
)
from oms.core.compare.statement_days import Span, spans_of
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
from oms.service.statement_placement import AccountStatement, Placement, Survey

if TYPE_CHECKING:
    from oms.store.reader import Reader

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


#: A year of a busy account has a tenth of it.
_FILE_BYTES_MAX: Final = 2**31

# ── checking ─────────────────────────────────────────────────────────────────────────────────────


async def check_statement(reader: Reader, path: Path) -> Checked:
    """Compare a statement file with the books.

    Raises `StatementUnreadable` for a file that is no statement, is cut off, or is about accounts
    that the books do not know.
    """
    try:
        _check_file(path)
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            return await _Check(reader, Checked(digest)).run(source)
    except OSError as error:
        raise StatementUnreadable(f"{path}: {error.strerror or error}") from error


def _check_file(path: Path) -> None:
    """Raise `StatementUnreadable` for what has no end (a device, a pipe) or is far too long."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise StatementUnreadable(f"{path} is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise StatementUnreadable(
            f"{path} is no file but a device, a pipe or a socket", hint="save it as a file first"
        )
    if found.st_size > _FILE_BYTES_MAX:
        raise StatementUnreadable(
            f"{path} has {found.st_size:,} bytes, at most {_FILE_BYTES_MAX:,} are read",
            hint="check the statement of a shorter period",
        )


class _Check:
    def __init__(self, reader: Reader, checked: Checked) -> None:
        self._reader = reader
        self._checked = checked
        self._accounts: dict[str, Span] = {}
        self._placement = Placement(self._accounts)
        self._waiting: list[tuple[AccountStatement, Deal]] = []
        self._wanted: set[str] = set()
        self._kept = 0

    async def run(self, source: BinaryIO) -> Checked:
        """Compare every row of a statement; returns what was found."""
        self._accounts = spans_of(await self._sessions())
        placement = self._placement = Placement(self._accounts)
        rows = await self._reader.rows("breaks", {"live": True})
        open_cases = [row for row in rows if isinstance(row, BreakCase)]
        self._checked.open_cases = open_cases
        self._wanted = {key for case in open_cases for f in case.findings for key in settled_by(f)}
        survey = Survey()
        for statement, row in placement.rows(source):
            statement.coverage.note(row)
            if isinstance(row, Deal):
                survey.add(row)
                statement.has_executions |= row.level == "execution"
        if not placement.statements:
            raise StatementUnreadable(
                "the file holds no <FlexStatement> with an account that the books know"
            )
        self._checked.headings = [one.days.heading for one in self._placement.statements]
        for statement, row in placement.rows(source):
            await self._take(statement, row, survey)
        await self._match_waiting()
        for account, dealt in self._placement.dealt.items():
            await self._end_account(account, dealt)
        await self._end_others()
        self._checked.coverage = [one.coverage.value() for one in self._placement.statements]
        cases = await load_cases(self._reader, self._checked.findings, open_cases)
        after = accepted(cases, self._checked.findings)
        self._checked.findings = [finding for finding in after if finding.result != "match"]
        self._checked.matches += len(after) - len(self._checked.findings)
        return self._checked

    # ── what becomes of a row ────────────────────────────────────────────────────────────────────

    async def _take(
        self,
        statement: AccountStatement,
        row: StatementRow,
        survey: Survey,
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

    async def _take_deal(self, statement: AccountStatement, deal: Deal, survey: Survey) -> None:
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

    async def _match(self, nets: Sequence[tuple[AccountStatement, Net]]) -> None:
        keys = sorted({one.key for _, one in nets})
        fills = {fill.key: fill for fill in await self._fills("fill_key", keys)}
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
            (one for one in self._placement.statements if one.account == account),
            key=lambda one: (one.days.heading.last, one.days.heading.first),
        )
        nets = net(
            [deal for one in statements for deal in one.kept],
            min(one.days.heading.first for one in statements),
        )
        replaced = {deal.place: one.deal for one in nets for deal in one.replaced}
        index = {deal.place: i for i, one in enumerate(statements) for deal in one.kept}
        with_id: list[tuple[AccountStatement, Net]] = []
        for one in nets:
            _note_then(one, statements, index)
            statement = statements[_first_covered(one, statements, index)]
            if one.deal.exec_id and not one.is_outside:
                with_id.append((statement, one))
            else:
                statement.open.append((one, None))
        await self._match(with_id)
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
        statement: AccountStatement,
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
            unsure = BESIDE
            if coverage.only_confirmed:
                inside, edge, unsure = [], [*inside, *edge], UNCONFIRMED
            left = Rest(
                tally.dealt,
                days.heading,
                inside=inside,
                edge=edge,
                earlier=earlier,
                unsure=unsure,
            )
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
        days = [one.days for one in self._placement.statements]
        first, last = min(one.begin for one in days), max(one.end for one in days)
        for account, span in self._accounts.items():
            if account in self._placement.dealt or span.began >= last:
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
            found += [one for one in late if isinstance(one.event, BooksAdjusted)]
            if len(late) < _PAGE_ROWS:
                return found[::-1]
            before = page[-1].sequence

    async def _fills(self, column: str, wanted: Sequence[str] | Sequence[int]) -> list[Fill]:
        found: list[Fill] = []
        for start in range(0, len(wanted), _DEALS_PER_QUERY):
            where = {column: wanted[start : start + _DEALS_PER_QUERY]}
            rows = await self._reader.rows("fills", where, limit=_ROWS_MAX)
            found += [row for row in rows if isinstance(row, Fill)]
        return found

    async def _earlier(self, statement: AccountStatement) -> list[Fill]:
        """Return our fills of any day that a row may be about which tells of a day before: a cancel
        whose original is not here, a deal that is booked again.
        """
        first = statement.days.heading.first
        outside = [
            one.deal
            for one, fill in statement.open
            if one.is_outside
            or (
                fill is None
                and not one.deal.exec_id
                and (one.deal.day is None or one.deal.day < first)
            )
        ]
        by_order = await self._fills("perm_id", sorted({d.perm_id for d in outside} - {0}))
        keys = {f"{d.account}:{d.con_id}" for d in outside if d.con_id}
        by_contract = await self._fills("position_key", sorted(keys))
        found = {fill.key: fill for fill in (*by_order, *by_contract)}
        return [fill for fill in found.values() if fill.account == statement.account]

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


def _first_covered(
    one: Net, statements: Sequence[AccountStatement], index: Mapping[tuple[int, int], int]
) -> int:
    """Return which statement names a deal first, of those that are not older than the log."""
    places = sorted({index[deal.place] for deal in one.rows})
    covered = (
        i
        for i in places
        if statements[i].days.before_the_log(statements[i].tally.dealt.span.began) is None
    )
    return next(covered, places[-1])


def _note_then(
    one: Net, statements: Sequence[AccountStatement], index: Mapping[tuple[int, int], int]
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
