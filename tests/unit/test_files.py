"""What the OMS writes for people: whole or not at all, and for their owner alone."""

from __future__ import annotations

import errno
import os
import stat
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
