"""The claim of one daemon on one account and client id.

Two daemons under one client id would throw each other out of the gateway and send orders that the
other does not know. So a daemon takes a lease before anything else; each taking raises its epoch,
every event carries the epoch under which it was written, and a writer whose epoch is no longer the
lease's may not write any more. A lease ends when it is released, when its heartbeat is older than
its seconds, or when its process is known to be dead on this machine.

The functions here run inside the caller's transaction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from oms.core.codec import time_text
from oms.errors import LeaseHeld, LeaseLost
from oms.store.backend import Connection

_SELECT: Final = "SELECT name, holder, host, process_id, epoch, seconds, heartbeat_at FROM leases"


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

    def held(self, now: datetime, host: str) -> bool:
        """Say whether its holder still counts as running, seen from a host."""
        if self.heartbeat_at is None or self.age(now) >= timedelta(seconds=self.seconds):
            return False
        return self.host != host or process_is_alive(self.process_id)

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


def take(connection: Connection, request: LeaseRequest, now: datetime) -> int:
    """Take the lease and return its epoch, one higher than any before.

    Raises `LeaseHeld` while another holder counts as running.
    """
    lease = read(connection, request.name)
    if lease is not None and lease.held(now, request.host):
        age = lease.age(now).total_seconds()
        raise LeaseHeld(
            f"{request.name} is served by {lease.holder} on {lease.host}, process "
            f"{lease.process_id}, whose last sign of life is {age:.1f} s old"
        )
    epoch = 1 if lease is None else lease.epoch + 1
    connection.execute(
        "INSERT INTO leases (name, holder, host, process_id, epoch, seconds, heartbeat_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,"
        " host = excluded.host, process_id = excluded.process_id, epoch = excluded.epoch,"
        " seconds = excluded.seconds, heartbeat_at = excluded.heartbeat_at",
        (
            request.name,
            request.holder,
            request.host,
            request.process_id,
            epoch,
            request.seconds,
            time_text(now),
        ),
    )
    return epoch


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


def beat(connection: Connection, request: LeaseRequest, epoch: int, now: datetime) -> None:
    """Write a sign of life; raises `LeaseLost` where the lease is another's by now."""
    statement = "UPDATE leases SET heartbeat_at = ? WHERE name = ? AND epoch = ?"
    if connection.execute(statement, (time_text(now), request.name, epoch)) != 1:
        check(connection, request, epoch)


def release(connection: Connection, request: LeaseRequest, epoch: int) -> None:
    """Give the lease back; nothing happens where it is another's by now."""
    connection.execute(
        "UPDATE leases SET heartbeat_at = NULL WHERE name = ? AND epoch = ?", (request.name, epoch)
    )


def lease_of(row: Sequence[Any]) -> Lease:
    """Return the lease that a row of the table holds, its columns in the order of the fields."""
    name, holder, host, process_id, epoch, seconds, beat_at = row
    moment = None if beat_at is None else datetime.fromisoformat(beat_at)
    return Lease(name, holder, host, process_id, epoch, seconds, moment)


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
