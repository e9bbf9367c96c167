"""The claim of one daemon on one account and client id.

Two daemons under one client id would throw each other out of the gateway and send orders that the
other does not know. So a daemon takes a lease before anything else; each taking raises its epoch,
every event carries the epoch under which it was written, and a writer whose epoch is no longer the
lease's may not write any more. A lease ends when it is released, when its process is known to be
dead on this machine, or when who wants it has watched it for its seconds and saw no heartbeat.

No two clocks are compared to decide who owns a log, because any of them may be set: the holder
counts from before it asked for its last renewal, the other from the moment in which it first saw
that renewal, each by its own monotonic clock, which counts while the machine sleeps. So the holder
stops to send before anybody else can begin (docs/decisions/0099-the-lease-fences-the-socket.md).
The time of a heartbeat is for people, and lets a start beside a daemon that is alive be refused at
once.

Who watches says so in the row first (`claim`). So a holder whose renewal takes long on a slow disk
need not write to be sure: where it reads that nobody watches, nobody can take the lease before its
seconds have passed from then on.

The functions here run inside the caller's transaction.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from oms.clock import Clock
from oms.core.bounds import MOMENT
from oms.core.codec import time_text
from oms.errors import DatabaseDamaged, LeaseHeld, LeaseLost
from oms.store.backend import Connection

#: The part of a lease for which its holder is sure of it. The rest is for what a clock is fast or
#: slow, and for the time between a look at the clock and the bytes at the socket.
SURE_FRACTION: Final = 0.8

_SELECT: Final = (
    "SELECT name, holder, host, process_id, epoch, seconds, heartbeat_at, log_time_at, address,"
    " waiting, oldest_seconds, append_seconds FROM leases"
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The most that waited for the disk between two signs of life."""

    #: Events.
    waiting: int = 0
    #: How long the one that waited longest did.
    oldest_seconds: float = 0.0
    #: How long a transaction took.
    append_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Who wants to be the only one."""

    #: What is claimed, for example "DU1234567/7": account and client id.
    name: str
    #: Who claims it, in words for the operator who meets it.
    holder: str
    host: str
    process_id: int
    #: How long a heartbeat counts as fresh; one is written three times as often.
    seconds: float = 10.0
    #: Where other programs reach it; "" where it does not answer any.
    address: str = ""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment of this process, by both clocks of the machine."""

    monotonic: float
    wall: datetime

    def since(self, earlier: Instant) -> float:
        """Return the seconds since an earlier moment, by the clock that counts more of them.

        A virtual machine that was paused may notice by its wall clock alone. A clock that was set
        forward or back counts too many, which costs a renewal: others read the heartbeat by it.
        """
        walled = (self.wall - earlier.wall).total_seconds()
        return max(self.monotonic - earlier.monotonic, abs(walled))


def instant(clock: Clock) -> Instant:
    """Return this moment."""
    return Instant(clock.monotonic(), clock.wall())


