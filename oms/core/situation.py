"""How things stand: what the books and the leases say at one moment, and the one judgement of it.

`oms status`, the operator pages, `/health` and `/metrics` render this value and no other, so that
they cannot disagree about whether a person must look.

`down` means that we are blind or cannot send: the database cannot be read, no daemon shows signs of
life, there is no session. `degraded` means that it runs and a person should look, or wait. A row
that says "connected" is not believed when the process that wrote it has stopped beating.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal, get_args

from oms.core.codec import Head
from oms.core.events import AlarmKind, Envelope, Question, Severity
from oms.core.fold.records import (
    Alarm,
    Anomaly,
    BreakCase,
    Order,
    RunRecord,
    SessionRecord,
    SystemRecord,
)
from oms.core.resets import Window, end_of_reset
from oms.core.words import ago, counted, duration
from oms.errors import ChainBroken, DatabaseDamaged, LogWentBack

Level = Literal["ok", "degraded", "down"]

#: Each level as people read it.
LEVELS: Final[Mapping[Level, str]] = MappingProxyType(
    {"ok": "All is well", "degraded": "Needs a look", "down": "Down"}
)
#: Missed schedules before the last reconciliation counts as overdue.
INTERVALS_MISSED_MAX: Final = 2
#: Accounts and contracts that one line names.
_PLACES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """One daemon's lease on the log, as it was at the moment of reading."""

    name: str
    holder: str
    host: str
    process_id: int
    epoch: int
    #: None once the daemon has given the lease back.
    heartbeat_at: datetime | None
    #: Whether its holder shows signs of life.
    held: bool
    #: Whether its program is seen to run on this machine, held or not.
    alive: bool = False
    #: Where it answers other programs; "" where it does not.
    address: str = ""
    #: The most events that waited for the disk before its last sign of life, how long one did, and
    #: how long a transaction took; None from an earlier version.
    waiting: int | None = None
    oldest_waited: timedelta | None = None
    append_took: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """An order whose outcome is not known, and since when; None where that was not looked up."""

    order: Order
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of the whole, with the times that its ages are counted from."""

    #: The time of the log when it was read; every age is counted from here.
    read_at: datetime
    head: Head
    #: The event that the rows of orders, fills and positions have reached.
    books_sequence: int
    system: SystemRecord
    session: SessionRecord | None
    claims: tuple[Claim, ...]
    #: How many orders that can still change are in each state; states without any are left out.
    orders_by_state: Mapping[str, int]
    #: The oldest doubt first.
    doubts: tuple[Doubt, ...]
    open_breaks: tuple[BreakCase, ...]
    #: Events that the books could not take, for as long as nobody has closed their breaks.
    set_aside: tuple[Anomaly, ...]
    #: What has lasted too long, the oldest first.
    alarms: tuple[Alarm, ...]
    last_run: RunRecord | None
    #: Runs that have begun and not ended.
    runs_under_way: tuple[RunRecord, ...]
    #: The newest message of the broker; None where the newest events hold none.
    heard: Envelope | None
    #: How the questions of the last comparison ended: what shows that IB answers about orders.
    questions: tuple[Question, ...] = ()
    #: The hours in which IB resets its servers.
    resets: tuple[Window, ...] = ()
    #: The machine's clock less the time of the log; IB's days and resets go by the clock.
    apart: timedelta = timedelta()
    #: Zero where nothing is compared on schedule.
    reconcile_interval: timedelta = timedelta()
    #: What the log lacks of what was written before; "" for nothing.
    loss: str = ""
    #: What of the database is not what was written, and keeps a daemon from starting.
    damage: ChainBroken | DatabaseDamaged | None = None

    @property
    def behind(self) -> int:
        """Return how many events the rows lag the log."""
        return max(self.head.sequence - self.books_sequence, 0)

    @property
    def holders(self) -> tuple[Claim, ...]:
        """Return the claims of daemons that show signs of life."""
        return tuple(claim for claim in self.claims if claim.held)

    @property
    def running(self) -> bool:
        """Say whether a daemon shows signs of life."""
        return bool(self.holders)

    @property
    def silent(self) -> Claim | None:
        """Return the claim of a daemon whose process runs and writes nothing; None without one."""
        return None if self.running else next((c for c in self.claims if c.alive), None)

    @property
    def connected(self) -> bool:
        """Say whether there is a session; what a dead daemon wrote is not believed."""
        return self.running and self.system.connected

    @property
    def ready(self) -> bool:
        """Say whether orders may leave, as far as the line decides it."""
        return self.connected and self.system.ready

    @property
    def expected_until(self) -> datetime | None:
        """Return the end of the reset of IB's servers that explains the open gap, else None."""
        if not self.system.gap_sequence:
            return None
        return end_of_reset(self.resets, self.read_at + self.apart)

    @property
    def live_orders(self) -> int:
        """Return how many orders can still change."""
        return sum(self.orders_by_state.values())

    @property
    def severities(self) -> dict[Severity, int]:
        """Return how many breaks are open, by severity."""
        found = [case.finding.severity for case in self.open_breaks]
        return {severity: found.count(severity) for severity in get_args(Severity)}

    @property
    def oldest_break_at(self) -> datetime | None:
        """Return when the oldest open break was opened, None without one."""
        return min((case.opened_at for case in self.open_breaks), default=None)

    @property
    def oldest_doubt_at(self) -> datetime | None:
        """Return since when the oldest order in doubt is in doubt, None where that is not known."""
        return self.doubts[0].since if self.doubts else None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not well, and what to do."""

    level: Level
    #: A stable name, for alerts.
    code: str
    text: str
    advice: str
    #: Inside a reset of IB's servers this is as it should be, and ends by itself.
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict, the gravest reasons first."""

    level: Level
    reasons: tuple[Reason, ...]

    @property
    def words(self) -> str:
        """Return the verdict as people read it."""
        return LEVELS[self.level]


