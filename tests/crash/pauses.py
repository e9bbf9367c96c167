"""Stops a daemon with SIGSTOP on the way of its orders, lets it go on, and says what left.

    python -m tests.crash.pauses                        every step, every kind of pause
    python -m tests.crash.pauses --random 20 --seed 7   as many as wanted, at random

A stopped daemon does not know that time passes. Past its lease another may own the log, and what
the first one sends then is in nobody's books. Each pause is played with real processes: a basket of
orders, more than leave at once; the stop at one line of the daemon's log; perhaps a successor that
takes the lease, compares and stops; SIGCONT; and then what the simulator received is held against
what it had received before, and against the log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from oms import telemetry
from oms.core.fold.records import Order
from tests.crash.harness import Life, begin, judge, recover
from tests.programs import Program
from tests.simulator import running_simulator
from tests.world import CLIENT_ID, World, a_world

Outcome = Literal["goes on", "lease lost"]

#: Where an order is when the daemon stops -> the line of its log, and which one of the basket's.
STEPS: Final[dict[str, tuple[str, int]]] = {
    "intended": ("order_intended", 1),
    "handed over": ("order_handed_over", 1),
    "some handed over": ("order_handed_over", 5),
    "waiting": ("order_waits", 1),
    "answered": ("order_answered", 1),
}
#: What somebody does to the row of the lease -> SQL, and how the daemon must end then; "" to go on.
EDITS: Final[dict[str, tuple[str, str]]] = {
    "row deleted": ("DELETE FROM leases", "LeaseLost"),
    "epoch raised": ("UPDATE leases SET epoch = epoch + 1", "LeaseLost"),
    "epoch lowered": ("UPDATE leases SET epoch = epoch - 1", "LeaseLost"),
    "given back": ("UPDATE leases SET heartbeat_at = NULL", ""),
    "heartbeat of next year": ("UPDATE leases SET heartbeat_at = '2099-01-01T00:00:00+00:00'", ""),
    "another holder": ("UPDATE leases SET holder = 'somebody', host = 'elsewhere'", ""),
    "claimed": ("UPDATE leases SET claim = 'somebody on elsewhere, process 1'", ""),
    "nothing to read": ("UPDATE leases SET heartbeat_at = 'x'", ""),
    "no seconds": ("UPDATE leases SET seconds = 0", ""),
}
LEASE_SECONDS: Final = 2.0
DEADLINE_SECONDS: Final = 60
#: Slow enough that some of a basket wait while the others are answered.
PACE: Final = 9


@dataclass(frozen=True)
class Pause:
    """One pause of a daemon."""

    step: str
    seconds: float
    #: Another daemon takes over after these seconds; the pause goes on until that has compared.
    successor: bool = False
    lease_seconds: float = LEASE_SECONDS
    order_age_seconds_max: float = 300
    #: What somebody does to the row of the lease meanwhile.
    edit: str = ""

    def __str__(self) -> str:
        taken = ", taken over" if self.successor else f", {self.edit}" if self.edit else ""
        return f"{self.step}, {self.seconds:g} s of a lease of {self.lease_seconds:g} s{taken}"


@dataclass
class Played:
    """What came of a pause."""

    pause: Pause
    life: Life
    #: Keys of the orders that the gateway had received when the daemon went on, and at the end.
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)

    @property
    def late(self) -> list[str]:
        """Return the orders that the gateway received after the pause."""
        return sorted(set(self.after) - set(self.before))

    @property
    def refusals(self) -> set[str]:
        """Return what was said of orders that were not sent."""
        return {o.text for o in self.orders.values() if o.order_id not in self.after}

    def __str__(self) -> str:
        error = next((t["error"] for t in self.life.told if "error" in t), "")
        return (
            f"{self.pause!s:60} at the gateway {len(self.before):2} before, {len(self.after):2} at"
            f" the end; exit {self.life.exit_code} {error}"
        )


async def play(directory: Path, pause: Pause) -> Played:
    """Play a pause, and hold both books and the log against each other at its end."""
    action, occurrence = STEPS[pause.step]
    settings = {
        "messages_per_second_max": PACE,
        "lease_seconds": pause.lease_seconds,
        "order_age_seconds_max": pause.order_age_seconds_max,
    }
    async with running_simulator() as simulator, a_world(directory, simulator) as world:
        stop = {"kill_signal": signal.SIGSTOP}
        program = await begin(world, "basket", action, occurrence, settings=settings, **stop)
        told = await _until_stopped(program)
        if pause.successor or pause.edit:
            await _outside_a_transaction(program, world.database)
        if pause.edit:
            _edit(world.database, EDITS[pause.edit][0])
        await asyncio.sleep(pause.seconds)
        if pause.successor:
            # Another client id: the gateway lets none in twice, and a stopped client hangs up on
            # nobody.
            after = await begin(world, "rest", settings={**settings, "client_id": CLIENT_ID + 1})
            async with asyncio.timeout(DEADLINE_SECONDS):
                out, errors = await after.communicate()
            assert await after.wait() == 0, (out, errors.decode()[-4000:])
        before = await _received(world)
        program.send_signal(signal.SIGCONT)
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, errors = await program.communicate()
        told += [json.loads(line) for line in out.decode().splitlines()]
        life = Life(await program.wait(), told, errors.decode()[-4000:])
        played = Played(pause, life, before, await _received(world))
        await recover(world)
        await judge(world, [life])
        for order_id in (f"b-{n}" for n in range(12)):
            row = await world.oms.reader.one("orders", order_id)
            if isinstance(row, Order):
                played.orders[order_id] = row
        return played


async def _until_stopped(program: Program) -> list[dict[str, Any]]:
    """Return what the program told until it stopped itself."""
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (told and "paused" in told[-1]):
            line = await program.stdout.readline()
            assert line, (await program.stderr.read()).decode()[-4000:]
            told.append(json.loads(line))
        while not _is_stopped(program.pid):  # noqa: ASYNC110 - nothing tells that it stopped
            await asyncio.sleep(0)
    return told[:-1]


async def _outside_a_transaction(program: Program, database: Path) -> None:
    """Let a stopped daemon finish its transaction, and stop it again: while it holds the database
    nobody can take over, and nothing is left to show.
    """
    async with asyncio.timeout(DEADLINE_SECONDS):
        while _is_locked(database):
            program.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.002)
            program.send_signal(signal.SIGSTOP)
            while not _is_stopped(program.pid):  # noqa: ASYNC110 - nothing tells that it stopped
                await asyncio.sleep(0)


def _edit(database: Path, sql: str) -> None:
    with closing(sqlite3.connect(database, timeout=5)) as connection, connection:
        connection.execute(sql)


def _is_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def _is_stopped(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


async def _received(world: World) -> list[str]:
    """Return the keys of the orders that the gateway received, each as often as it did."""
    rows = (await world.books())["placements"]
    return [row["order_ref"] for row in rows for _ in range(row["received"])]


def every() -> list[Pause]:
    """Return each step, past the lease and within it, taken over and not."""
    found = []
    for step in STEPS:
        found += [
            Pause(step, LEASE_SECONDS / 4),
            Pause(step, LEASE_SECONDS * 0.9),
            Pause(step, LEASE_SECONDS * 1.5),
            Pause(step, LEASE_SECONDS * 2, successor=True),
        ]
    return found + [Pause("waiting", LEASE_SECONDS / 4, edit=edit) for edit in EDITS]


def at_random(rng: random.Random) -> Pause:
    """Return a pause that nobody thought of."""
    seconds = rng.uniform(0, 3 * LEASE_SECONDS)
    # Earlier than that a successor is refused.
    successor = seconds > LEASE_SECONDS and rng.random() < 0.7
    if not successor and rng.random() < 0.3:
        step = rng.choice(list(STEPS))
        return Pause(step, round(seconds, 2), edit=rng.choice(list(EDITS)))
    return Pause(rng.choice(list(STEPS)), round(seconds, 2), successor)


def faults(played: Played) -> list[str]:
    """Return what a pause must not do."""
    found = []
    names = sorted(played.after)
    if len(names) != len(set(names)):
        found.append(f"sent twice: {names}")
    expected = EDITS[played.pause.edit][1] if played.pause.edit else ""
    if played.pause.successor or expected:
        # What had the lease's word before the edit may have left meanwhile.
        if played.late and played.pause.successor:
            found.append(f"left under another's lease: {played.late}")
        if [t["error"] for t in played.life.told if "error" in t] != ["LeaseLost"]:
            found.append(f"did not end as one that lost its lease: {played.life}")
    elif played.life.exit_code:
        found.append(f"did not go on: {played.life}")
    elif len(names) != 12:
        found.append(f"{names} left, and nobody had the lease meanwhile")
    return found


async def main(words: list[str]) -> int:
    """Play pauses and print what came of each; 1 where one did what it must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    telemetry.configure("CRITICAL", "console", sys.stderr)
    parser.add_argument("--random", type=int, default=0, help="how many pauses at random")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    rng = random.Random(options.seed)
    pauses = [at_random(rng) for _ in range(options.random)] or every()
    wrong = 0
    for number, pause in enumerate(pauses, 1):
        with tempfile.TemporaryDirectory() as directory:
            played = await play(Path(directory), pause)
        found = faults(played)
        wrong += bool(found)
        print(f"{number:3} {'WRONG' if found else 'ok':5} {played}", *found, sep="\n      ")
    print(f"{len(pauses)} pauses, {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