@dataclass(frozen=True, slots=True)
class Lease:
    """A row of the table."""

    name: str
    holder: str
    host: str
    process_id: int
    epoch: int
    seconds: float
    heartbeat_at: datetime | None
    #: The log's time at that heartbeat.
    log_time_at: datetime | None = None
    #: Where its holder answers other programs; "" where it does not.
    address: str = ""
    #: As in `Backlog`; None from an earlier version.
    waiting: int | None = None
    oldest_seconds: float | None = None
    append_seconds: float | None = None

    def log_time(self, now: datetime) -> datetime | None:
        """Return the log's time, a wall clock being at `now`; None where the lease does not tell.

        The clock counts for no more than the lease lasts: it may have been set since the heartbeat,
        and the log's time was not.
        """
        if self.heartbeat_at is None or self.log_time_at is None:
            return None
        return self.log_time_at + min(
            max(self.age(now), timedelta()), timedelta(seconds=self.seconds)
        )

    def time_of_log(self, now: datetime, host: str) -> datetime | None:
        """Return the log's time as `log_time` does while the holder shows signs of life. Later the
        clock counts alone, as far from the log's time as it was at the last heartbeat.
        """
        if self.held(now, host):
            return self.log_time(now)
        if self.heartbeat_at is None or self.log_time_at is None:
            return None
        return max(now - (self.heartbeat_at - self.log_time_at), self.log_time_at)

    def held(self, now: datetime, host: str) -> bool:
        """Say whether its holder still counts as running, seen from a host."""
        if self.is_over(host):
            return False
        # Both ways: a clock that was set back leaves a heartbeat in the future, for ever perhaps.
        return abs(self.age(now)) < timedelta(seconds=self.seconds)

    def is_over(self, host: str) -> bool:
        """Say whether it is known to be free, without a look at a clock."""
        if self.heartbeat_at is None:
            return True
        return self.host == host and not process_is_alive(self.process_id)

    def is_alive(self, host: str) -> bool:
        """Say whether its process is known to run on a host, whatever its signs of life."""
        return self.heartbeat_at is not None and self.host == host and not self.is_over(host)

    def age(self, now: datetime) -> timedelta:
        """Return how old the last heartbeat is."""
        assert self.heartbeat_at is not None
        return now - self.heartbeat_at


def read(connection: Connection, name: str) -> Lease | None:
    """Return the lease of that name, whatever its state."""
    return next((lease for lease in read_all(connection, name) if lease.name == name), None)


def read_all(connection: Connection, name_prefix: str = "") -> list[Lease]:
    """Return the leases whose name begins so."""
    rows = connection.rows(f"{_SELECT} ORDER BY name")
    return [lease_of(row) for row in rows if row[0].startswith(name_prefix)]


class Watched:
    """The lease while another wants it: taken at once, refused, or watched for its seconds."""

    def __init__(self, clock: Clock, request: LeaseRequest) -> None:
        self._clock = clock
        self._request = request
        self._seen: Lease | None = None
        self._seen_at: float | None = None
        self._claim = f"{request.holder} on {request.host}, process {request.process_id}"

    @property
    def lease_words(self) -> str:
        """Return who holds it, in words."""
        seen = self._seen
        return "" if seen is None else f"{seen.holder} on {seen.host}, process {seen.process_id}"

    def take(self, connection: Connection) -> int | None:
        """Take the lease and return its epoch, one higher than any before; None where it must be
        watched longer.

        Raises `LeaseHeld` where its holder shows signs of life.
        """
        request, lease = self._request, read(connection, self._request.name)
        if lease is None or lease.is_over(request.host):
            before_it = _last_epoch(connection) if lease is None else lease.epoch
            return self._taken(connection, before_it + 1)
        before, self._seen = self._seen, lease
        age = lease.age(self._clock.wall()).total_seconds()
        beats = before is not None and before != lease
        if beats or (before is None and 0 <= age < lease.seconds):
            raise LeaseHeld(
                f"{request.name} is served by {self.lease_words}, whose last sign of life is"
                f" {max(age, 0):.1f} s old"
            )
        if before is None:
            connection.execute(
                "UPDATE leases SET claim = ? WHERE name = ?", (self._claim, request.name)
            )
            return None
        now = self._clock.monotonic()
        # Only from here on is it certain that the holder can read the claim.
        self._seen_at = now if self._seen_at is None else self._seen_at
        if now - self._seen_at < lease.seconds:
            return None
        return self._taken(connection, lease.epoch + 1)

    def _taken(self, connection: Connection, epoch: int) -> int:
        request = self._request
        connection.execute(
            "INSERT INTO leases (name, holder, host, process_id, epoch, seconds, heartbeat_at,"
            " log_time_at, address)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " holder = excluded.holder, host = excluded.host, process_id = excluded.process_id,"
            " epoch = excluded.epoch, seconds = excluded.seconds,"
            " heartbeat_at = excluded.heartbeat_at, log_time_at = excluded.log_time_at,"
            " address = excluded.address, claim = NULL, waiting = NULL, oldest_seconds = NULL,"
            " append_seconds = NULL",
            (
                request.name,
                request.holder,
                request.host,
                request.process_id,
                epoch,
                request.seconds,
                time_text(self._clock.wall()),
                time_text(self._clock.now()),
                request.address,
            ),
        )
        return epoch


