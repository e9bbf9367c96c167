"""Room on the disk: nothing of a database is opened or written where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from oms.cli import main
from oms.errors import StoreUnavailable
from oms.store import schema, space
from oms.store.backend import connect, parse_url


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "oms.sqlite"
    schema.upgrade(str(path))
    return path


def _leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = SimpleNamespace(total=10**9, used=10**9 - free, free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize("free", [0, 1, 4096, 50_000])
@pytest.mark.parametrize(
    "verb",
    [
        ["status"],
        ["orders"],
        ["positions"],
        ["log"],
        ["verify"],
        ["buy", "1", "KO"],
        ["cancel", "x"],
        ["halt", "why"],
        ["resume"],
        ["reconcile"],
        ["rebuild"],
        ["db", "upgrade"],
        ["run"],
    ],
    ids=" ".join,
)
def test_every_verb_says_that_the_disk_is_full_where_and_what_to_do(
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free: int,
    verb: list[str],
) -> None:
    """Below this SQLite dies of a signal or says `disk I/O error`, on some file systems."""
    _leave(monkeypatch, free)
    assert main([*verb, "--database", str(database)]) == 1
    said = capsys.readouterr().err
    assert f"the disk of {database} is full: {free} bytes are free" in said
    assert "hint: free space there" in said


def test_disk_without_inodes_is_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_files=1000, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=9**9, free=9**9))
    with pytest.raises(StoreUnavailable, match="inode"):
        connect(parse_url(str(database)), "read")


def test_disk_that_does_not_tell_its_size_is_no_obstacle(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    connection = connect(parse_url(str(database)))
    with connection.writing():
        assert connection.free_bytes is None
    connection.close()


def test_writer_needs_more_room_than_a_reader(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave(monkeypatch, 1024 * 1024)
    connect(parse_url(str(database)), "read").close()
    with pytest.raises(StoreUnavailable, match="full"):
        connect(parse_url(str(database)))


def test_room_is_looked_at_before_each_transaction(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(parse_url(str(database)))
    _leave(monkeypatch, space.WRITING - 1)
    with pytest.raises(StoreUnavailable, match="full"), connection.writing():
        pytest.fail("a transaction began")
    connection.close()


# ── a real disk ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with blocks of 1 KiB, as ext4 makes them below 512 MB."""
    if os.name != "posix" or os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("mounting a file system needs root and mkfs.ext4")
    image, where = tmp_path / "image", tmp_path / "disk"
    where.mkdir()
    with image.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-F", "-q", "-m", "0", "-b", "1024", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, where], check=False).returncode:
        pytest.skip("this machine mounts no loop devices")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.long
def test_no_verb_dies_of_a_signal_however_full_the_disk_is(disk: Path) -> None:
    database = disk / "oms.sqlite"
    schema.upgrade(str(database))
    ballast = disk / "ballast"
    # Between a WAL index that cannot be made and one that fits, some were killed: 6 and 7 KiB.
    for free in (0, 6 * 1024, 7 * 1024, 12 * 1024):
        _fill(ballast, free)
        for verb in (["status"], ["halt", "why"]):
            line = [sys.executable, "-m", "oms.cli", *verb, "--database", str(database)]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            assert done.returncode in {0, 1}, (free, verb, done)
            if done.returncode:
                assert "is full" in done.stderr or "No daemon" in done.stderr, (free, verb, done)
    ballast.unlink()
    assert main(["verify", "--database", str(database)]) == 0


def _fill(ballast: Path, free: int) -> None:
    ballast.unlink(missing_ok=True)
    os.sync()
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 1024):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
        os.fsync(file.fileno())
        file.truncate(max(file.tell() - free, 0))
        os.fsync(file.fileno())
