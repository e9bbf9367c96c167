"""What can happen to the files of a database: each kind, by chance within it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

HEADER_BYTES = 100
OBJECTS = "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
REVISIONS = (
    "DELETE FROM alembic_version",
    "DROP TABLE alembic_version",
    "UPDATE alembic_version SET version_num = 'nonsense'",
    "UPDATE alembic_version SET version_num = '0001'",
    "UPDATE alembic_version SET version_num = '9999'",
    "UPDATE alembic_version SET version_num = X'FF00'",
    "INSERT INTO alembic_version VALUES ('0004')",
)
ROWS = (
    "UPDATE leases SET heartbeat_at = 'never'",
    "UPDATE leases SET process_id = 'x', epoch = -1",
    "UPDATE leases SET epoch = 'x', host = X'FF'",
    "DELETE FROM leases",
    "DELETE FROM checkpoints",
    "UPDATE checkpoints SET sequence = sequence + 1",
    "UPDATE checkpoints SET hash = X'00'",
    "UPDATE checkpoints SET row_sum = 'x', live_row_sum = X'0102030405060708090A0B0C0D0E0F101112'",
    "UPDATE orders SET body = 'x'",
    "UPDATE orders SET body = '{}'",
    "UPDATE orders SET body = X'FF'",
    "UPDATE positions SET live = 'x'",
    "UPDATE system SET body = '[]'",
    "DELETE FROM system",
    "DELETE FROM orders WHERE live = 0",
    "DELETE FROM fills",
    "UPDATE order_events SET sequence = sequence + 100000",
)
EVENTS = (
    "UPDATE events SET payload = 'x' WHERE sequence = {}",
    "UPDATE events SET payload = X'FF' WHERE sequence = {}",
    "UPDATE events SET type = 'Nothing' WHERE sequence = {}",
    "UPDATE events SET version = 99 WHERE sequence = {}",
    "UPDATE events SET recorded_at = 'never' WHERE sequence = {}",
    "UPDATE events SET hash = X'00' WHERE sequence = {}",
    "UPDATE events SET wire = 'x' WHERE sequence = {}",
    "DELETE FROM events WHERE sequence = {}",
    "DELETE FROM events WHERE sequence > {}",
)


class Damage(NamedTuple):
    """One thing that happens to a database."""

    kind: str
    name: str
    #: Is given the database's file.
    happen: Callable[[Path], None]
    #: To the files as a killed daemon leaves them, with a `-wal`.
    killed: bool = False


def damages(chance: random.Random, wanted: int) -> Iterator[Damage]:
    """Yield so many of each kind that goes by chance, and all of each other kind."""
    for _ in range(wanted):
        number, bit = chance.random(), 1 << chance.randrange(8)
        yield Damage("flip", f"at {number}", partial(flip, at=number, bit=bit))
        at = chance.randrange(HEADER_BYTES)
        yield Damage("header", f"byte {at}", partial(flip, at=at, bit=bit))
        yield Damage("wal", f"at {number}", partial(flip, at=number, bit=bit, end="-wal"), True)
        yield Damage("truncate", f"at {number}", partial(truncate, at=number))
        yield Damage("truncate wal", f"at {number}", partial(truncate, at=number, end="-wal"), True)
        yield Damage("zero", f"from {number}", partial(zero, at=number))
        for text in EVENTS:
            statement = text.format(chance.randrange(1, 300))
            yield Damage("event", statement, partial(change, statement=statement))
    for size in (0, 1, 16, 99, 100, 512, 4095, 4096, 4097):
        yield Damage("truncate", f"to {size}", partial(truncate, at=size))
    for size in (0, 31, 32, 33, 4151, 4152):
        yield Damage("truncate wal", f"to {size}", partial(truncate, at=size, end="-wal"), True)
    for value in (0, 1, 3, 255):
        for at in (16, 17, 18, 19, 20, 21, 22, 23, 44, 47, 59, 95):
            yield Damage("header", f"byte {at} is {value}", partial(put, at=at, value=value))
    # Not `-wal` and the head file together: then nothing is left that knows of more.
    for ends in (("",), ("-wal",), (".head",), ("", "-wal")):
        yield Damage("delete", " ".join(ends), partial(delete, ends=ends), True)
    for statement in REVISIONS:
        yield Damage("revision", statement, partial(change, statement=statement))
    for statement in ROWS:
        yield Damage("row", statement, partial(change, statement=statement))
    yield Damage("object", "every one", drop)


def flip(file: Path, *, at: float, bit: int, end: str = "") -> None:
    """Flip a bit, at a byte or at a fraction of the file."""
    found = _beside(file, end)
    contents = bytearray(found.read_bytes())
    contents[at if isinstance(at, int) else int(len(contents) * at)] ^= bit
    found.write_bytes(contents)


def put(file: Path, *, at: int, value: int) -> None:
    """Write one byte."""
    contents = bytearray(file.read_bytes())
    contents[at] = value
    file.write_bytes(contents)


def truncate(file: Path, *, at: float, end: str = "") -> None:
    """Cut the file, at a length or at a fraction of it."""
    found = _beside(file, end)
    contents = found.read_bytes()
    found.write_bytes(contents[: at if isinstance(at, int) else int(len(contents) * at)])


def zero(file: Path, *, at: float) -> None:
    """Make a sector of nothing, as a disk does."""
    contents = bytearray(file.read_bytes())
    first = int(len(contents) * at) // 512 * 512
    contents[first : first + 512] = bytes(len(contents[first : first + 512]))
    file.write_bytes(contents)


def delete(file: Path, *, ends: tuple[str, ...]) -> None:
    """Take files away."""
    for end in ends:
        _beside(file, end).unlink()


def change(file: Path, *, statement: str) -> None:
    """Do what the owner of the file can do with a database browser, and put the guards back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        guards = connection.execute(query).fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        for _, text in guards:
            connection.execute(text)


def objects(file: Path) -> list[tuple[str, str]]:
    """Return the kind and name of every table, index and trigger."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(OBJECTS).fetchall()


def drop(file: Path, only: tuple[str, str] | None = None) -> None:
    """Drop one table, index or trigger, or every one."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for kind, name in [only] if only else connection.execute(OBJECTS).fetchall():
            connection.execute(f"DROP {kind} IF EXISTS {name}")


def _beside(file: Path, end: str) -> Path:
    return file.with_name(file.name + end)
