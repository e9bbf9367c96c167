"""Kill an upgrade at many of its statements, and see what each version makes of what is left.

    python -m tests.crash.upgrades FOLDER POINTS

A process of its own, without threads, so that each attempt is a fork of it: the kill is real, and
the imports are paid once. Prints JSON: for each kill, the revision that it left, and what is wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from oms.clock import SystemClock
from oms.core.events import Context, Pending, TradingHaltedByPerson
from oms.errors import MigrationNeeded
from oms.store import schema
from oms.store.backend import parse_url
from oms.store.backup import back_up, check_copy
from oms.store.log import append_foreign
from oms.store.rebuild import rebuild_check
from oms.store.upgrade import upgrade_database
from oms.telemetry import configure

BEFORE = schema.REVISIONS[-2]


def main(folder: Path, points: int) -> None:
    old = an_old_log(folder)
    events = rows(old)
    total = statements_of(folder, old, 1 << 60)
    found = []
    for point in range(points):
        at = 1 + point * (total - 1) // (points - 1)
        place = folder / f"killed-{at}"
        place.mkdir()
        path = Path(shutil.copyfile(old, place / "oms.sqlite"))
        statements_of(place, path, at)
        found.append(
            {"at": at, "revision": schema.current(str(path)), "wrong": wrong(path, events)}
        )
    print(json.dumps(found))


def an_old_log(folder: Path) -> Path:
    """Return a log with the tables of the version before, and rows to be folded."""
    new = folder / "new.sqlite"
    schema.upgrade(str(new))
    halts = [
        Pending(TradingHaltedByPerson(reason=f"{number}"), Context(actor="person:test"))
        for number in range(20)
    ]
    append_foreign(str(new), halts, clock=SystemClock(), needs_daemon=False)
    return back_up(str(new), folder / "old.sqlite", revision=BEFORE).path


def statements_of(folder: Path, path: Path, last: int) -> int:
    """Upgrade a copy in a child that is killed at a statement; return how many there were."""
    counted = folder / "counted"
    child = os.fork()
    if not child:
        _upgrade(path if last < 1 << 60 else _copied(path), counted, last)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    return int(counted.read_text()) if counted.exists() else 0


def _copied(path: Path) -> Path:
    return Path(shutil.copyfile(path, path.with_name("counting.sqlite")))


def _upgrade(path: Path, counted: Path, last: int) -> None:
    number = 0

    def count(_: str) -> None:
        nonlocal number
        number += 1
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def traced(*words: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*words, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced
    try:
        upgrade_database(str(path))
        counted.write_text(str(number))
    except BaseException as error:  # noqa: BLE001  # told, and the child ends
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def wrong(path: Path, events: list[tuple[Any, ...]]) -> str:
    """Return what is not as it should be after a kill, "" for nothing."""
    if rows(path)[: len(events)] != events:
        return "events differ"
    for copy in path.parent.glob("*.bak"):
        if check_copy(parse_url(str(copy)))[1].sequence != len(events):
            return f"{copy.name} is no backup"
    if schema.current(str(path)) == schema.HEAD and not _is_refused_by_the_version_before(path):
        return "the version before takes the tables of this one"
    done = upgrade_database(str(path))
    if done.after != schema.HEAD or not rebuild_check(str(path)).equal:
        return "the second attempt does not come to its end"
    if rows(path)[: len(events)] != events:
        return "events differ after the second attempt"
    return ""


def _is_refused_by_the_version_before(path: Path) -> bool:
    """Say so with what that version knows: its revisions, and other tables than these."""
    own = {"HEAD": BEFORE, "REVISIONS": schema.REVISIONS[:-1], "differences": lambda _: ["one"]}
    with ExitStack() as stack:
        for name, value in own.items():
            stack.callback(setattr, schema, name, getattr(schema, name))
            setattr(schema, name, value)
        try:
            schema.check_current(str(path))
        except MigrationNeeded as error:
            return "newer version" in error.hint
    return False


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()


if __name__ == "__main__":
    configure("ERROR")
    main(Path(sys.argv[1]), int(sys.argv[2]))
