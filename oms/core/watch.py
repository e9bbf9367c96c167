"""What must not last: the watchman's rules, pure.

A *condition* is something that is all right for a while: an order that IB has not answered, a gap,
an old price. When it has lasted too long, or is wrong at once, it is an alarm: raised once, with
the time since which it has lasted, and cleared when the condition is gone. The rules read the books
and a clock; they decide nothing about orders and close no gate.

An outage inside IB's reset is expected and no alarm. One that began there counts from the end of
the reset, so that it cannot hide in it (INC-05).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from oms.core.events import AlarmCleared, AlarmKind, AlarmRaised
from oms.core.fold.records import Alarm, Order, OrderState, Position, SystemRecord
from oms.core.resets import Window, end_of_reset, on_the_wall
from oms.core.words import describe_origin, duration

#: States in which the broker owes an answer.
_UNANSWERED: Final = frozenset(
    {
        OrderState.IN_FLIGHT,
        OrderState.CANCEL_PENDING,
        OrderState.MODIFY_PENDING,
        OrderState.IN_DOUBT,
    }
)
#: Types that have nothing to wait for at IB once they are there, but the market.
_IMMEDIATE: Final = frozenset({"MKT", "LMT", "IOC", "MTL", "MIDPRICE"})


#: How long one transaction of the log may take before no new order is taken: it would leave when
#: the market has moved.
STALLED_FOR: Final = timedelta(seconds=10)
MEGABYTE: Final = 1024 * 1024
#: How far the machine's clock may be from the time of the log, or be set at once: NTP corrects
#: less, and a person sets more.
STEP: Final = timedelta(seconds=2)
#: How long an alarm about a clock that was set stands at most; the log follows such a clock slowly.
_STEPPED_FOR: Final = timedelta(days=1)
#: How long an alarm about the pace stands after IB's last refusal.
_TOO_FAST_FOR: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How long each condition may last; None turns its rule off."""

    order_silence: timedelta | None
    order_waiting: timedelta | None
    #: Accounts whose orders are all ours; empty means every account.
    watched_accounts: tuple[str, ...]
    foreign_orders: bool
    clock_drift: timedelta | None
    outage: timedelta | None
    recovery: timedelta | None
    price_age: timedelta | None
    resets: tuple[Window, ...] = ()
    #: Bytes that must stay free on the disk of the log.
    disk_free: int | None = None


@dataclass(frozen=True, slots=True)
class Storage:
    """What the log stands on, as it was at the last commit and at the last check."""

    #: How long the transaction under way takes already; zero between two.
    stalled: timedelta = timedelta()
    #: None where nobody can tell.
    free_bytes: int | None = None
    #: What a check of the whole database has found wrong, "" for nothing.
    damage: str = ""


_SOUND: Final = Storage()


@dataclass(frozen=True, slots=True)
class Clocks:
    """How the machine's clock and the time of the log are to each other."""

    #: The machine's clock less the time of the log.
    apart: timedelta = timedelta()
    #: Since when they differ by more than a correction; None where they do not.
    since: datetime | None = None


