"""Kill an upgrade, a backup, a restore, an archive or a removal at many steps, and judge the rest.

    python -m tests.crash.keeping SUBJECT FOLDER POINTS

A step is a statement of SQLite, or a file that is opened for writing, made, named or removed. This
is a process of its own, without threads, so that each attempt is a fork of it: the kill is real,
and the imports are paid once. Prints JSON: for each kill, what is wrong, "" for nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from oms.clock import SystemClock
from oms.core.events import (
    Context,
    Pending,
    SegmentArchived,
    TextsRemoved,
    TradingHaltedByPerson,
)
from oms.errors import DatabaseDamaged, MigrationNeeded
from oms.history.archive import Removal, Work, archive, check_archive, remove
from oms.store import schema
from oms.store.audit import verify
from oms.store.backend import connect, parse_url
from oms.store.backup import back_up, check_copy, manifest_path
from oms.store.chain import Chain
from oms.store.log import append_foreign
from oms.store.loss import find_loss
from oms.store.rebuild import rebuild_check
from oms.store.restore import restore
from oms.store.soundness import check_complete, check_database
from oms.store.upgrade import upgrade_database
from oms.store.writer import Writer
from oms.telemetry import configure
from tests.conformance.facts import lives

BEFORE = schema.REVISIONS[-2]
EVENTS = 20
#: Calls of the operating system that change what files there are.
_STEPS = ("os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")
Rows = list[tuple[Any, ...]]


class Subject(NamedTuple):
    """What is killed: how its folder is made ready, what is done, and what must hold afterwards."""

    prepare: Callable[[Path], object]
    work: Callable[[Path], object]
    #: Given the folder and the events that were there before.
    wrong: Callable[[Path, Rows], str]


def main(subject: Subject, folder: Path, points: int) -> None:
    ready = folder / "ready"
    ready.mkdir()
    # What is killed leaves its temporary files.
    (folder / "temporary").mkdir()
    tempfile.tempdir = str(folder / "temporary")
    subject.prepare(ready)
    events = rows(next(ready.glob("*.sqlite")))
    total = killed_at(subject, Path(shutil.copytree(ready, folder / "whole")), sys.maxsize)
    points, found = min(points, total), []
    for point in range(points):
        at = 1 + point * (total - 1) // (points - 1)
        place = Path(shutil.copytree(ready, folder / f"killed-{at}"))
        killed_at(subject, place, at)
        found.append({"at": at, "of": total, "wrong": subject.wrong(place, events)})
    print(json.dumps(found))


def killed_at(subject: Subject, place: Path, last: int) -> int:
    """Do the work in a child that is killed at a step; return how many there were."""
    counted = place / "counted"
    child = os.fork()
    if not child:
        _work(subject, place, counted, last)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    number = int(counted.read_text()) if counted.exists() else 0
    counted.unlink(missing_ok=True)
    return number


def _work(subject: Subject, place: Path, counted: Path, last: int) -> None:
    number = 0

    def count(_: object = None) -> None:
        nonlocal number
        number += 1
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, words: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(words[2], int) and words[2] & os.O_ACCMODE
        if writes or event in _STEPS:
            count()

    connect = sqlite3.connect

    def traced(*words: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*words, **options)
        connection.set_trace_callback(count)
        return connection

    sqlite3.connect = sqlite3.dbapi2.connect = traced
    sys.addaudithook(hear)
    try:
        subject.work(place)
        total, number = number, 0
        counted.write_text(str(total))
    except BaseException as error:  # noqa: BLE001  # told, and the child ends
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def a_log(path: Path) -> Path:
    schema.upgrade(str(path))
    halts = [
        Pending(TradingHaltedByPerson(reason=f"{number}"), Context(actor="person:test"))
        for number in range(EVENTS)
    ]
    append_foreign(str(path), halts, clock=SystemClock(), needs_daemon=False)
    return path


def rows(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM events ORDER BY sequence").fetchall()


# ── an upgrade ───────────────────────────────────────────────────────────────────────────────────


def _an_old_log(place: Path) -> None:
    """Leave a log with the tables of the version before, and rows to be folded."""
    new = a_log(place / "new.sqlite")
    made = back_up(str(new), place / "old.sqlite", revision=BEFORE).path
    new.unlink()
    manifest_path(made).unlink()
    made.rename(place / "oms.sqlite")
    with closing(sqlite3.connect(place / "oms.sqlite")) as connection, connection:
        connection.execute(
            "INSERT INTO checkpoints (name, sequence, hash, row_sum, live_row_sum)"
            " SELECT 'books', sequence, hash, x'01', x'02' FROM checkpoints WHERE name = 'log'"
        )
        connection.execute(
            "INSERT INTO anomalies (anomaly_key, kind, order_id, live, body)"
            " VALUES ('1', 'contradiction', '', 1, '{}')"
        )


def _wrong_upgrade(place: Path, events: Rows) -> str:
    path = place / "oms.sqlite"
    if rows(path)[: len(events)] != events:
        return "events differ"
    for copy in place.glob("*.bak"):
        if check_copy(parse_url(str(copy)))[1].sequence != len(events):
            return f"{copy.name} is no backup"
    if schema.current(str(path)) == schema.HEAD and not _is_refused_by_the_version_before(path):
        return "the version before takes the tables of this one"
    if schema.current(str(path)) == schema.HEAD:
        try:
            check_complete(str(path))
        except MigrationNeeded:  # says what finishes it
            pass
        except DatabaseDamaged as error:
            return f"a reader takes it for damage: {error}"
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


# ── a backup ─────────────────────────────────────────────────────────────────────────────────────


def _a_log_with_a_backup(place: Path) -> None:
    path = a_log(place / "oms.sqlite")
    (place / "backups").mkdir()
    _back_up(place)
    assert rows(path)


def _back_up(place: Path) -> None:
    back_up(str(place / "oms.sqlite"), place / "backups", keep=1)


def _wrong_backup(place: Path, events: Rows) -> str:
    made = sorted((place / "backups").glob("*.sqlite"))
    if not made or not all(manifest_path(path).exists() for path in made):
        return "a backup is left without a manifest, or none"
    if any(rows(path) != events for path in made):
        return "what has the name of a backup is none"
    for path in (place / "backups").iterdir():
        os.utime(path, (0, 0))
    _back_up(place)
    left = sorted(path.name for path in (place / "backups").iterdir())
    return "" if [name.endswith(".json") for name in left] == [False, True] else f"{left} stay"


# ── a restore ────────────────────────────────────────────────────────────────────────────────────


def _a_backup(place: Path) -> None:
    path = a_log(place / "oms.sqlite")
    back_up(str(path), place / "b.sqlite")
    for file in place.glob("oms.sqlite*"):
        file.unlink()


def _restore(place: Path) -> None:
    restore(place / "b.sqlite", str(place / "oms.sqlite"))


def _wrong_restore(place: Path, events: Rows) -> str:
    path = place / "oms.sqlite"
    if not path.exists():
        _restore(place)
    check_database(str(path))
    if rows(path)[: len(events)] != events or not rebuild_check(str(path)).equal:
        return "what stands in the place is not the log"
    if find_loss(str(path)) is None:
        return "a daemon would start in silence"
    return ""


# ── an archive ───────────────────────────────────────────────────────────────────────────────────


def _a_log_to_archive(place: Path) -> None:
    a_log(place / "oms.sqlite")
    (place / "archive").mkdir()


def _archive(place: Path, last: int = EVENTS) -> None:
    url = str(place / "oms.sqlite")
    log = bytes(rows(place / "oms.sqlite")[0][11]).hex()
    work = Work(url, place / "archive", log, SystemClock(), segment_events=8)
    for one in archive(work, last):
        fact = Pending(one.archived(), Context("person:test"))
        append_foreign(url, [fact], clock=SystemClock(), needs_daemon=False)


def _wrong_archive(place: Path, events: Rows) -> str:
    check_archive(place / "archive", str(place / "oms.sqlite"))
    _archive(place)
    found = check_archive(place / "archive", str(place / "oms.sqlite"))
    if [one.last for one in found] != [8, 16, 20]:
        return f"the segments end at {[one.last for one in found]}"
    after = rows(place / "oms.sqlite")
    told = [row for row in after if row[1] == SegmentArchived.__name__]
    if len(told) != len(found):
        return f"{len(told)} segments were told"
    return "" if after[:EVENTS] == events else "events differ"


# ── texts that leave a log ───────────────────────────────────────────────────────────────────────


def _an_archived_log(place: Path) -> None:
    url = str(place / "oms.sqlite")
    schema.upgrade(url)
    (place / "archive").mkdir()
    append_foreign(url, list(lives(1, 8)), clock=SystemClock(), needs_daemon=False)
    folding = Writer(parse_url(url), clock=SystemClock(), projector=True)
    folding.open()
    folding.close()
    _archive(place, 40)


def _remove(place: Path) -> None:
    url = str(place / "oms.sqlite")
    with closing(connect(parse_url(url), "read")) as connection:
        head = Chain(connection, SystemClock()).end()
    said = ("person:test", "a test", SystemClock())
    remove(Removal(url, place / "archive", 40, (), head, *said, kept_events=0))


def _wrong_removal(place: Path, events: Rows) -> str:
    url = str(place / "oms.sqlite")
    for attempt in ("the first", "the second"):
        after = rows(Path(url))
        told = sum(row[1] == TextsRemoved.__name__ for row in after)
        gone = {(row[0] - 1) // 8 for row in after if row[13] == ""}
        if len(gone) != told:
            return f"after {attempt} attempt, texts of {len(gone)} segments are gone, {told} told"
        for row, was in zip(after, events, strict=False):
            kept = row if row[13] != "" else (*row[:12], row[12] or was[12], was[13])
            if kept != was:
                return f"event {row[0]} differs"
        if verify(url).events != len(after) or not rebuild_check(url).equal:
            return "the log does not hold"
        _remove(place)
    return "" if told == 5 else f"{told} segments were removed"


SUBJECTS = {
    "upgrade": Subject(
        _an_old_log, lambda place: upgrade_database(str(place / "oms.sqlite")), _wrong_upgrade
    ),
    "backup": Subject(_a_log_with_a_backup, _back_up, _wrong_backup),
    "restore": Subject(_a_backup, _restore, _wrong_restore),
    "archive": Subject(_a_log_to_archive, _archive, _wrong_archive),
    "removal": Subject(_an_archived_log, _remove, _wrong_removal),
}


if __name__ == "__main__":
    configure("ERROR")
    main(SUBJECTS[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
