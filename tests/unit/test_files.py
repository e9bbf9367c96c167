"""What the OMS writes for people: whole or not at all, and for their owner alone."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from oms.files import whole_file

FULL = OSError(errno.ENOSPC, "No space left on device")


def _full(_: int) -> None:
    raise FULL


def test_file_is_readable_by_its_owner_alone_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    path.chmod(0o644)
    with whole_file(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_who_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with whole_file(path) as first:
        first.write(b"first, ")
        with whole_file(path) as second:
            second.write(b"second")
        assert path.read_text() == "second"
        first.write(b"whole")
    assert path.read_text() == "first, whole"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(os.name == "nt", reason="asks for processes")
def test_part_of_a_killed_process_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "report [1].html"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    for owner in (gone.pid, os.getpid()):
        path.with_name(f"{path.name}.{owner}-x.part").touch()
    with whole_file(path) as file:
        file.write(b"new")
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {path.name, f"{path.name}.{os.getpid()}-x.part"}


def test_full_disk_leaves_the_old_file_and_no_part_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"), whole_file(path) as file:
        file.write(b"half")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_device_is_written_and_never_replaced() -> None:
    before = Path(os.devnull).stat().st_rdev
    with whole_file(Path(os.devnull)) as file:
        file.write(b"gone")
    assert Path(os.devnull).stat().st_rdev == before
