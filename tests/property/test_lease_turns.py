"""Daemons that take a lease over from one another, each stopped and woken at any time.

Goal: no two are sure of it in one moment, whatever anybody does to their clocks, and the lease is
not lost for good. Method: the functions that the writer calls, on one database, with clocks that
the test moves: all share the seconds that pass, and each has a clock on the wall of its own.
"""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from oms.clock import ManualClock
from oms.errors import LeaseHeld, LeaseLost
from oms.store import lease as leases
from oms.store import schema
from oms.store.backend import Connection, connect, parse_url
from oms.store.lease import Instant, LeaseRequest, Watched

SECONDS = 10.0
STEPS = 2_000
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Daemon:
    """What a writer knows of its lease."""

    name: str
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    epoch: int | None = None
    renewed: Instant | None = None
    watched: Watched | None = None
    stopped: bool = False

    @property
    def request(self) -> LeaseRequest:
        """Return what it asks for; every daemon is on a machine of its own."""
        return LeaseRequest("daemon", self.name, self.name, 1, SECONDS)

    @property
    def is_sure(self) -> bool:
        """Say whether its orders may leave, as `Writer.holds_lease` does."""
        if self.renewed is None:
            return False
        age = leases.instant(self.clock).since(self.renewed)
        return age < SECONDS * leases.SURE_FRACTION

    def act(self, connection: Connection) -> None:
        """Renew the lease, or try for it."""
        asked_at = leases.instant(self.clock)
        if self.epoch is None:
            self.watched = self.watched or Watched(self.clock, self.request)
            try:
                with connection.writing():
                    self.epoch = self.watched.take(connection)
            except LeaseHeld:
                self.watched = None
                return
            self.renewed = None if self.epoch is None else asked_at
            return
        self.watched = None
        try:
            with connection.writing():
                leases.beat(connection, self.request, self.epoch, self.clock, leases.Backlog())
        except LeaseLost:
            self.epoch = self.renewed = None
            return
        self.renewed = asked_at


def test_no_two_daemons_are_sure_of_one_lease_in_any_order_of_pauses(
    tmp_path: Path, seed: int
) -> None:
    url = f"sqlite:///{tmp_path / 'oms.sqlite'}"
    schema.upgrade(url)
    rnd = random.Random(seed)
    daemons = [Daemon(name) for name in ("a", "b", "c")]
    epochs: set[int] = set()
    with closing(connect(parse_url(url))) as connection:
        for _ in range(STEPS):
            one = rnd.choice(daemons)
            match rnd.choice(("act", "act", "act", "pause", "step", "wait")):
                case "act" if not one.stopped:
                    one.act(connection)
                case "pause":
                    one.stopped = not one.stopped
                case "step":
                    one.clock.step(rnd.choice((-3_600, -11, -5, 5, 11, 3_600)))
                case _:
                    seconds = rnd.choice((0.1, 1.0, 3.0, 6.0))
                    for every in daemons:
                        every.clock.advance(seconds)
            sure = [daemon.name for daemon in daemons if daemon.is_sure]
            assert len(sure) <= 1, sure
            epochs |= {daemon.epoch for daemon in daemons if daemon.epoch is not None}
        assert len(epochs) > 5, "hardly anybody took over"
        # With nobody stopped and the clocks left alone, one has it before long.
        for _ in range(int(3 * SECONDS)):
            for one in daemons:
                one.clock.advance(1)
                one.act(connection)
        assert len([daemon for daemon in daemons if daemon.is_sure]) == 1
