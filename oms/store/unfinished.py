"""A long fold that ends before it is done goes on where its rows were kept last.

The shadow of a rebuild stands beside the head file until the rebuild is done. After each so many
events all of its rows are kept there, with the event that they have reached, what they add up to,
and which folds made them. The next rebuild goes on from there where the log has that event, its
folds are the same, and the rows are those that were written; else it begins anew. A process that
is killed has lost some seconds of work, and no rebuild takes over what it would not have made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from oms.errors import ChainBroken, DatabaseDamaged, StoreError, StoreLocked
from oms.store.backend import Connection, connect
from oms.store.head_file import path_of
from oms.store.shadow import Shadow, make_tables, temporary_shadow

#: Events between two times at which the rows are kept: some ten seconds of work. A log that is not
#: longer is folded again from its first event.
KEPT_EVENTS: Final = 250_000


@contextmanager
def shadow_of(
    url: URL,
    source: Connection,
    events: int,
    *,
    resident_records_max: int,
    kept_events: int = KEPT_EVENTS,
) -> Iterator[Shadow]:
    """Yield what an earlier rebuild of a log of so many events has left, or an empty shadow; it is
    gone after the block. Where the block raises, or the process dies, what was kept stays.
    """
    path = path_of(url).with_suffix(".rebuild")
    connection = _held(path) if events > kept_events else None
    if connection is None:
        with temporary_shadow(resident_records_max) as shadow:
            yield shadow
        return
    with closing(connection):
        shadow = Shadow(connection, resident_records_max, kept_events=kept_events, folds=folds())
        try:
            shadow.go_on(source)
        except (ChainBroken, DatabaseDamaged):
            # Another log, a power cut, or a hand: what is there is worth nothing.
            shadow.begin_anew()
        yield shadow
    _remove(path)


@cache
def folds() -> str:
    """Return what names the folds of this program: a digest of everything that they are made of."""
    digest = blake2b(digest_size=16)
    room = files("oms.core")
    for part in (room, *(room / name for name in ("events", "fold", "fold/records"))):
        for file in sorted(part.iterdir(), key=str):
            if file.name.endswith(".py"):
                digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _held(path: Path) -> Connection | None:
    """Return a connection to the database at a path that nobody else has; None where another
    rebuild has it, or none can be made there.
    """
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            return _connected(path)
        except (OSError, StoreLocked):
            return None
        except StoreError:
            _remove(path)  # it is no database, or its tables are others
    return None


def _connected(path: Path) -> Connection:
    connection = connect(URL.create("sqlite", database=str(path)))
    try:
        connection.rows("PRAGMA busy_timeout = 0")
        connection.rows("PRAGMA locking_mode = EXCLUSIVE")
        # What a power cut leaves is not believed: the rows must add up.
        connection.execute("PRAGMA synchronous = OFF")
        with connection.writing():
            make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