def unreadable(text: str, advice: str) -> Health:
    """Return the verdict where the database itself cannot be read."""
    advice = advice or "`oms check` says what is wrong with the database"
    return Health("down", (Reason("down", "database_unavailable", text, advice),))


def judge(situation: Situation) -> Health:
    """Return the verdict of a situation."""
    reasons = [
        *_loss(situation),
        *_damage(situation),
        *_line(situation),
        *_set_aside(situation),
        *_gate(situation),
        *_differences(situation),
        *_alarms(situation),
        *_comparison(situation),
    ]
    order: tuple[Level, ...] = ("down", "degraded")
    reasons.sort(key=lambda reason: order.index(reason.level))
    return Health(reasons[0].level if reasons else "ok", tuple(reasons))


def _loss(situation: Situation) -> Iterator[Reason]:
    if situation.loss:
        text = f"{situation.loss[0].upper()}{situation.loss[1:]}"
        yield Reason("down", "log_went_back", text, LogWentBack.default_hint)


def _damage(situation: Situation) -> Iterator[Reason]:
    damage = situation.damage
    if damage is not None:
        text = f"The database is damaged, and no daemon starts on it: {damage.message}"
        yield Reason("down", "database_damaged", text, damage.hint)


def _line(situation: Situation) -> Iterator[Reason]:
    silent = situation.silent
    if silent is not None:
        since = _since(silent.heartbeat_at, situation.read_at)
        text = f"The daemon (process {silent.process_id}) has written nothing{since}"
        advice = (
            "another program holds the database, the disk is slow, or the process is stopped; its"
            " messages on stderr say which. Where that process is another program, `oms run`"
            " starts a daemon"
        )
        yield Reason("down", "daemon_silent", text, advice)
    elif not situation.running:
        advice = "start it with `oms run`; its messages on stderr say why the last one ended"
        yield Reason("down", "daemon_not_running", _absence(situation), advice)
    elif not situation.connected:
        text = "There is no session with the gateway"
        advice = "see that the gateway runs and is logged in; `oms check` tries to connect"
        yield _unless_reset(situation, "down", "not_connected", text, advice)


def _absence(situation: Situation) -> str:
    beats = [at for claim in situation.claims if (at := claim.heartbeat_at) is not None]
    if beats:
        last = ago(max(beats), situation.read_at)
        return f"No daemon is running; the last one died, its last sign of life was {last}"
    stopped = situation.system.daemon_stopped_at
    if stopped is not None:
        return f"No daemon is running; the last one stopped {ago(stopped, situation.read_at)}"
    return "No daemon is running"


