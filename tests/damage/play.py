"""Plays damages: after each, every verb ends with 0 or 4 and no traceback, and so does a start;
`verify` ends with 4, or nothing that can be read has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import shutil
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from oms.cli import main
from oms.clock import SystemClock
from oms.core.events import OrderIntended
from oms.errors import OmsError
from oms.store import schema
from oms.store.lease import LeaseRequest
from oms.store.log import EventLog
from oms.store.upgrade import upgrade_database
from tests.benchmark.flow import pendings
from tests.damage.damages import Damage, damages, drop, objects

EVENTS = 400
FOUND = 4
FILES = ("", "-wal", ".head")
VERBS = (
    ("status",),
    ("orders",),
    ("order", "ORDER"),
    ("fills",),
    ("positions",),
    ("log", "--limit", "500"),
    ("rebuild", "--check"),
    ("halt", "x"),
)


@dataclass
class Figures:
    """What came of the damages of one kind."""

    played: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            f"{kind}: {n} played, {self.found[kind]} found, {n - self.found[kind]} changed nothing"
            for kind, n in sorted(self.played.items())
        )


def play(folder: Path, seed: int, wanted: int, every: int = 1) -> Figures:
    """Play damages, of those that go by no chance each so-manieth."""
    sound = folder / "sound" / "log.sqlite"
    sound.parent.mkdir()
    order_id = asyncio.run(make(sound))
    killed = sound.with_name("killed.sqlite")
    expected = content(sound, folder)
    figures = Figures()
    drops = [Damage("object", f"{o}", partial(drop, only=o)) for o in objects_of(sound, folder)]
    for number, damage in enumerate([*damages(random.Random(seed), wanted), *drops]):
        if number % every:
            continue
        file = fresh(killed if damage.killed else sound, folder)
        damage.happen(file)
        figures.played[damage.kind] += 1
        for fault in _faults(file, order_id, expected, damage, figures):
            figures.faults.append(f"{damage.kind} {damage.name}: {fault}")
    return figures


def _faults(
    file: Path, order_id: str, expected: list[str], damage: Damage, figures: Figures
) -> Iterator[str]:
    damaged = file.parent / "damaged"
    code, said = verb(file, damaged, "verify")
    if code not in (0, FOUND) or "Traceback" in said:
        yield f"verify ended with {code}: {said}"
    if code == 0 and content(file, damaged) != expected:
        yield "verify found nothing, and what can be read has changed"
    figures.found[damage.kind] += code == FOUND
    for words in VERBS:
        each, said = verb(file, damaged, *(order_id if w == "ORDER" else w for w in words))
        if not _is_told(each, said):
            yield f"{words[0]} ended with {each}: {said}"
    each, said = start(fresh(file, damaged))
    if not _is_told(each, said):
        yield f"the start ended with {each}: {said}"


def _is_told(code: int, said: str) -> bool:
    """Say whether a status is one that damage may end with.

    A file whose header says that a later SQLite wrote it can be read and not written; SQLite tells
    that in the words of a missing permission. To look into the header ourselves would mean to close
    the file again, which takes away every lock that this process has on it.
    """
    return code in (0, FOUND) or (code == 1 and "readonly database" in said)


def fresh(file: Path, folder: Path) -> Path:
    """Copy a database as it is, with what stands beside it, into a folder of its own."""
    copy = folder / "copy" / file.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir(parents=True)
    _copy(file, copy)
    return copy


def _copy(file: Path, to: Path) -> None:
    for end in FILES:
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(f"{file}{end}", f"{to}{end}")


def verb(file: Path, folder: Path, *words: str) -> tuple[int, str]:
    """Run a verb on a copy; return its status and what it said."""
    out, url = io.StringIO(), f"sqlite:///{fresh(file, folder)}"
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        patch.setenv("OMS_DATABASE_URL", url)
        try:
            return main(words), out.getvalue()
        except Exception as error:  # noqa: BLE001  # a traceback, for who types the verb
            return -1, f"Traceback: {type(error).__name__}: {error}"


def start(file: Path) -> tuple[int, str]:
    """Open a log as a daemon does; return the status with which that ends."""
    try:
        upgrade_database(str(file), clock=SystemClock(), loss_accepted=False)
        asyncio.run(_opened(file))
    except OmsError as error:
        return error.exit_code, error.message
    except Exception as error:  # noqa: BLE001  # a traceback, for who starts a daemon
        return -1, f"{type(error).__name__}: {error}"
    return 0, ""


async def _opened(file: Path) -> None:
    log = await EventLog.open(str(file), clock=SystemClock(), lease=LEASE)
    await log.close()


#: Of a process of this machine that is gone, so that it is not waited for.
LEASE = LeaseRequest("daemon", "test", socket.gethostname(), process_id=2**22 - 1, seconds=2)


async def make(file: Path) -> str:
    """Make a log, and beside it the same as a killed daemon leaves it: a part is in the `-wal`."""
    working, killed = file.with_name("working.sqlite"), file.with_name("killed.sqlite")
    schema.upgrade(str(working))
    facts = pendings(EVENTS)
    order_id = next(p.event.order_id for p in facts if isinstance(p.event, OrderIntended))
    half = len(facts) // 2
    for part in (facts[:half], facts[half:]):
        log = await EventLog.open(str(working), clock=SystemClock(), lease=LEASE)
        for fact in part:
            await log.append(fact)
        if part[-1] is facts[-1]:
            _copy(working, killed)
        await log.close()
    _copy(working, file)
    return order_id


def content(file: Path, folder: Path) -> list[str]:
    """Return all that can be read of a database, but who holds the lease: that may be anybody."""
    with closing(sqlite3.connect(fresh(file, folder / "content"))) as connection:
        connection.execute("DELETE FROM leases")
        # Sorted: guards that were put back stand in another order.
        return sorted(connection.iterdump())


def objects_of(file: Path, folder: Path) -> list[tuple[str, str]]:
    """Return the kind and name of every table, index and trigger."""
    return objects(fresh(file, folder / "content"))
