"""Files that the OMS writes for people: whole or not at all, and for their owner alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
    part = path.with_name(f"{path.name}.part")
    try:
        # An earlier part may be readable by others.
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
