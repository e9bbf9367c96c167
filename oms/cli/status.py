"""The verb `status`: is all well, and how old is each number that says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from oms.cli.frame import AsJson, perform, print_json, reading, settings_of, show
from oms.cli.rows import age, age_seconds
from oms.report.record_json import time

if TYPE_CHECKING:
    from rich.table import Table

    from oms.core.events import Envelope
    from oms.core.fold.records import (
        Alarm,
        AnyRecord,
        BreakCase,
        Order,
        RunRecord,
        SessionRecord,
        SystemRecord,
    )
    from oms.settings import Settings
    from oms.store.envelopes import Head
    from oms.store.lease import Lease
    from oms.store.reader import Reader

#: Events that are looked through for the broker's last message; a quiet night is longer than this
#: only when nothing at all came.
_LOOKED_THROUGH_MAX: Final = 1_000
#: Alarms that the table shows, the oldest first.
_ALARMS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that `status` shows, as of one moment."""

    now: datetime
    database: str
    bytes: int | None
    head: Head
    checkpoint: int
    leases: tuple[tuple[Lease, bool], ...]
    system: SystemRecord
    session: SessionRecord | None
    last_broker_message: Envelope | None
    orders: tuple[Order, ...]
    breaks: tuple[BreakCase, ...]
    last_run: RunRecord | None
    alarms: tuple[Alarm, ...]
    #: Until when the present gap is explained by a reset of IB's servers.
    expected_until: datetime | None

    @property
    def in_doubt(self) -> tuple[Order, ...]:
        """Return the orders whose outcome is not known."""
        return tuple(o for o in self.orders if o.state.value == "IN_DOUBT")

    @property
    def running(self) -> bool:
        """Say whether a daemon shows signs of life."""
        return any(held for _, held in self.leases)


