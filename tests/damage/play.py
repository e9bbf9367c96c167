"""Plays damages: after each, every verb ends with 0 or 4 and no traceback, and so does a start;
`verify` ends with 4, or nothing that can be read has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import shutil
import socket
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
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
from tests.damage.damages import Damage, damages, drop, misfits, objects

EVENTS = 400
FOUND = 4
FILES = ("", "-wal", "-shm", ".head")
#: A user without any right.
NOBODY = 65_534
VERBS = (
    ("status",),
    ("orders",),
    ("order", "ORDER"),
    ("fills",),
    ("positions",),
    ("log", "--limit", "500"),
    ("why", "ORDER"),
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


def play(
    folder: Path, seed: int, wanted: int, *, every: int = 1, kinds: Collection[str] | None = None
) -> Figures:
    """Play damages, of those that go by no chance each so-manieth, of some kinds or all."""
    sound = folder / "copies" / "sound.sqlite"
    sound.parent.mkdir()
    order_id = asyncio.run(make(sound))
    killed = sound.with_name("killed.sqlite")
    expected = content(sound, folder)
    figures = Figures()
    drops = [Damage("object", f"{o}", partial(drop, only=o)) for o in objects_of(sound, folder)]
    by_kind = [*damages(random.Random(seed), wanted, sound.parent), *drops]
    by_kind += misfits(fresh(sound, folder / "content"))
    for number, damage in enumerate(by_kind):
        if number % every or (kinds and damage.kind not in kinds):
            continue
        figures.played[damage.kind] += 1
        if damage.kind == "rights":
            faults = _faults_of_rights(killed, damage, order_id)
        else:
            file = fresh(killed if damage.killed else sound, folder)
            damage.happen(file)
            faults = _faults(file, order_id, expected, damage, figures)
        figures.faults += [f"{damage.kind} {damage.name}: {fault}" for fault in faults]
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
        # Where names are gone, a verb that is asked for one says so, and `verify` why.
        is_gone = each == 1 and code == FOUND and "nothing is called" in said
        if each not in (0, FOUND) and not is_gone:
            yield f"{words[0]} ended with {each}: {said}"
    each, said = start(fresh(file, damaged))
    if each not in (0, FOUND):
        yield f"the start ended with {each}: {said}"
    if code == 0 and each != 0:
        yield f"verify found nothing, and the start ended with {each}: {said}"


def _faults_of_rights(killed: Path, damage: Damage, order_id: str) -> Iterator[str]:
    """A right that is missing is no damage: 1, with a word that tells what to do."""
    with tempfile.TemporaryDirectory() as folder:
        file = fresh(killed, Path(folder))
        Path(folder).chmod(0o755)
        if os.getuid() == 0:
            for one in (file.parent, *file.parent.iterdir()):
                os.chown(one, NOBODY, NOBODY)
        damage.happen(file)
        for words in (("verify",), *VERBS):
            given = tuple(order_id if w == "ORDER" else w for w in words)
            code, said = as_nobody(partial(_run, file, *given))
            if code not in (0, 1, FOUND) or (code == 1 and "hint: " not in said):
                yield f"{words[0]} ended with {code}: {said}"
        code, said = as_nobody(partial(start, file))
        if code not in (0, 1, FOUND):
            yield f"the start ended with {code}: {said}"


def as_nobody(work: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Do a work in a child that is not root, because rights bind root to nothing."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        child = os.fork()
        if child == 0:
            try:
                if os.getuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                code, said = work()
                told.write(said)
                told.flush()
            finally:
                os._exit(code & 0xFF)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return status, told.read()


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
    return _run(fresh(file, folder), *words)


def _run(file: Path, *words: str) -> tuple[int, str]:
    return run(f"sqlite:///{file}", *words)


def run(url: str, *words: str) -> tuple[int, str]:
    """Run a verb; return its status and what it said."""
    out = io.StringIO()
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
    return start_of(str(file))


def start_of(url: str) -> tuple[int, str]:
    """Do the same for a database of an address."""
    try:
        upgrade_database(url, clock=SystemClock(), loss_accepted=False)
        asyncio.run(_opened(url))
    except OmsError as error:
        return error.exit_code, error.message
    except Exception as error:  # noqa: BLE001  # a traceback, for who starts a daemon
        return -1, f"{type(error).__name__}: {error}"
    return 0, ""


async def _opened(url: str) -> None:
    log = await EventLog.open(url, clock=SystemClock(), lease=LEASE)
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
        _copy(working, killed if part[-1] is facts[-1] else file.with_name("older.sqlite"))
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
