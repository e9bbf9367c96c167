"""What the rows of the projections add up to, so that damage to one of them shows.

Each row carries a digest of its table and its other columns, and the sums of all digests stand in
the checkpoint of the books, written in the transaction of the rows: a row that was altered does not
fit its digest; one that was deleted, added or put back as it once was does not fit the sum. Against
a person who can count digests as well, `rebuild --check` folds the log again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from oms.errors import DatabaseDamaged

DIGEST_BYTES: Final = 16
#: Sums are taken modulo this, so that they stay as wide as a digest. Not an exclusive or: two equal
#: rows would cancel each other.
_MODULUS: Final = 1 << 8 * DIGEST_BYTES


def digest_of(table: str, values: Sequence[Any]) -> bytes:
    """Return the digest of a row, given every column but the digest itself."""
    text = "\x1f".join([table, *("\x00" if v is None else str(v) for v in values)])
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
