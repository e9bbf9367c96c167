"""Files that the OMS writes for people: whole or not at all, and for their owner alone."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_PART: Final = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it is at its path once the block has ended well, durable and
    readable by its owner alone, and whatever was there before is untouched otherwise.

    Raises `OSError`: a full disk, a folder that cannot be written.
    """
    if path.exists() and not path.is_file():
        # A device or a pipe is written as it is.
        with path.open("wb") as stream:
            yield stream
        return
    _clear(path)
    # Of one's own: two who write one report at a time must not meet in it. Nobody else may read it.
    prefix = f"{path.name}.{os.getpid()}-"
    opened, name = tempfile.mkstemp(prefix=prefix, suffix=_PART, dir=path.parent)
    part = Path(name)
    try:
        with open(opened, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Take away the parts of a file that processes of this machine left which were killed."""
    if os.name == "nt":
        return  # To ask for a process would end it there.
    for part in path.parent.glob(f"{glob.escape(path.name)}.*-*{_PART}"):
        owner = part.name.removeprefix(f"{path.name}.").partition("-")[0]
        with contextlib.suppress(ValueError, OSError, OverflowError):
            try:
                os.kill(int(owner), 0)
            except ProcessLookupError:
                part.unlink()


def sync_folder(folder: Path) -> None:
    """Make durable which files a folder has; raises `OSError`."""
    if os.name == "nt":
        return  # A folder cannot be opened there.
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