_TOGETHER: Final = Clocks()


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that has lasted too long."""

    kind: AlarmKind
    #: What it is about: an order, a position, the clock, the line.
    subject: str
    since: datetime
    text: str
    account: str = ""
    symbol: str = ""
    order_id: str = ""

    @property
    def alarm_id(self) -> str:
        """Return what identifies the alarm for as long as the condition lasts, and the next time
        again.
        """
        return f"{self.kind}:{self.subject}"


def conditions(
    now: datetime,
    system: SystemRecord,
    orders: Iterable[Order],
    positions: Iterable[Position],
    tolerances: Tolerances,
    *,
    storage: Storage = _SOUND,
    clocks: Clocks = _TOGETHER,
) -> dict[str, Condition]:
    """Return what has lasted too long at a moment, by alarm id."""
    found = [*_line(now, system, tolerances, clocks.apart), *_clock(now, system, tolerances)]
    found += [*_zone(system), *_pace(now, system), *_storage(now, storage, tolerances)]
    found += _checkpoint(now, system)
    found += _apart(now, clocks)
    for order in orders:
        found += _order(now, order, tolerances)
    for position in positions:
        found += _price(now, position, tolerances)
    return {one.alarm_id: one for one in found}


def news(
    standing: Mapping[str, Alarm], found: Mapping[str, Condition]
) -> list[AlarmRaised | AlarmCleared]:
    """Return what is to be written: alarms that are new, and those whose condition is gone."""
    raised = [
        AlarmRaised(
            alarm_id=alarm_id,
            kind=one.kind,
            subject=one.subject,
            since=one.since,
            text=one.text,
            account=one.account,
            symbol=one.symbol,
            order_id=one.order_id,
        )
        for alarm_id, one in found.items()
        if alarm_id not in standing
    ]
    gone = [a for a in standing if a not in found]
    return [*raised, *(AlarmCleared(alarm_id=a) for a in gone)]


def _line(
    now: datetime, system: SystemRecord, tolerances: Tolerances, apart: timedelta
) -> Iterator[Condition]:
    opened_at = system.gap_opened_at
    if system.gap_sequence and opened_at is not None:
        # IB's resets go by the clock on the wall.
        resets, wall = tolerances.resets, now + apart
        if tolerances.outage is None or end_of_reset(resets, wall) is not None:
            return
        began_at = on_the_wall(opened_at, now, apart)
        # One that began in a reset gets its patience when the reset is over.
        if wall - (end_of_reset(resets, began_at) or began_at) >= tolerances.outage:
            text = f"no line to IB since then: {system.gap_cause}"
            yield Condition("outage", "line", opened_at, text)
        return
    closed_at = system.gap_closed_at
    if closed_at is None or system.ready or tolerances.recovery is None:
        return
    if now - closed_at >= tolerances.recovery:
        text = "the line is whole, but no comparison has shown what happened in the gap"
        yield Condition("gap_unrecovered", "line", closed_at, text)


def _clock(now: datetime, system: SystemRecord, tolerances: Tolerances) -> Iterator[Condition]:
    offset, at = system.server_offset_ms, system.server_time_at
    if tolerances.clock_drift is None or offset is None or at is None:
        return
    if abs(timedelta(milliseconds=offset)) >= tolerances.clock_drift:
        ahead = "ahead of" if offset > 0 else "behind"
        seconds = Decimal(abs(offset)) / 1000
        text = f"the gateway's clock is {seconds} s {ahead} ours"
        yield Condition("clock_drift", "clock", at, text)


def _apart(now: datetime, clocks: Clocks) -> Iterator[Condition]:
    if clocks.since is None or now - clocks.since >= _STEPPED_FOR:
        return
    side = "ahead of" if clocks.apart > timedelta() else "behind"
    text = (
        f"this machine's clock is {duration(abs(clocks.apart))} {side} the time of the log: it was"
        " set. Waits, limits and ages go on by the seconds that passed; times in the log are off by"
        " as much. The time of the log comes nearer to the clock by six minutes an hour"
    )
    yield Condition("clock_stepped", "machine", clocks.since, text)


def _zone(system: SystemRecord) -> Iterator[Condition]:
    """Times that are hours off, or that nobody can read: days and checks depend on them."""
    ours, shown = system.zone_utc_offset_minutes, system.shown_utc_offset_minutes
    named = system.gateway_zone or "the zone in the settings"
    since = system.clock_shown_at
    if since is not None and ours is not None and shown is not None and ours != shown:
        text = (
            f"the gateway's clock shows {system.clock_shown!r}, which is {_east(shown)};"
            f" gateway_zone is {named}, {_east(ours)}: times without a zone are read"
            f" {_hours(shown - ours)} off. Set OMS_GATEWAY_ZONE to the zone of the gateway's login"
            " window"
        )
        yield Condition("wrong_zone", "clock", since, text)
    if system.strange_time_at is not None:
        offset = system.strange_time_offset_minutes
        text = (
            f"IB wrote {system.strange_time!r} about a fill, {_hours(offset)}"
            f" {'after' if offset > 0 else 'before'} the moment that it came: gateway_zone"
            f" ({named}) is not the gateway's zone, or the name of the zone is read as another"
        )
        yield Condition("wrong_zone", "fills", system.strange_time_at, text)
    if system.unread_time_at is not None:
        text = (
            f"the time {system.unread_time!r} cannot be read: no zone is known by that name, or"
            " several are. Have TWS write times in UTC (Global Configuration, API, Settings, 'Send"
            " instrument-specific attributes'). Where several zones share the name, set"
            f" OMS_GATEWAY_ZONE ({named} now) to the zone of the gateway's host"
        )
        yield Condition("unreadable_time", "fills", system.unread_time_at, text)


def _east(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"


def _hours(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{hours}:{rest:02} hours"


def _pace(now: datetime, system: SystemRecord) -> Iterator[Condition]:
    at = system.too_fast_at
    if at is not None and now - at < _TOO_FAST_FOR:
        text = (
            "IB refused a message, because too many came in a second (100); the third time it ends"
            " the session. Messages leave more slowly now. Set OMS_MESSAGES_PER_SECOND_MAX lower"
            " than it is"
        )
        yield Condition("too_fast", "pace", at, text)


def why_no_order(storage: Storage, disk_free: int | None) -> str:
    """Return why no new order is taken while the log stands like that, "" where one is."""
    if storage.damage:
        return f"the database is damaged: {storage.damage}"
    if storage.stalled >= STALLED_FOR:
        return (
            f"the log has waited {storage.stalled.total_seconds():.0f} s for its database: another"
            " program holds it, or the disk is slow"
        )
    free = storage.free_bytes
    if disk_free is not None and free is not None and free < disk_free:
        megabytes = Decimal(free) / MEGABYTE
        return (
            f"{megabytes:.0f} MB are free on the disk of the log, less than"
            f" OMS_DISK_FREE_MEGABYTES_MIN ({disk_free // MEGABYTE})"
        )
    return ""


def _storage(now: datetime, storage: Storage, tolerances: Tolerances) -> Iterator[Condition]:
    closed = "; new orders are refused as long as that lasts, and cancels pass"
    if text := why_no_order(Storage(damage=storage.damage), None):
        yield Condition("log_damaged", "log", now, text + closed)
    if text := why_no_order(Storage(stalled=storage.stalled), None):
        yield Condition("log_waits", "log", now - storage.stalled, text + closed)
    if text := why_no_order(Storage(free_bytes=storage.free_bytes), tolerances.disk_free):
        yield Condition("disk_low", "disk", now, text + closed)


def _checkpoint(now: datetime, system: SystemRecord) -> Iterator[Condition]:
    if system.checkpoint_lost:
        text = (
            f"the checkpoint at event {system.signed_sequence} was lost: {system.checkpoint_lost}"
        )
        yield Condition("checkpoint_lost", "log", system.signed_at or now, text)


def _order(now: datetime, order: Order, tolerances: Tolerances) -> Iterator[Condition]:
    if not order.live:
        return

    def about(kind: AlarmKind, since: datetime, text: str) -> Condition:
        """Return a condition of this order."""
        return Condition(
            kind,
            order.order_id,
            since,
            text,
            account=order.account,
            symbol=order.contract.symbol,
            order_id=order.order_id,
        )

    since, patience = order.updated_at or order.created_at, tolerances.order_silence
    is_owed = order.state in _UNANSWERED
    if is_owed and since is not None and patience is not None and now - since >= patience:
        yield about("order_silent", since, f"{order.state.value}, and IB has said nothing since")
    if order.origin != "ours" and tolerances.foreign_orders and _watched(order.account, tolerances):
        who = describe_origin(order.origin, order.client_id)
        text = f"an order that we did not send is at work: {who}"
        yield about("foreign_order", order.created_at or now, text)
    created_at = order.created_at
    if tolerances.order_waiting is None or created_at is None or not _waits_for_nothing(order):
        return
    if now - created_at >= tolerances.order_waiting:
        yield about("order_waiting", created_at, f"IB has it as {order.status} all that time")


def _waits_for_nothing(order: Order) -> bool:
    """Say whether IB holds back an order that has no trigger of its own to wait for."""
    has_no_trigger = order.terms.order_type in _IMMEDIATE and not order.parent_order_id
    return order.status == "PreSubmitted" and has_no_trigger


def _watched(account: str, tolerances: Tolerances) -> bool:
    return not tolerances.watched_accounts or account in tolerances.watched_accounts


def _price(now: datetime, position: Position, tolerances: Tolerances) -> Iterator[Condition]:
    at = position.broker_marked_at
    if tolerances.price_age is None or at is None or not position.quantity:
        return
    if now - at >= tolerances.price_age:
        yield Condition(
            "stale_price",
            position.key,
            at,
            "its profit and loss is calculated with a price of that time",
            account=position.account,
            symbol=position.contract.symbol,
        )
