"""Files that a person names on the command line."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

#: A transcript of a long day has a tenth of this; a sparse file can have any size.
BYTES_MAX: Final = 512 * 1024 * 1024


class NoTextFile(ValueError):
    """What a path names is not a file that can be read to its end."""


def read_text(path: Path) -> str:
    """Return the text of a file. Raises OSError where it cannot be read, and ValueError for a
    device, a pipe, a file that is far too long, or one that is not UTF-8.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise NoTextFile("it is not a file")
    if found.st_size > BYTES_MAX:
        raise NoTextFile(f"it has {found.st_size:,} bytes, at most {BYTES_MAX:,} are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NoTextFile(f"it is not text in UTF-8: byte {error.start:,}") from error
