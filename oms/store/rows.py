"""Which rows both databases can hold, and what all of them add up to, so that damage to one shows.

Each row carries a digest of its table and its other columns, and the sums of all digests stand in
the checkpoint of the books, written in the transaction of the rows: a row that was altered does not
fit its digest; one that was deleted, added or put back as it once was does not fit the sum. Against
a person who can count digests as well, `rebuild --check` folds the log again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from oms.core.bounds import COUNT, brief
from oms.core.fold.records import TABLES, AnyRecord, TableSpec, decode_record
from oms.errors import DatabaseDamaged
from oms.store.tables import INDEXED

#: An entry of an index of PostgreSQL has at most 2,704, its own words included.
_INDEXED_BYTES_MAX: Final = 2_680
#: A text so short is as short in UTF-8, whatever stands in it.
_SHORT_MAX: Final = _INDEXED_BYTES_MAX // 4
DIGEST_BYTES: Final = 16
#: Sums are taken modulo this, so that they stay as wide as a digest. Not an exclusive or: two equal
#: rows would cancel each other.
_MODULUS: Final = 1 << 8 * DIGEST_BYTES
#: Where a row of a projection says whether it is live.
LIVE: Final = -3


class Unfit(Exception):
    """A row that not every database can hold: a fault of a fold."""


def check_fits(spec: TableSpec, row: Sequence[Any]) -> None:
    """Raise `Unfit` where one of the databases would refuse a row, the key first, then its columns.

    Both databases by the same rule, so that the same events are set aside in a rebuild, whose rows
    are kept in SQLite.
    """
    for place, value in enumerate(row[: len(spec.columns) + 1]):
        # Nearly every value is a short text or a small number.
        if type(value) is str and len(value) <= _SHORT_MAX and "\0" not in value:
            continue
        if type(value) is int and -COUNT.high <= value <= COUNT.high:
            continue
        _check_fits(spec, (spec.key_name, *spec.columns)[place], value)


def _check_fits(spec: TableSpec, name: str, value: object) -> None:
    match value:
        case bool():
            pass
        case int() if -COUNT.high <= value <= COUNT.high:
            pass
        case str() if "\0" not in value and (
            len(value.encode()) <= _INDEXED_BYTES_MAX
            or name not in (spec.key_name, *INDEXED.get(spec.name, ()))
        ):
            pass
        case None if name != spec.key_name:
            pass
        case _:
            raise Unfit(f"no database can hold {brief(value)} as {name} of {spec.name}")


def digest_of(table: str, values: Sequence[Any]) -> bytes:
    """Return the digest of a row, given every column but the digest itself."""
    texts = [v if type(v) is str else "\x00" if v is None else str(v) for v in values]
    text = "\x1f".join((table, *texts))
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def digest_of_link(link: tuple[str, int]) -> bytes:
    """Return the digest of a row of `order_events`: nearly every event has one."""
    text = f"order_events\x1f{link[0]}\x1f{link[1]}"
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


@dataclass(slots=True)
class Sums:
    """The sums of the digests of all rows, links included, and of the live ones alone."""

    every: int = 0
    live: int = 0

    def add(self, digest: bytes, *, live: bool) -> None:
        """Count a row."""
        number = int.from_bytes(digest)
        self.every = (self.every + number) % _MODULUS
        if live:
            self.live = (self.live + number) % _MODULUS

    def add_ended(self, digests: Iterable[bytes]) -> None:
        """Count many rows that are not live."""
        self.every = (self.every + sum(map(int.from_bytes, digests))) % _MODULUS

    def remove(self, digest: bytes, *, live: bool) -> None:
        """Count a row no more."""
        number = int.from_bytes(digest)
        self.every = (self.every - number) % _MODULUS
        if live:
            self.live = (self.live - number) % _MODULUS

    def stored(self) -> tuple[bytes, bytes]:
        """Return both as they are stored: of every row, and of the live ones."""
        return self.every.to_bytes(DIGEST_BYTES), self.live.to_bytes(DIGEST_BYTES)

    @classmethod
    def of(cls, every: bytes | None, live: bytes | None) -> Sums:
        """Return the sums that were stored, of nothing for none; raises `DatabaseDamaged`."""
        try:
            return cls(int.from_bytes(every or b""), int.from_bytes(live or b""))
        except TypeError as error:  # text, where SQLite was told so
            raise DatabaseDamaged(f"what the rows add up to cannot be read: {error}") from error


def row_columns(spec: TableSpec) -> tuple[str, ...]:
    """Return the columns of a projection in the order in which its rows are read and written."""
    return (spec.key_name, *spec.columns, "live", "body", "digest")


def select_rows(table: str) -> str:
    """Return the query of a projection's rows, to which a condition can be added."""
    return f"SELECT {', '.join(row_columns(TABLES[table]))} FROM {table}"


def check_row(table: str, row: Sequence[Any]) -> bytes:
    """Return the digest that a row carries; raises `DatabaseDamaged` where it is another's."""
    digest = digest_of(table, row[:-1])
    if row[-1] != digest:
        raise DatabaseDamaged(f"the row {row[0]!r} of {table} is not what was written")
    return digest


def record_of(table: str, row: Sequence[Any]) -> AnyRecord:
    """Return the record of a row; raises `DatabaseDamaged` where it is not what was written."""
    check_row(table, row)
    try:
        return decode_record(table, row[-2])
    except ValueError as error:
        raise DatabaseDamaged(f"the row {row[0]!r} of {table} is no record: {error}") from error
