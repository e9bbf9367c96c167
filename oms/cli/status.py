"""The verb `status`: how things stand, each number with its age."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.table import Table
from rich.text import Text

from oms.cli.context import settings_of
from oms.cli.options import AsJson
from oms.cli.output import print_json
from oms.cli.past import AsOf, WhichOf, shelf
from oms.cli.reading import asynchronous, reading
from oms.cli.tables import age
from oms.cli.terminal import show
from oms.clock import SystemClock
from oms.core.resets import windows_of
from oms.core.situation import Health, Situation, alarm_words, judge
from oms.errors import LogWentBack
from oms.history.situation import situation_at
from oms.report.situation_json import of_the_past, queue_words, situation_json
from oms.settings import Settings
from oms.store.situation import HEARD_EVENTS_MAX, read_situation
from oms.store.soundness import find_damage

app = typer.Typer()

#: Alarms that the table shows, the oldest first.
_ALARMS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One line of the table."""

    name: str
    words: str
    #: A person must look at it.
    urgent: bool = False


@app.command()
@asynchronous
async def status(
    context: typer.Context,
    as_of: AsOf = None,
    by: WhichOf = None,
    as_json: AsJson = False,
) -> None:
    """Show how things stand, every number with its age.

    \b
    verdict     all is well, needs a look, or down; why, and what to do
    daemon      who holds the lease on this log, and its last sign of life
    queue       what waited for the disk before that sign of life
    session     the connection to the gateway; ready: compared since it came up, orders may leave
    last answer what the last comparison asked IB, and how each question ended
    gap         since when the broker may know things that we do not
    alarms      what has lasted too long, the oldest first
    orders      at work; in doubt: perhaps sent, outcome unknown
    breaks      open differences between our books and the broker's
    log         last sequence and its age; the books must have reached the same sequence

    The exit status is 4 where the log lacks events that were in it, or the database
    is damaged.

    \b
    oms status
    oms status --json
    oms status --as-of 2026-06-01T14:03Z
    """
    settings = settings_of(context)
    if as_of is not None or by is not None:
        await _status_then(context, as_of, by, as_json=as_json)
        return
    async with reading(context, checked=False) as reader:
        situation = await read_situation(
            reader,
            SystemClock().now(),
            host=socket.gethostname(),
            resets=windows_of(settings.reset_region, settings.reset_windows),
            reconcile_interval_seconds=settings.reconcile_interval_seconds,
            damage=await asyncio.to_thread(find_damage, settings.database_url),
        )
    health = judge(situation)
    database, size = _database(settings), _size(settings.database_url)
    if as_json:
        values = situation_json(situation, health)
        values["as_of_sequence"] = situation.books_sequence
        values["log"] = {"database": database, "bytes": size, **values["log"]}
        print_json("status", **values)
    else:
        log = _log_lines(situation, database, size)
        show(_table([*_lines(situation, health), *log]))
    if situation.loss or situation.damage is not None:
        raise typer.Exit(LogWentBack.exit_code)


async def _status_then(
    context: typer.Context, as_of: str | None, by: str | None, *, as_json: bool
) -> None:
    """Show how things stood, as far as the log says."""
    settings = settings_of(context)
    async with shelf(context, as_of, by) as place:
        assert place.past is not None, "a moment was asked for"
        resets = windows_of(settings.reset_region, settings.reset_windows)
        situation = await situation_at(place.past, resets=resets)
    if as_json:
        values = of_the_past(situation_json(situation, judge(situation)))
        values["log"] = {"database": _database(settings), "bytes": None, **values["log"]}
        print_json("status", **{**values, **place.json})
        return
    place.say()
    head, age_then = situation.head, age(situation.head.recorded_at, situation.read_at)
    log = StatusLine("log", f"{head.sequence:,} events, the last {age_then} ago")
    show(_table([_daemon_then(situation), *_lines_of_books(situation), log]))


def _daemon_then(situation: Situation) -> StatusLine:
    system = situation.system
    if not situation.running:
        stopped = age(system.daemon_stopped_at, situation.read_at)
        return StatusLine("daemon", f"stopped {stopped} ago" if stopped else "none yet", True)
    started = age(system.daemon_started_at, situation.read_at)
    return StatusLine("daemon", f"process {system.process_id}, started {started} ago")


