"""The statement check: compares a Flex statement, row by row, with the books.

It only reads. What it finds is returned; whoever called it writes `StatementChecked` and the cases
(`events_of`). If the process dies in between, nothing was written, and the next check finds the
same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, assert_never
from zoneinfo import ZoneInfo

from oms.core.compare.cases import accepted, case_events, settled_by
from oms.core.compare.run import verdict_of
from oms.core.compare.statement import (
    Tally,
    cash_findings,
    deal_finding,
    holding_findings,
    key_of,
    unnamed_findings,
)
from oms.core.compare.statement_days import StatementDays
from oms.core.compare.statement_rows import Cash, Change, Deal, Heading, OptionLife, StatedPosition
from oms.core.events import Event, Finding, SessionOpened, StatementChecked, Verdict
from oms.core.fold.records import BreakCase, Fill, Position, SessionRecord
from oms.errors import StatementUnreadable
from oms.service.our_side import load_cases
from oms.service.statement_file import read_statement

if TYPE_CHECKING:
    from oms.store.reader import Reader

#: Deals that are looked up in one query.
_DEALS_PER_QUERY: Final = 500
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


@dataclass(frozen=True, slots=True)
class _Account:
    """The account whose rows are being read."""

    days: StatementDays
    tally: Tally


class _Check:
    def __init__(self, reader: Reader, zone: ZoneInfo, checked: Checked) -> None:
        self._reader = reader
        self._zone = zone
        self._checked = checked
        self._account: _Account | None = None
        self._waiting: list[Deal] = []
        self._wanted: set[str] = set()
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
                # As the statement writes times: to the second, in no named zone.
                there = began.replace(tzinfo=None, microsecond=0) if began else None
                tally = Tally(row.account, there)
                self._account = _Account(StatementDays(row, self._zone), tally)
                self._checked.headings.append(row)
            else:
                await self._take(row)
        await self._end_account()
        if not self._checked.headings:
            raise StatementUnreadable("the file holds no <FlexStatement>")
        cases = await load_cases(self._reader, self._checked.findings, open_cases)
        after = accepted(cases, self._checked.findings)
        self._checked.findings = [finding for finding in after if finding.result != "match"]
        self._checked.matches += len(after) - len(self._checked.findings)
        return self._checked

    async def _take(self, row: Deal | StatedPosition | Cash | Change | OptionLife) -> None:
        if self._account is None:
            raise StatementUnreadable("a row stands before the first <FlexStatement>")
        tally = self._account.tally
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
            case StatedPosition():
                tally.holdings[row.con_id] = row
            case Cash():
                tally.cash.append(row)
            case Change():
                tally.changes.append(row)
            case OptionLife():
                tally.life.append(row)
            case _:
                assert_never(row)

    async def _match_waiting(self, tally: Tally) -> None:
        deals, self._waiting = self._waiting, []
        keys = sorted({key_of(deal) for deal in deals})
        rows = await self._reader.rows("fills", {"fill_key": keys})
        fills = {row.key: row for row in rows if isinstance(row, Fill)}
        for deal in deals:
            self._note(deal_finding(deal, fills.get(key_of(deal)), tally))
        self._checked.deals += len(deals)

    async def _end_account(self) -> None:
        if self._account is None:
            return
        days, tally = self._account.days, self._account.tally
        await self._match_waiting(tally)
        self._account = None
        too_early = days.before_the_log(self._began)
        if too_early is not None:
            self._note(too_early)
            return
        fills = await self._fills_since(tally.account, days.begin - timedelta(hours=24))
        inside, edge = days.inside_and_edge(fills)
        for finding in unnamed_findings(inside, edge, tally):
            self._note(finding)
        rows = await self._reader.rows("positions", {"account": tally.account})
        held = days.held([row for row in rows if isinstance(row, Position)], fills)
        for finding in [*holding_findings(held, tally), *cash_findings(tally)]:
            self._note(finding)

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