def _unless_reset(situation: Situation, level: Level, code: str, text: str, advice: str) -> Reason:
    """Return a reason that a reset of IB's servers explains where the moment is inside one."""
    until = situation.expected_until
    if until is None:
        return Reason(level, code, text, advice)
    words = f"{text}; expected, IB resets its servers until {until:%H:%M} UTC"
    return Reason(level, code, words, "wait until then; the daemon connects by itself", True)


def _set_aside(situation: Situation) -> Iterator[Reason]:
    found = situation.set_aside
    if not found:
        return
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    text = f"{set_aside_words(situation)} ({found[0].text}{more})"
    advice = (
        "`oms reconcile` makes a break of each, and `oms breaks` lists them; `oms rebuild` with a"
        " version that can take the event, or `oms resolve BREAK` where it is to stay out, lets new"
        " orders leave again; see docs/operating/set-aside.md"
    )
    yield Reason("degraded", "events_set_aside", text, advice)


def set_aside_words(situation: Situation) -> str:
    """Return in one line how much is left out of the books, and for what new orders wait."""
    found = situation.set_aside
    places = sorted({_place(one) for one in found})
    shown = ", ".join(places[:_PLACES_SHOWN])
    more = f" and {len(places) - _PLACES_SHOWN} more" if len(places) > _PLACES_SHOWN else ""
    return (
        f"{counted(len(found), 'event')} could not be taken into the books; no new order leaves for"
        f" {shown}{more}"
    )


def _place(one: Anomaly) -> str:
    contract = one.symbol or (f"contract {one.con_id}" if one.con_id else "")
    if contract and one.account:
        return f"{contract} in {one.account}"
    return contract or one.account or "any account"


def _gate(situation: Situation) -> Iterator[Reason]:
    system = situation.system
    if system.gap_sequence:
        gap = f"A gap is open{_since(system.gap_opened_at, situation.read_at)}"
        text = f"{gap} ({system.gap_cause}): the broker may know things that we do not"
        advice = (
            "wait for the comparison after the reconnect; where none comes, look at the gateway"
        )
        yield _unless_reset(situation, "degraded", "gap_open", text, advice)
    elif system.connected and not system.ready:
        text = "The books are not compared with the broker's yet; no order leaves before that"
        advice = "wait for the comparison; `oms report list` shows when it has ended"
        yield Reason("degraded", "not_ready", text, advice)
    if system.halted:
        text = f"New orders are halted by {system.halt_actor or 'a person'}: {system.halt_reason}"
        advice = "`oms resume` lets orders leave again, once the reason is gone"
        yield Reason("degraded", "halted", text, advice)
    if situation.behind:
        text = f"The rows shown lag the log by {counted(situation.behind, 'event')}"
        advice = "look again in a moment; without a daemon they catch up when `oms run` starts one"
        yield Reason("degraded", "books_behind", text, advice)


def _differences(situation: Situation) -> Iterator[Reason]:
    now = situation.read_at
    if situation.doubts:
        oldest = situation.oldest_doubt_at
        since = f", the oldest{_since(oldest, now)}" if oldest else ""
        verb = "is" if len(situation.doubts) == 1 else "are"
        text = f"{counted(len(situation.doubts), 'order')} {verb} in doubt{since}"
        advice = (
            "`oms reconcile` asks IB once more, `oms doubt list` shows them; never send them again"
            " by hand"
        )
        yield Reason("degraded", "orders_in_doubt", text, advice)
    if situation.open_breaks:
        parts = ", ".join(f"{n} {name}" for name, n in situation.severities.items() if n)
        verb = "is" if len(situation.open_breaks) == 1 else "are"
        text = f"{counted(len(situation.open_breaks), 'break')} {verb} open"
        advice = "`oms breaks` lists them, `oms breaks BREAK` says what to do about one"
        yield Reason("degraded", "breaks_open", f"{text} ({parts})" if parts else text, advice)