def _last_epoch(connection: Connection) -> int:
    """Return the epoch of the last event that a daemon wrote: the row of its lease may be gone, and
    no epoch may come twice.
    """
    rows = connection.rows(
        "SELECT lease_epoch FROM events WHERE lease_epoch > 0 ORDER BY sequence DESC LIMIT 1"
    )
    return int(rows[0][0]) if rows else 0


def check(connection: Connection, request: LeaseRequest, epoch: int) -> None:
    """Raise `LeaseLost` unless the lease is still of that epoch."""
    rows = connection.rows("SELECT epoch FROM leases WHERE name = ?", (request.name,))
    if not rows or rows[0][0] != epoch:
        lease = read(connection, request.name)
        if lease is None:
            raise LeaseLost(f"the lease of {request.name} was removed from the database")
        raise LeaseLost(
            f"{request.name} was taken over by {lease.holder} on {lease.host}, process"
            f" {lease.process_id}, epoch {lease.epoch}; this daemon's epoch was {epoch}"
        )


def beat(
    connection: Connection, request: LeaseRequest, epoch: int, clock: Clock, backlog: Backlog
) -> None:
    """Write a sign of life and what waited; raises `LeaseLost` where the lease is another's by
    now.
    """
    statement = (
        "UPDATE leases SET heartbeat_at = ?, log_time_at = ?, claim = NULL, waiting = ?,"
        " oldest_seconds = ?, append_seconds = ? WHERE name = ? AND epoch = ?"
    )
    said = (
        *(time_text(clock.wall()), time_text(clock.now())),
        *(backlog.waiting, backlog.oldest_seconds, backlog.append_seconds),
    )
    if connection.execute(statement, (*said, request.name, epoch)) != 1:
        check(connection, request, epoch)


def is_claimed(connection: Connection, request: LeaseRequest, epoch: int) -> bool:
    """Say whether somebody watches the lease of that epoch, or has taken it."""
    select = "SELECT claim FROM leases WHERE name = ? AND epoch = ?"
    return connection.rows(select, (request.name, epoch)) != [(None,)]


def release(connection: Connection, request: LeaseRequest, epoch: int) -> None:
    """Give the lease back; nothing happens where it is another's by now."""
    connection.execute(
        "UPDATE leases SET heartbeat_at = NULL WHERE name = ? AND epoch = ?", (request.name, epoch)
    )


def lease_of(row: Sequence[Any]) -> Lease:
    """Return the lease that a row holds, its columns in the order of the fields; raises
    `DatabaseDamaged` where it can hold none.
    """
    name, holder, host, process_id, epoch, seconds, beat_text, log_text, *rest = row
    try:
        times = _moment(beat_text), _moment(log_text)
        numbers = operator.index(process_id), operator.index(epoch), float(seconds)
        address, waiting, oldest, append = rest
        lease = Lease(
            *(name, f"{holder}", f"{host}", *numbers, *times, f"{address or ''}"),
            None if waiting is None else operator.index(waiting),
            *(None if one is None else float(one) for one in (oldest, append)),
        )
    except (ValueError, TypeError) as error:
        raise DatabaseDamaged(f"the lease {name!r} cannot be read: {error}") from error
    return lease


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("its time has no zone")
    return MOMENT.check(moment)


def process_is_alive(process_id: int) -> bool:
    """Say whether a process of this machine runs; True where the system does not tell."""
    if os.name == "nt":
        # Signal 0 would end the process there. The heartbeat decides alone.
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    # Z: it has ended, and its parent has not looked yet. In a container that may take for ever.
    return state.rpartition(")")[2].split()[:1] != ["Z"]