def _database(settings: Settings) -> str:
    """Return where the log is, a password hidden."""
    return next(row.value for row in settings.describe() if row.name == "database_url")


def _size(url: str) -> int | None:
    """Return the size of a SQLite file with its write-ahead log; None for PostgreSQL."""
    if not url.startswith("sqlite"):
        return None
    path = Path(url.split("///", 1)[1])
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


# ── showing ── ────────────────────────────────────────────────────────────────────────────────────


def _table(lines: list[StatusLine]) -> Table:
    made = Table.grid(padding=(0, 2))
    for line in lines:
        style = "bold red" if line.urgent else ""
        made.add_row(Text(line.name, style="dim"), Text(line.words, style=style))
    return made


def _lines(situation: Situation, health: Health) -> list[StatusLine]:
    return [
        *_verdict_lines(health),
        *_daemon_lines(situation),
        *_lines_of_books(situation),
    ]


def _lines_of_books(situation: Situation) -> list[StatusLine]:
    return [
        _session_line(situation),
        _broker_line(situation),
        *_answer_lines(situation),
        _gap_line(situation),
        *_alarm_lines(situation),
        *_clock_lines(situation),
        _halt_line(situation),
        *_order_lines(situation),
        _break_line(situation),
        _run_line(situation),
    ]


def _verdict_lines(health: Health) -> Iterator[StatusLine]:
    yield StatusLine("verdict", health.words, health.level != "ok")
    for reason in health.reasons:
        yield StatusLine("why", reason.text, not reason.expected)
        yield StatusLine("what to do", reason.advice)


def _daemon_lines(situation: Situation) -> list[StatusLine]:
    now = situation.read_at
    silent = situation.silent
    if silent is not None:
        beat = age(silent.heartbeat_at, now)
        words = f"process {silent.process_id} runs and writes nothing, sign of life {beat} ago"
        return [StatusLine("daemon", words, True)]
    if not situation.running:
        stopped = age(situation.system.daemon_stopped_at, now)
        words = f"not running, stopped {stopped} ago" if stopped else "not running"
        return [StatusLine("daemon", words, True)]
    lines = []
    for claim in situation.holders:
        words = (
            f"running on {claim.host}, process {claim.process_id}: {claim.holder}; lease epoch"
            f" {claim.epoch}, sign of life {age(claim.heartbeat_at, now)} ago"
        )
        lines.append(StatusLine("daemon", words))
        if waited := queue_words(claim):
            lines.append(StatusLine("queue", waited))
    return lines


def _session_line(situation: Situation) -> StatusLine:
    session = situation.session
    if session is None:
        return StatusLine("session", "none yet", True)
    where = f"number {session.epoch} with {session.host}:{session.port}, protocol"
    where += f" {session.server_version}, accounts {', '.join(session.accounts)}"
    if not situation.connected:
        ended = age(session.closed_at, situation.read_at)
        words = f"down {ended}" if ended else "down"
        return StatusLine(
            "session", f"{words} ({session.close_reason or 'daemon gone'}); last {where}", True
        )
    up = f"up {age(session.opened_at, situation.read_at)}"
    if not situation.ready:
        return StatusLine("session", f"{up}, not compared yet, orders wait; {where}", True)
    return StatusLine("session", f"{up}, ready; {where}")


def _broker_line(situation: Situation) -> StatusLine:
    last = situation.heard
    if last is None:
        return StatusLine("last broker message", f"none in the last {HEARD_EVENTS_MAX} events")
    words = f"{age(last.recorded_at, situation.read_at)} ago, {type(last.event).__name__}"
    return StatusLine("last broker message", f"{words} #{last.sequence}")


def _answer_lines(situation: Situation) -> Iterator[StatusLine]:
    for question in situation.questions:
        asked = question.kind.replace("_", " ")
        ago = f"{age(question.answered_at, situation.read_at)} ago"
        answered = question.outcome == "complete"
        words = f"{asked}: answered {ago}" if answered else f"{asked}: {question.outcome}, {ago}"
        yield StatusLine("last answer", words, not answered)