#: What to do about each kind of alarm; docs/operating/alarms.md says more.
_ALARM_ADVICE: Final[Mapping[AlarmKind, str]] = MappingProxyType(
    {
        "order_silent": "`oms order ORDER` shows what was sent; look for the order in TWS",
        "order_waiting": "look at the order in TWS: a closed venue, a missing permission, an "
        "algorithm that IB does not know",
        "foreign_order": "find out who sent it; `oms breaks --all` has its case",
        "clock_drift": "set the clocks of both machines (NTP)",
        "wrong_zone": "set OMS_GATEWAY_ZONE to the zone of the gateway's login window, and start "
        "`oms run` again",
        "unreadable_time": "have TWS write times in UTC, or set OMS_GATEWAY_ZONE to the zone of "
        "the gateway's host and start `oms run` again",
        "too_fast": "set OMS_MESSAGES_PER_SECOND_MAX lower and start `oms run` again; IB allows "
        "half the market data lines of the account",
        "outage": "see that the gateway runs, is logged in and has a line to IB",
        "gap_unrecovered": "`oms report show last` names the question that IB did not answer",
        "log_waits": "end the program that holds the database (a backup, a database browser), look"
        " for what slows the disk, or start the database server",
        "disk_low": "free space on the disk of the log; below 4 MB the daemon stops",
        "log_damaged": "copy the database, run `oms verify` on the copy, and see"
        " docs/operating/damaged.md; the daemon checks again by itself",
        "checkpoint_lost": "see OMS_CHECKPOINT_FILE, OMS_CHECKPOINT_COMMAND and"
        " OMS_CHECKPOINT_TIMESTAMP_URL; then run `oms checkpoint`",
        "clock_stepped": "see that the clock is right (NTP); where it is, a restart of the"
        " daemon while no order is in doubt brings the log to its time at once",
        "stale_price": "set OMS_ACCOUNT_REFRESH_SECONDS above 0, so that IB is asked for prices",
    }
)


def _alarms(situation: Situation) -> Iterator[Reason]:
    """Yield one reason for each kind of alarm that stands, with its oldest."""
    for kind in get_args(AlarmKind):
        standing = [alarm for alarm in situation.alarms if alarm.kind == kind]
        if standing:
            more = f"; and {len(standing) - 1} more" if len(standing) > 1 else ""
            text = alarm_words(standing[0], situation.read_at)
            text = f"{text[0].upper()}{text[1:]}{more}"
            yield Reason("degraded", f"alarm_{kind}", text, _ALARM_ADVICE[kind])


def alarm_words(alarm: Alarm, now: datetime) -> str:
    """Return an alarm in one line: its kind, its age, what it is about and what it says."""
    about = " ".join(p for p in (alarm.account, alarm.symbol, alarm.order_id[:12]) if p)
    kind = alarm.kind.replace("_", " ")
    age = duration(max(now - alarm.since, timedelta()))
    return f"{kind} {age}{f' ({about})' if about else ''}: {alarm.text}"


def _comparison(situation: Situation) -> Iterator[Reason]:
    run, interval = situation.last_run, situation.reconcile_interval
    compare = "`oms reconcile` compares now"
    if run is None:
        if situation.head.sequence:
            text = "The books were never compared with the broker's"
            yield Reason("degraded", "never_reconciled", text, compare)
        return
    if run.verdict == "unknown":
        text = "The last reconciliation could not compare everything"
        advice = f"`oms report show last` names what is unknown, and why; {compare}"
        yield Reason("degraded", "last_reconciliation_unknown", text, advice)
    elif run.verdict == "broken" and not situation.open_breaks:
        text = "The last reconciliation found differences"
        advice = f"`oms report show last` names them; {compare}"
        yield Reason("degraded", "last_reconciliation_broken", text, advice)
    age = situation.read_at - (run.finished_at or run.started_at)
    is_late = age > INTERVALS_MISSED_MAX * interval and not situation.runs_under_way
    if interval and is_late:
        text = (
            f"The last reconciliation is {duration(age)} old; one is due every {duration(interval)}"
        )
        yield Reason("degraded", "reconciliation_overdue", text, compare)


def _since(at: datetime | None, now: datetime) -> str:
    return f" for {duration(max(now - at, timedelta()))}" if at is not None else ""
