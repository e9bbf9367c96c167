"""Room on the disk of a SQLite file, looked at before it is used.

SQLite maps the index of its WAL (`-shm`) into memory. On a file system whose blocks are smaller
than a page (ext4 below 512 MB has blocks of 1 KiB), it reserves a part of each page only; on a full
disk the first write to the rest kills the process with SIGBUS, and no program can answer that. So
nothing of the database is opened or written where there is no room for it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from oms.errors import StoreUnavailable

#: The index has parts of this size, one for each 4,096 pages of the WAL.
_INDEX_PART: Final = 32_768
_WAL_PART: Final = 4_096 * 4_096
#: What must be free beside the index: for a reader, a margin; for a writer, a commit of usual size.
_READING: Final = 65_536
WRITING: Final = 4 * 1024 * 1024

FREE_SPACE: Final = (
    "free space there (`df -h` and `df -i` show it) or raise the quota, then repeat; start a daemon"
    " that has stopped with `oms run`: it asks IB for what it missed"
)


def free_bytes(folder: Path) -> int | None:
    """Return how much can be written to the disk of a folder, None where it does not tell."""
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return None
    return found.free if found.total else None


def check_opening(path: Path, *, writing: bool) -> None:
    """Raise `StoreUnavailable` where there is no room to open a SQLite file."""
    index, wal = (path.with_name(path.name + ending) for ending in ("-shm", "-wal"))
    wanted = _INDEX_PART * (1 + _size(wal) // _WAL_PART)
    missing = max(wanted - _allocated(index), 0)
    if not writing and not missing:
        return
    _check_files(path, (index, wal))
    _check(path, missing + (WRITING if writing else _READING))


def check_writing(path: Path) -> int | None:
    """Return how much is free beside a SQLite file; raises `StoreUnavailable` where that is too
    little for a transaction.
    """
    return _check(path, WRITING)


def _check(path: Path, wanted: int) -> int | None:
    free = free_bytes(path.parent)
    if free is not None and free < wanted:
        text = f"the disk of {path} is full: {free} bytes are free, {wanted} are needed"
        raise StoreUnavailable(text, hint=FREE_SPACE)
    return free


def _check_files(path: Path, wanted: tuple[Path, ...]) -> None:
    """Raise `StoreUnavailable` where a file is to be made on a disk that takes no more files."""
    if not hasattr(os, "statvfs"):
        return
    try:
        if all(one.exists() for one in wanted):
            return
        disk = os.statvfs(path.parent)
    except OSError:
        return
    if disk.f_files and not disk.f_favail:
        text = f"the disk of {path} takes no more files: every inode is in use"
        raise StoreUnavailable(text, hint=FREE_SPACE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _allocated(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0
    # Windows does not tell what of a file is on the disk.
    return min(found.st_size, getattr(found, "st_blocks", found.st_size) * 512)