def _gap_line(situation: Situation) -> StatusLine:
    system, until = situation.system, situation.expected_until
    if not system.gap_sequence:
        if not situation.running:
            return StatusLine("gap", "unknown, no daemon watches the line", True)
        return StatusLine("gap", "none")
    since = age(system.gap_opened_at, situation.read_at)
    words = f"open {since} ({system.gap_cause}), event #{system.gap_sequence}"
    if until is not None:
        words = f"{words}; expected, IB resets its servers until {until:%H:%M} UTC"
    return StatusLine("gap", words, until is None)


def _alarm_lines(situation: Situation) -> list[StatusLine]:
    alarms = situation.alarms
    if not alarms:
        return [StatusLine("alarms", "none")]
    lines = [
        StatusLine("" if number else "alarms", alarm_words(alarm, situation.read_at), True)
        for number, alarm in enumerate(alarms[:_ALARMS_SHOWN])
    ]
    if len(alarms) > _ALARMS_SHOWN:
        more = len(alarms) - _ALARMS_SHOWN
        lines.append(StatusLine("", f"and {more} more; `oms status --json`", True))
    return lines


def _clock_lines(situation: Situation) -> list[StatusLine]:
    offset, at = situation.system.server_offset_ms, situation.system.server_time_at
    if offset is None:
        return []
    side = "ahead" if offset > 0 else "behind"
    read = age(at, situation.read_at)
    error = situation.system.server_error_ms
    within = "" if error is None else f", off by at most {error / 1000:.2f} s"
    text = f"{abs(offset) / 1000:.2f} s {side}{within}, read {read} ago"
    return [StatusLine("gateway's clock", text)]


def _halt_line(situation: Situation) -> StatusLine:
    system = situation.system
    if not system.halted:
        return StatusLine("trading", "not halted")
    return StatusLine("trading", f"halted by {system.halt_actor}: {system.halt_reason}", True)


def _order_lines(situation: Situation) -> list[StatusLine]:
    words = ", ".join(f"{n} {state}" for state, n in sorted(situation.orders_by_state.items()))
    doubts = len(situation.doubts)
    oldest = age(situation.oldest_doubt_at, situation.read_at)
    since = f", the oldest for {oldest}" if oldest else ""
    return [
        StatusLine("orders", words or "none at work"),
        StatusLine("in doubt", f"{doubts}{since}" if doubts else "none", bool(doubts)),
    ]


def _break_line(situation: Situation) -> StatusLine:
    cases = situation.open_breaks
    if not cases:
        return StatusLine("breaks", "none open")
    severities = Counter(case.finding.severity or "" for case in cases)
    words = ", ".join(f"{n} {severity}" for severity, n in sorted(severities.items()))
    oldest = age(situation.oldest_break_at, situation.read_at)
    return StatusLine("breaks", f"{len(cases)} open ({words}), the oldest {oldest}", True)


def _run_line(situation: Situation) -> StatusLine:
    last = situation.last_run
    if last is None:
        return StatusLine("last comparison", "none yet", True)
    words = f"{age(last.finished_at, situation.read_at)} ago, {last.verdict}: {last.matches} agree,"
    words += f" {last.breaks} differ, {last.unknowns} unknown ({last.run_id})"
    overdue = any(reason.code == "reconciliation_overdue" for reason in judge(situation).reasons)
    return StatusLine("last comparison", words, last.verdict != "clean" or overdue)


def _log_lines(situation: Situation, database: str, size: int | None) -> list[StatusLine]:
    head, behind = situation.head, situation.behind
    megabytes = "" if size is None else f", {size / 1_000_000:,.1f} MB"
    written = age(head.recorded_at, situation.read_at)
    log = f"{head.sequence:,} events{f', the last {written} ago' if written else ''}{megabytes}"
    words = f"{behind:,} events behind the log" if behind else "at the end of the log"
    return [StatusLine("log", f"{log}, {database}"), StatusLine("books", words, bool(behind))]
