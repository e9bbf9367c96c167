"""The statement check: reads a Flex statement as a stream and compares it with the books.

The file comes from outside, so it is read with suspicion: a document type is refused before
anything in it is expanded, nothing outside the file is opened, names and nesting are bounded, and
no more than one row and the tallies are in memory however long the file is.

It only reads. What it finds is returned; whoever called it writes `StatementChecked` and the cases
(`events_of`). If the process dies in between, nothing was written, and the next check finds the
same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from xml.parsers import expat
from zoneinfo import ZoneInfo

from oms.core.compare.cases import accepted, case_events, settled_by
from oms.core.compare.findings import Thing
from oms.core.compare.run import verdict_of
from oms.core.compare.statement import (
    Tally,
    cash_findings,
    deal_finding,
    holding_findings,
    key_of,
    unnamed_findings,
)
from oms.core.compare.statement_rows import (
    Cash,
    Change,
    Deal,
    Heading,
    Holding,
    OptionLife,
    RowUnreadable,
    StatementRow,
    read_row,
)
from oms.core.events import Event, Finding, SessionOpened, StatementChecked, Verdict
from oms.core.fold.records import BreakCase, Fill, Position, SessionRecord
from oms.core.money import ZERO
from oms.errors import StatementUnreadable
from oms.service.our_side import load_cases

if TYPE_CHECKING:
    from oms.store.reader import Reader

_CHUNK_BYTES: Final = 64 * 1024
#: Elements inside one another; a statement has five.
_DEPTH_MAX: Final = 16
#: Deals that are looked up in one query.
_DEALS_PER_QUERY: Final = 500
#: From here on IB may book a deal to the next trading day, in the gateway's zone.
EVENING: Final = time(17)
#: Executions can be booked this much later than they happened: those of a day are fetched until its
#: midnight, and found by hand after a longer outage.
_BOOKED_LATE: Final = timedelta(days=2)
_PAGE_ROWS: Final = 2_000


@dataclass(slots=True)
class Checked:
    """What a check found."""

    digest: str
    headings: list[Heading] = field(default_factory=list)
    deals: int = 0
    findings: list[Finding] = field(default_factory=list)
    #: Matches are counted, the rest is kept.
    matches: int = 0
    #: Keys of what matched, for open cases that it settles.
    settled: list[Finding] = field(default_factory=list)

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


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def read_statement(source: BinaryIO) -> Iterator[tuple[StatementRow, bytes]]:
    """Yield the rows of a statement as they stand in the file, each with the last bytes read.

    Raises `StatementUnreadable` for what is no statement, naming the line; the rows before it have
    been yielded, so nothing may be concluded before the end.
    """
    rows: list[StatementRow] = []
    parser = _parser(rows)
    is_over = False
    while not is_over:
        chunk = source.read(_CHUNK_BYTES)
        is_over = not chunk
        try:
            parser.Parse(chunk, is_over)
        except expat.ExpatError as error:
            raise StatementUnreadable(
                f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}",
                hint="the file may have been cut off; download it again",
            ) from error
        except RowUnreadable as error:
            raise StatementUnreadable(f"line {parser.CurrentLineNumber}: {error}") from error
        yield from ((row, chunk) for row in rows)
        rows.clear()


def _parser(rows: list[StatementRow]) -> expat.XMLParserType:
    parser = expat.ParserCreate()
    path: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        """Read an element, and where it stands."""
        if not path and tag != "FlexQueryResponse":
            raise RowUnreadable(_not_a_statement(tag))
        path.append(tag)
        if len(path) > _DEPTH_MAX:
            raise RowUnreadable(f"<{tag}> is nested more than {_DEPTH_MAX} deep")
        row = read_row(tag, attributes)
        if row is not None:
            rows.append(row)

    def end(tag: str) -> None:
        """Leave an element."""
        path.pop()

    def doctype(*_: object) -> None:
        """Refuse what no statement has."""
        raise RowUnreadable("a document type is declared, which no statement of IB has")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    return parser


def _not_a_statement(tag: str) -> str:
    if tag == "FlexStatementResponse":
        return "this is the Flex service's answer to a request, not the statement itself"
    return f"the root is <{tag}>, not <FlexQueryResponse>: choose XML as the query's format"


# ── checking ─────────────────────────────────────────────────────────────────────────────────────


async def check_statement(reader: Reader, path: Path, zone: ZoneInfo) -> Checked:
    """Compare a statement file with the books; `zone` is the gateway's, whose days IB's are.

    Raises `StatementUnreadable` for a file that is no statement, is cut off, or is about accounts
    that the books do not know.
    """
    try:
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            return await _Check(reader, zone, Checked(digest)).run(source)
    except OSError as error:
        raise StatementUnreadable(f"{path}: {error.strerror or error}") from error


class _Check:
    def __init__(self, reader: Reader, zone: ZoneInfo, checked: Checked) -> None:
        self._reader = reader
        self._zone = zone
        self._checked = checked
        self._tally: Tally | None = None
        self._heading: Heading | None = None
        self._waiting: list[Deal] = []
        self._wanted: set[str] = set()
        self._kept: list[Finding] = []
        self._began: datetime | None = None

    async def run(self, source: BinaryIO) -> Checked:
        """Compare every row of a statement; returns what was found."""
        accounts = await self._accounts()
        self._began = await self._books_began()
        open_cases = [
            case
            for case in await self._reader.rows("breaks", {"live": True})
            if isinstance(case, BreakCase)
        ]
        self._wanted = {settled_by(case.finding) for case in open_cases}
        for row, _ in read_statement(source):
            if isinstance(row, Heading):
                await self._end_account()
                if row.account not in accounts:
                    raise StatementUnreadable(
                        f"the statement is of account {row.account}; the books know"
                        f" {', '.join(sorted(accounts)) or 'no account yet'}",
                        hint="choose the log of that account with --database, or another file",
                    )
                began = self._began.astimezone(self._zone) if self._began else None
                self._tally = Tally(
                    row.account, began.replace(tzinfo=None, microsecond=0) if began else None
                )
                self._heading = row
                self._checked.headings.append(row)
            else:
                await self._take(row)
        await self._end_account()
        if not self._checked.headings:
            raise StatementUnreadable("the file holds no <FlexStatement>")
        cases = await load_cases(self._reader, self._checked.findings, open_cases)
        for finding in accepted(cases, self._checked.findings):
            if finding.result == "match":
                self._checked.matches += 1
            else:
                self._kept.append(finding)
        self._checked.findings = self._kept
        return self._checked

    async def _take(self, row: StatementRow) -> None:
        tally, heading = self._tally, self._heading
        if tally is None or heading is None:
            raise StatementUnreadable("a row stands before the first <FlexStatement>")
        assert not isinstance(row, Heading)
        if row.account != tally.account:
            raise StatementUnreadable(
                f"a row of account {row.account} stands in the statement of {tally.account}"
            )
        match row:
            case Deal() if row.exec_id:
                self._waiting.append(row)
                if len(self._waiting) >= _DEALS_PER_QUERY:
                    await self._match_waiting(tally)
            case Deal():
                tally.booked.append(row)
            case Holding():
                tally.holdings[row.con_id] = row
            case Cash():
                tally.cash.append(row)
            case Change():
                tally.changes.append(row)
            case OptionLife():
                tally.life.append(row)

    async def _match_waiting(self, tally: Tally) -> None:
        deals, self._waiting = self._waiting, []
        keys = sorted({key_of(deal) for deal in deals})
        rows = await self._reader.rows("fills", {"fill_key": keys})
        fills = {row.key: row for row in rows if isinstance(row, Fill)}
        for deal in deals:
            self._note(deal_finding(deal, fills.get(key_of(deal)), tally))
        self._checked.deals += len(deals)

    async def _end_account(self) -> None:
        tally, heading = self._tally, self._heading
        if tally is None or heading is None:
            return
        await self._match_waiting(tally)
        begin, end = self._days(heading)
        began = self._began
        if began is None or began >= end:
            self._note(_before_the_log(heading, began))
            self._tally = None
            return
        fills = await self._fills_since(tally.account, begin - timedelta(hours=24))
        inside, edge = self._inside_and_edge(fills, heading)
        for finding in unnamed_findings(inside, edge, tally):
            self._note(finding)
        held = await self._held_at(tally.account, fills, end, heading)
        for finding in [*holding_findings(held, tally), *cash_findings(tally)]:
            self._note(finding)
        self._tally = None

    def _note(self, finding: Finding) -> None:
        if finding.result != "match":
            self._checked.findings.append(finding)
            return
        self._checked.matches += 1
        if finding.key in self._wanted or finding.text:
            self._checked.settled.append(finding)

    # ── our side ─────────────────────────────────────────────────────────────────────────────────

    async def _accounts(self) -> set[str]:
        sessions = await self._reader.rows("sessions", limit=10_000)
        return {a for s in sessions if isinstance(s, SessionRecord) for a in s.accounts}

    async def _books_began(self) -> datetime | None:
        first = await self._reader.events(type=SessionOpened.__name__, limit=1)
        return first[0].recorded_at if first else None

    def _days(self, heading: Heading) -> tuple[datetime, datetime]:
        return (
            self._at(heading.first, time()),
            self._at(heading.last + timedelta(days=1), time()),
        )

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, self._zone)

    async def _fills_since(self, account: str, since: datetime) -> list[Fill]:
        """Return the account's fills from a moment on, newest booking first."""
        limit = _PAGE_ROWS
        while True:
            rows = await self._reader.rows(
                "fills", {"account": account}, order="booked_sequence", reverse=True, limit=limit
            )
            fills = [row for row in rows if isinstance(row, Fill)]
            oldest = fills[-1].occurred_at if fills else None
            if len(fills) < limit or (oldest is not None and oldest < since - _BOOKED_LATE):
                return [f for f in fills if f.occurred_at is None or f.occurred_at >= since]
            limit *= 4

    def _inside_and_edge(
        self, fills: list[Fill], heading: Heading
    ) -> tuple[list[Fill], list[Fill]]:
        """Split what happened in the statement's days from what IB may book to a day beside."""
        begin, end = self._days(heading)
        evening_before = self._at(heading.first - timedelta(days=1), EVENING)
        evening = self._at(heading.last, EVENING)
        inside, edge = [], []
        for fill in fills:
            at = fill.occurred_at
            if at is None:
                edge.append(fill)
            elif begin <= at < evening:
                inside.append(fill)
            elif evening_before <= at < end:
                edge.append(fill)
        return inside, edge

    async def _held_at(
        self, account: str, fills: list[Fill], end: datetime, heading: Heading
    ) -> list[tuple[Position, Decimal, Decimal]]:
        """Return our positions as they were at the end of the last day, and the evening's part."""
        evening = self._at(heading.last, EVENING)
        after: dict[int, Decimal] = {}
        late: dict[int, Decimal] = {}
        for fill in fills:
            con_id, at = fill.contract.con_id, fill.occurred_at
            if at is not None and at >= end:
                after[con_id] = after.get(con_id, ZERO) + fill.signed_quantity
            elif at is not None and at >= evening:
                late[con_id] = late.get(con_id, ZERO) + fill.signed_quantity
        rows = await self._reader.rows("positions", {"account": account})
        return [
            (p, p.quantity - after.get(p.contract.con_id, ZERO), late.get(p.contract.con_id, ZERO))
            for p in rows
            if isinstance(p, Position)
        ]


def _before_the_log(heading: Heading, began: datetime | None) -> Finding:
    since = f"at {began:%Y-%m-%d %H:%M} UTC" if began else "not yet"
    days = Thing(
        subject="statement_days",
        name=f"{heading.account}:{heading.first}",
        account=heading.account,
        ours=f"the log began {since}",
        theirs=f"{heading.first} to {heading.last}",
    )
    return days.unknown("the statement's days were over before the log began")


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
        verdict=checked.verdict,
        deals=checked.deals,
        matches=checked.matches,
        findings=tuple(checked.findings),
    )
    news = case_events(cases, about, {}, run_id=checked.run_id, complete=True)
    return [report, *news]