def register(app: typer.Typer) -> None:
    """Add the verb of this file."""
    app.command()(status)


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Say how things stand, every number with its age.

    \b
    daemon      who holds the lease on this log, and its last sign of life
    session     the connection to the gateway; ready: compared since it came up, orders may leave
    gap         since when the broker may know things that we do not
    alarms      what has lasted too long, the oldest first
    orders      at work; in doubt: perhaps sent, outcome unknown
    breaks      open differences between our books and the broker's
    log         last sequence and its age; the books must have reached the same sequence

    \b
    oms status
    oms status --json
    """

    async def work() -> None:
        async with reading(context) as reader:
            picture = await _picture(reader, settings_of(context))
        if as_json:
            print_json("status", **_json(picture))
        else:
            show(_table(picture))

    perform(work())


async def _picture(reader: Reader, settings: Settings) -> Picture:
    import socket

    from oms.clock import SystemClock

    leases = await reader.leases()
    system = await reader.system()
    sessions = await reader.rows("sessions", {"epoch": str(system.session_epoch)})
    messages = await reader.events(reverse=True, limit=_LOOKED_THROUGH_MAX)
    runs = await reader.rows("runs", order="sequence", reverse=True, limit=1)
    checkpoints = await reader.checkpoints()
    head = await reader.head()
    now = SystemClock().now()
    host = socket.gethostname()
    shown = next(row.value for row in settings.describe() if row.name == "database_url")
    return Picture(
        now=now,
        database=shown,
        bytes=_size(settings.database_url),
        head=head,
        checkpoint=checkpoints.get("books", 0),
        leases=tuple((lease, lease.held(now, host)) for lease in leases),
        system=system,
        session=_only(sessions),
        last_broker_message=next((m for m in messages if m.context.actor == "broker"), None),
        orders=tuple(await _all(reader, "orders", {"live": 1})),
        breaks=tuple(await _all(reader, "breaks", {"status": "open"})),
        last_run=_only(runs),
        alarms=tuple(await _all(reader, "alarms", {"live": 1})),
        expected_until=_expected_until(system, settings, now),
    )


async def _all(reader: Reader, table: str, where: dict[str, object]) -> list[Any]:
    return list(await reader.rows(table, where))


def _only(rows: list[AnyRecord]) -> Any:
    return rows[0] if rows else None


def _expected_until(system: SystemRecord, settings: Settings, now: datetime) -> datetime | None:
    from oms.core.resets import end_of_reset, windows_of

    windows = windows_of(settings.reset_region, settings.reset_windows)
    return end_of_reset(windows, now) if system.gap_sequence else None


def _size(url: str) -> int | None:
    """Return the size of a SQLite file with its write-ahead log; None for PostgreSQL."""
    if not url.startswith("sqlite"):
        return None
    path = Path(url.split("///", 1)[1])
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


# ── showing ──────────────────────────────────────────────────────────────────────────────────────


def _table(picture: Picture) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    for name, words, alarming in _lines(picture):
        made.add_row(Text(name, style="dim"), Text(words, style="bold red" if alarming else ""))
    return made


def _lines(picture: Picture) -> list[tuple[str, str, bool]]:
    """Return name, words and whether a person must look at it."""
    return [
        *_daemon_lines(picture),
        _session_line(picture),
        _broker_line(picture),
        _gap_line(picture),
        *_alarm_lines(picture),
        *_clock_lines(picture),
        _halt_line(picture),
        *_order_lines(picture),
        _break_line(picture),
        _run_line(picture),
        *_log_lines(picture),
    ]


def _daemon_lines(picture: Picture) -> list[tuple[str, str, bool]]:
    if not picture.running:
        stopped = age(picture.system.daemon_stopped_at, picture.now)
        words = f"not running, stopped {stopped} ago" if stopped else "not running"
        return [("daemon", words, True)]
    return [
        (
            "daemon",
            f"running on {lease.host}, process {lease.process_id}: {lease.holder}; lease epoch"
            f" {lease.epoch}, sign of life {age(lease.heartbeat_at, picture.now)} ago",
            False,
        )
        for lease, held in picture.leases
        if held
    ]


def _session_line(picture: Picture) -> tuple[str, str, bool]:
    session, system = picture.session, picture.system
    if session is None:
        return "session", "none yet", True
    where = f"number {session.epoch} with {session.host}:{session.port}, protocol"
    where += f" {session.server_version}, accounts {', '.join(session.accounts)}"
    if not (system.connected and picture.running):
        ended = age(session.closed_at, picture.now)
        words = f"down {ended}" if ended else "down"
        return "session", f"{words} ({session.close_reason or 'daemon gone'}); last {where}", True
    up = f"up {age(session.opened_at, picture.now)}"
    if not system.ready:
        return "session", f"{up}, not compared yet, orders wait; {where}", True
    return "session", f"{up}, ready; {where}", False


def _broker_line(picture: Picture) -> tuple[str, str, bool]:
    last = picture.last_broker_message
    if last is None:
        return "last broker message", f"none in the last {_LOOKED_THROUGH_MAX} events", False
    words = f"{age(last.recorded_at, picture.now)} ago, {type(last.event).__name__}"
    return "last broker message", f"{words} #{last.sequence}", False


def _gap_line(picture: Picture) -> tuple[str, str, bool]:
    system = picture.system
    if not system.gap_sequence:
        return "gap", "none", False
    since = age(system.gap_opened_at, picture.now)
    words = f"open {since} ({system.gap_cause}), event #{system.gap_sequence}"
    if picture.expected_until is not None:
        until = f"{picture.expected_until:%H:%M} UTC"
        return "gap", f"{words}; expected, IB resets its servers until {until}", False
    return "gap", words, True


def _alarm_lines(picture: Picture) -> list[tuple[str, str, bool]]:
    if not picture.alarms:
        return [("alarms", "none", False)]
    shown = sorted(picture.alarms, key=lambda a: a.since)
    lines = []
    for number, alarm in enumerate(shown[:_ALARMS_SHOWN]):
        about = " ".join(p for p in (alarm.account, alarm.symbol, alarm.order_id[:12]) if p)
        kind = alarm.kind.replace("_", " ")
        words = f"{kind} {age(alarm.since, picture.now)}{f' ({about})' if about else ''}"
        lines.append(("" if number else "alarms", f"{words}: {alarm.text}", True))
    if len(shown) > _ALARMS_SHOWN:
        lines.append(("", f"and {len(shown) - _ALARMS_SHOWN} more; `oms status --json`", True))
    return lines


def _clock_lines(picture: Picture) -> list[tuple[str, str, bool]]:
    offset, at = picture.system.server_offset_ms, picture.system.server_time_at
    if offset is None:
        return []
    side = "ahead" if offset > 0 else "behind"
    words = f"{abs(offset) / 1000:.1f} s {side}, read {age(at, picture.now)} ago"
    return [("gateway's clock", words, False)]


def _halt_line(picture: Picture) -> tuple[str, str, bool]:
    system = picture.system
    if not system.halted:
        return "trading", "not halted", False
    return "trading", f"halted by {system.halt_actor}: {system.halt_reason}", True


def _order_lines(picture: Picture) -> list[tuple[str, str, bool]]:
    states = Counter(order.state.value for order in picture.orders)
    words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    doubt = picture.in_doubt
    oldest = min((o.updated_at for o in doubt if o.updated_at), default=None)
    since = f", the oldest since {age(oldest, picture.now)}" if oldest else ""
    return [
        ("orders", words or "none at work", False),
        ("in doubt", f"{len(doubt)}{since}" if doubt else "none", bool(doubt)),
    ]


def _break_line(picture: Picture) -> tuple[str, str, bool]:
    cases = picture.breaks
    if not cases:
        return "breaks", "none open", False
    severities = Counter(case.finding.severity or "" for case in cases)
    words = ", ".join(f"{n} {severity}" for severity, n in sorted(severities.items()))
    oldest = age(min(case.opened_at for case in cases), picture.now)
    return "breaks", f"{len(cases)} open ({words}), the oldest {oldest}", True


def _run_line(picture: Picture) -> tuple[str, str, bool]:
    last = picture.last_run
    if last is None:
        return "last comparison", "none yet", True
    words = f"{age(last.finished_at, picture.now)} ago, {last.verdict}: {last.matches} agree,"
    words += f" {last.breaks} differ, {last.unknowns} unknown ({last.run_id})"
    return "last comparison", words, last.verdict != "clean"


def _log_lines(picture: Picture) -> list[tuple[str, str, bool]]:
    head = picture.head
    size = "" if picture.bytes is None else f", {picture.bytes / 1_000_000:,.1f} MB"
    written = age(head.recorded_at, picture.now)
    log = f"{head.sequence:,} events{f', the last {written} ago' if written else ''}{size}"
    behind = max(head.sequence - picture.checkpoint, 0)
    # While a burst is written the books trail it; they must not once nobody is left to catch up.
    words = f"{behind:,} events behind the log" if behind else "at the end of the log"
    return [
        ("log", f"{log}, {picture.database}", False),
        ("books", words, behind > 0 and not picture.running),
    ]


def _json(picture: Picture) -> dict[str, Any]:
    now, system, last = picture.now, picture.system, picture.last_broker_message
    return {
        "at": time(now),
        "as_of_sequence": picture.checkpoint,
        "daemon": {
            "running": picture.running,
            "started_at": time(system.daemon_started_at),
            "stopped_at": time(system.daemon_stopped_at),
            "leases": [_lease_json(lease, held, now) for lease, held in picture.leases],
        },
        "session": _session_json(picture),
        "gap": {
            "open": bool(system.gap_sequence),
            "cause": system.gap_cause,
            "sequence": system.gap_sequence or None,
            "opened_at": time(system.gap_opened_at),
            "age_seconds": age_seconds(system.gap_opened_at, now) if system.gap_sequence else None,
            "expected_until": time(picture.expected_until),
        },
        "alarms": [_alarm_json(alarm, now) for alarm in picture.alarms],
        "gateway_clock": {
            "offset_ms": system.server_offset_ms,
            "read_at": time(system.server_time_at),
        },
        "halt": {
            "halted": system.halted,
            "reason": system.halt_reason,
            "actor": system.halt_actor,
        },
        "last_broker_message": None
        if last is None
        else {
            "sequence": last.sequence,
            "type": type(last.event).__name__,
            "recorded_at": time(last.recorded_at),
            "age_seconds": age_seconds(last.recorded_at, now),
        },
        "orders": {
            "live": len(picture.orders),
            "by_state": dict(Counter(order.state.value for order in picture.orders)),
            "in_doubt": [order.order_id for order in picture.in_doubt],
        },
        "breaks": {
            "open": len(picture.breaks),
            "by_severity": dict(Counter(c.finding.severity or "" for c in picture.breaks)),
            "oldest_opened_at": time(min((c.opened_at for c in picture.breaks), default=None)),
        },
        "last_reconciliation": _run_json(picture),
        "log": {
            "database": picture.database,
            "bytes": picture.bytes,
            "sequence": picture.head.sequence,
            "hash": picture.head.hash.hex(),
            "recorded_at": time(picture.head.recorded_at),
            "age_seconds": age_seconds(picture.head.recorded_at, now),
            "books_sequence": picture.checkpoint,
        },
    }


def _alarm_json(alarm: Alarm, now: datetime) -> dict[str, Any]:
    return {
        "alarm_id": alarm.alarm_id,
        "kind": alarm.kind,
        "subject": alarm.subject,
        "since": time(alarm.since),
        "age_seconds": age_seconds(alarm.since, now),
        "text": alarm.text,
        "account": alarm.account,
        "symbol": alarm.symbol,
        "order_id": alarm.order_id,
        "raised_at": time(alarm.raised_at),
        "sequence": alarm.raised_sequence,
        "times": alarm.times,
    }


def _lease_json(lease: Lease, held: bool, now: datetime) -> dict[str, Any]:
    return {
        "name": lease.name,
        "holder": lease.holder,
        "host": lease.host,
        "process_id": lease.process_id,
        "epoch": lease.epoch,
        "held": held,
        "heartbeat_at": time(lease.heartbeat_at),
        "age_seconds": age_seconds(lease.heartbeat_at, now),
    }


def _session_json(picture: Picture) -> dict[str, Any] | None:
    session, system = picture.session, picture.system
    if session is None:
        return None
    up = system.connected and picture.running
    return {
        "epoch": session.epoch,
        "connected": up,
        "ready": up and system.ready,
        "host": session.host,
        "port": session.port,
        "client_id": session.client_id,
        "server_version": session.server_version,
        "accounts": list(session.accounts),
        "opened_at": time(session.opened_at),
        "ready_at": time(session.ready_at),
        "closed_at": time(session.closed_at),
        "close_reason": session.close_reason,
        "age_seconds": age_seconds(session.opened_at, picture.now),
    }


def _run_json(picture: Picture) -> dict[str, Any] | None:
    from oms.report.record_json import run_json

    if picture.last_run is None:
        return None
    finished = picture.last_run.finished_at
    return {**run_json(picture.last_run), "age_seconds": age_seconds(finished, picture.now)}
