"""What stands beside a log, shared, killed, full, read-only, of another log: it is slow then, and
no answer changes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from oms.history import index
from oms.history import side as sides
from oms.history.making import bring_up, standing
from oms.history.query import Query, matching
from oms.history.side import Unready, Unusable, opened, path_of
from oms.history.snapshots import Snapshots
from oms.store.backend import connect, parse_url
from oms.store.reader import Reader
from tests.conformance.conftest import Place
from tests.conformance.test_asof import CHUNK, facts
from tests.pasts import Copy, beside, make_snapshots, past, write

#: Builds in a process of its own, in steps of so few events, and kills itself after some.
BUILD = """
import os, sys
from oms.history import making, snapshots
making.CHUNK_EVENTS = snapshots.CHUNK_EVENTS = 4
making.Maker.__init__.__kwdefaults__["chunk_events"] = 4
url, steps = sys.argv[1], int(sys.argv[2])
def moved(done, of):
    if steps and done >= steps:
        os.kill(os.getpid(), 9)
print(making.bring_up(url, moved))
"""


@pytest.fixture
def copies(place: Place) -> list[Copy]:
    return [one.copy for one in write(place.url, facts())]


def same(place: Place, copies: list[Copy]) -> None:
    """Both kinds of answers are what they were."""
    for sequence in (1, 5, 12, 19, len(copies)):
        assert past(place.url, sequence)[1] == copies[sequence - 1]

    async def found() -> list[int]:
        reader = await Reader.open(place.url)
        try:
            bits = await matching(reader, Query(type=("OrderIntended",)))
            return [block * 65_536 + n for block in bits for n in range(99) if bits[block] >> n & 1]
        finally:
            await reader.close()

    told = place.sql("SELECT sequence FROM events WHERE type = 'OrderIntended' ORDER BY 1")
    assert asyncio.run(found()) == [sequence for (sequence,) in told]


def build(place: Place, steps: int = 0, shell: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BUILD, place.url, str(steps)]
    if shell:
        command = ["bash", "-c", f'{shell}; exec "$0" "$@"', *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_a_build_that_was_killed_goes_on(place: Place, copies: list[Copy]) -> None:
    """At each of its steps, on both databases."""
    for steps in (1, 4):
        assert build(place, steps).returncode == -9
        same(place, copies)
    ended = build(place)
    assert ended.returncode == 0, ended.stderr
    assert standing(place.url)[0] == len(copies) - len(copies) % CHUNK
    same(place, copies)


def test_two_that_build_at_once_make_one(
    place: Place, copies: list[Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on where the other was first."""
    errors: list[Exception] = []
    turn = threading.Barrier(2)

    def make() -> None:
        try:
            turn.wait()
            make_snapshots(place.url, CHUNK)
        except Exception as error:  # noqa: BLE001  # each is told at the end
            errors.append(error)

    with beside(place.url):
        pass  # two who begin at once may both make the tables
    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with beside(place.url) as (log, side):
        assert Snapshots(side, log).last().sequence == len(copies) - len(copies) % CHUNK
    same(place, copies)


@contextmanager
def held(path: Path, statement: str) -> Iterator[None]:
    """Hold what stands beside a log, as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement)
        other.execute("SELECT count(*) FROM about").fetchall()
        yield


@pytest.fixture
def log(tmp_path: Path, sqlite_template: Path) -> Place:
    shutil.copyfile(sqlite_template, tmp_path / "log.sqlite")
    return Place(f"sqlite:///{tmp_path / 'log.sqlite'}")


@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_what_another_program_holds_is_not_thrown_away(
    log: Place, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Neither by one who reads nor by one who would write; it is there when that ends."""
    copies = [one.copy for one in write(log.url, facts())]
    make_snapshots(log.url, CHUNK)
    monkeypatch.setattr(sides, "_WAIT_SECONDS", 0.05)
    path = path_of(log.url)
    before = (path.stat().st_ino, path.read_bytes())
    with held(path, statement):
        same(log, copies)
        with (
            pytest.raises(Unready),
            closing(connect(parse_url(log.url), "read")) as read,
            opened(read, log.url, write=True) as side,
            side.writing(),
        ):
            side.execute("DELETE FROM {}marks")
        with pytest.raises(Unusable):
            index.keep_up(log.url, index.no_rest)
    assert (path.stat().st_ino, path.read_bytes()) == before
    same(log, copies)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
def test_a_full_disk_keeps_what_is_there(log: Place) -> None:
    """Nothing more can be written, and nothing is lost that was."""
    copies = [one.copy for one in write(log.url, facts())]
    assert build(log, 3).returncode == -9
    path = path_of(log.url)
    before = path.stat().st_ino
    blocks = path.stat().st_size // 1024
    ended = build(log, shell=f"ulimit -f {blocks}")
    assert ended.returncode == 1
    assert "Unready" in ended.stderr
    assert path.stat().st_ino == before
    same(log, copies)
    assert build(log).returncode == 0
    same(log, copies)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write all")
def test_in_a_folder_that_cannot_be_written_answers_come_from_the_log(log: Place) -> None:
    copies = [one.copy for one in write(log.url, facts())]
    folder = path_of(log.url).parent
    folder.chmod(0o500)
    try:
        same(log, copies)
        with pytest.raises(Unready):
            bring_up(log.url, lambda done, of: None)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("what", ["of another log", "of a newer version", "of what came later"])
def test_what_is_not_of_this_log_is_not_asked(
    log: Place, tmp_path: Path, sqlite_template: Path, what: str
) -> None:
    """A file that was put beside it, and one that stayed while an older log was put back."""
    told = facts()
    path = path_of(log.url)
    if what == "of what came later":
        write(log.url, told[:14])
        older = tmp_path / "older.sqlite"
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
            connection.execute("VACUUM INTO ?", (str(older),))
        write(log.url, told[14:])
        make_snapshots(log.url, CHUNK)
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"log.sqlite{end}").unlink(missing_ok=True)
        older.rename(tmp_path / "log.sqlite")
        more = [(at, pending) for at, pending in told[15:]]
        write(log.url, more)
        log.sql("SELECT 1")
        copies = [one.copy for one in write(log.url, more[-1:])]
        head = int(str(log.sql("SELECT max(sequence) FROM events")[0][0]))
        assert past(log.url, head)[1] == copies[-1]
        return
    if what == "of another log":
        other = Place(f"sqlite:///{tmp_path / 'other.sqlite'}")
        shutil.copyfile(sqlite_template, tmp_path / "other.sqlite")
        write(other.url, told[1:])
        make_snapshots(other.url, CHUNK)
        shutil.copyfile(path_of(other.url), path)
        copies = [one.copy for one in write(log.url, told)]
    else:
        copies = [one.copy for one in write(log.url, told)]
        make_snapshots(log.url, CHUNK)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE about SET version = '99/0001'")
            connection.commit()
    same(log, copies)
    make_snapshots(log.url, CHUNK)
    same(log, copies)
