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
    "DELETE FROM checkpoints WHERE name = 'log'",
    "UPDATE checkpoints SET sequence = 'x'",
    "UPDATE checkpoints SET sequence = -1",
    "UPDATE checkpoints SET sequence = 1e300",
    "UPDATE checkpoints SET sequence = 9223372036854775807",
    "UPDATE checkpoints SET hash = 'x'",
    "UPDATE checkpoints SET hash = 7",
    "UPDATE checkpoints SET name = X'FF' WHERE name = 'books'",
    "INSERT INTO checkpoints (name, sequence, hash) VALUES ('verified', 5, X'00')",
    "INSERT INTO checkpoints (name, sequence, hash) VALUES ('verified', 'x', 'x')",
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
    "UPDATE events SET sequence = sequence + 100000 WHERE sequence = {}",
    "UPDATE events SET sequence = -sequence WHERE sequence = {}",
    "UPDATE events SET lease_epoch = 'x', session_epoch = X'FF' WHERE sequence = {}",
    "DELETE FROM events WHERE sequence = {}",
    "DELETE FROM events WHERE sequence > {}",
)


#: Of which copy each file is: `sound` is whole, `killed` as a killed daemon leaves it, `older` the
#: same of when the log was half as long; None: there is none.
RESTORES = {
    "older": {"": "older", "-wal": "older", ".head": "sound"},
    "older, without its -wal": {"": "older", "-wal": None, ".head": "sound"},
    "older, beside the newest -wal": {"": "older", "-wal": "killed", ".head": "sound"},
    "older with its head, beside the newest -wal": {
        "": "older",
        "-wal": "killed",
        ".head": "older",
    },
    "newest, beside an older -wal": {"": "sound", "-wal": "older", ".head": "sound"},
    "killed, beside an older -wal": {"": "killed", "-wal": "older", ".head": "killed"},
    "nothing but the -wal": {"": None, "-wal": "killed", ".head": "killed"},
    "nothing": {"": None, "-wal": None, ".head": "sound"},
}
#: Rights of the folder and of each file.
RIGHTS = {
    "unreadable": {"": 0},
    "read-only": {"": 0o444},
    "read-only, in a read-only folder": {"": 0o444, "/": 0o555},
    "in a read-only folder": {"/": 0o555},
    "in an unreadable folder": {"/": 0},
    "unreadable -wal": {"-wal": 0},
    "read-only -wal": {"-wal": 0o444},
    "unreadable head": {".head": 0},
    "read-only head": {".head": 0o444},
}
PAGE_BYTES = 4096


class Damage(NamedTuple):
    """One thing that happens to a database."""

    kind: str
    name: str
    #: Is given the database's file.
    happen: Callable[[Path], None]
    #: To the files as a killed daemon leaves them, with a `-wal`.
    killed: bool = False


def damages(chance: random.Random, wanted: int, copies: Path) -> Iterator[Damage]:
    """Yield so many of each kind that goes by chance, and all of each other kind; in the folder are
    copies of the log, see `play.make`.
    """
    for _ in range(wanted):
        number, bit = chance.random(), 1 << chance.randrange(8)
        yield Damage("flip", f"at {number}", partial(flip, at=number, bit=bit))
        at = chance.randrange(HEADER_BYTES)
        yield Damage("header", f"byte {at}", partial(flip, at=at, bit=bit))
        yield Damage("wal", f"at {number}", partial(flip, at=number, bit=bit, end="-wal"), True)
        yield Damage("truncate", f"at {number}", partial(truncate, at=number))
        yield Damage("truncate wal", f"at {number}", partial(truncate, at=number, end="-wal"), True)
        yield Damage("truncate head", f"at {number}", partial(truncate, at=number, end=".head"))
        yield Damage("head", f"at {number}", partial(flip, at=number, bit=bit, end=".head"))
        yield Damage("zero", f"from {number}", partial(zero, at=number))
        other = chance.random()
        yield Damage("page", f"zero at {number}", partial(page, at=number, source=None))
        yield Damage("page", f"{other} at {number}", partial(page, at=number, source=other))
        yield Damage("page", f"swap {number} {other}", partial(swap, one=number, other=other))
        yield Damage("shm", f"of {at}", partial(garble, end="-shm", seed=at), True)
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
    for name, parts in RESTORES.items():
        yield Damage("restore", name, partial(restore, copies=copies, parts=parts))
    for name, modes in RIGHTS.items():
        yield Damage("rights", name, partial(allow, modes=modes), True)


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


def page(file: Path, *, at: float, source: float | None) -> None:
    """Put zeros or another page in the place of a page, as a disk does that lost its place."""
    pages = _pages(file)
    pages[_of(pages, at)] = bytes(PAGE_BYTES) if source is None else pages[_of(pages, source)]
    file.write_bytes(b"".join(pages))


def swap(file: Path, *, one: float, other: float) -> None:
    """Exchange two pages."""
    pages = _pages(file)
    first, second = _of(pages, one), _of(pages, other)
    pages[first], pages[second] = pages[second], pages[first]
    file.write_bytes(b"".join(pages))


def garble(file: Path, *, end: str, seed: int) -> None:
    """Leave a file of nonsense."""
    _beside(file, end).write_bytes(random.Random(seed).randbytes(32_768))


def restore(file: Path, *, copies: Path, parts: dict[str, str | None]) -> None:
    """Put files of several moments together."""
    for end, name in parts.items():
        _beside(file, end).unlink(missing_ok=True)
        source = copies / f"{name}.sqlite{end}"
        if name is not None and source.exists():
            _beside(file, end).write_bytes(source.read_bytes())


def allow(file: Path, *, modes: dict[str, int]) -> None:
    """Set rights, of the folder last."""
    for end, mode in modes.items():
        (file.parent if end == "/" else _beside(file, end)).chmod(mode)


def misfit(file: Path, *, index: str, table: str, clause: str) -> None:
    """Make the rows of an index from another text than its own: some are missing, there are more of
    them, or they are of other values.
    """
    where = f"WHERE type = 'index' AND name = '{index}'"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        (text,) = connection.execute(f"SELECT sql FROM sqlite_master {where}").fetchone()
    other = f"{text.partition(' ON ')[0]} ON {table} {clause}".replace("UNIQUE ", "")
    for sql, then in ((other, f"REINDEX {index}"), (text, "SELECT 1")):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(f"UPDATE sqlite_master SET sql = ? {where}", (sql,))
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(then)


def misfits(file: Path) -> Iterator[Damage]:
    """Yield each index with rows missing, too many, and of another column."""
    query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with closing(sqlite3.connect(file)) as connection:
        for name, table in connection.execute(query).fetchall():
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            (column,) = (row[2] for row in connection.execute(f"PRAGMA index_info({name})"))
            first, last = columns[0][1], columns[-2][1]
            for clause in (f"({column}) WHERE {first} IS NULL", f"({column})", f"({last})"):
                happen = partial(misfit, index=name, table=table, clause=clause)
                yield Damage("index", f"{name} on {clause}", happen)


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


def _pages(file: Path) -> list[bytes]:
    contents = file.read_bytes()
    return [contents[at : at + PAGE_BYTES] for at in range(0, len(contents), PAGE_BYTES)]


def _of(pages: list[bytes], at: float) -> int:
    return int(len(pages) * at)


def _beside(file: Path, end: str) -> Path:
    return file.with_name(file.name + end)
