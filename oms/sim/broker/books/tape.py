"""What prices did since somebody looked, tick by tick: the part of the books that history reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from oms.sim.broker.exchange.market import Tick
from oms.sim.broker.exchange.past import Origin

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS origins (
  con_id INTEGER PRIMARY KEY, at INTEGER NOT NULL, last TEXT NOT NULL, path INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ticks (
  con_id INTEGER, at INTEGER, bid TEXT, ask TEXT, last TEXT, bid_size TEXT, ask_size TEXT,
  traded TEXT);
CREATE INDEX IF NOT EXISTS ticks_by_time ON ticks (con_id, at);
"""


class Tape:
    """The recorded ticks of every contract, and where its record begins."""

    def __init__(self, begin: Callable[[], sqlite3.Connection]) -> None:
        #: Returns the file of the books, with a transaction open.
        self._begin = begin
        self._waiting: list[Tick] = []
        rows = begin().execute("SELECT con_id, at, last, path FROM origins")
        self._origins = {con_id: Origin(at, Decimal(last), path) for con_id, at, last, path in rows}

    def origin(self, con_id: int) -> Origin | None:
        """Return the first quote of a contract; None when it has none yet."""
        return self._origins.get(con_id)

    def begin(self, con_id: int, origin: Origin) -> None:
        """Keep the first quote of a contract."""
        self._origins[con_id] = origin
        self._begin().execute(
            "INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)",
            (con_id, origin.at, str(origin.last), origin.path),
        )

    def record(self, tick: Tick) -> None:
        """Keep a tick; it is written with the next commit, or before somebody reads."""
        self._waiting.append(tick)

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._begin().executemany(
            "INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (one.con_id, one.at, str(one.bid), str(one.ask), str(one.last),
                 str(one.bid_size), str(one.ask_size), str(one.traded))
                for one in waiting
            ],
        )  # fmt: skip

    def ticks(self, con_id: int, start: int, end: int) -> list[Tick]:
        """Return the ticks from one moment up to, not including, another, oldest first.

        Moments are microseconds since 1970.
        """
        return self._read("at >= ? AND at < ? ORDER BY at, rowid", (con_id, start, end))

    def last_before(self, con_id: int, at: int) -> Tick | None:
        """Return the newest tick before a moment."""
        found = self._read("at < ? ORDER BY at DESC, rowid DESC LIMIT 1", (con_id, at))
        return found[0] if found else None

    def _read(self, where: str, parameters: tuple[int, ...]) -> list[Tick]:
        self.flush()
        rows = self._begin().execute(
            f"SELECT * FROM ticks WHERE con_id = ? AND {where}", parameters
        )
        return [Tick(con_id, at, *map(Decimal, texts)) for con_id, at, *texts in rows]

    def rename(self, old: int, new: int) -> None:
        """Let the past of a contract go with it to another con id."""
        self.flush()
        self._begin().execute("UPDATE ticks SET con_id = ? WHERE con_id = ?", (new, old))
        self.begin(new, self._origins[old])

    def split(self, con_id: int, ratio: Fraction, tick: Decimal) -> None:
        """Put the past of a stock into new shares, `ratio` for each old one; `tick` is the least
        that a price may be.
        """
        whole, part = Decimal(ratio.denominator), Decimal(ratio.numerator)

        def price(old: Decimal) -> Decimal:
            return max(round(old * whole / part / tick) * tick, tick)

        rows = self._read("at >= ? ORDER BY at, rowid", (con_id, 0))
        self._begin().execute("DELETE FROM ticks WHERE con_id = ?", (con_id,))
        for one in rows:
            sizes = (one.bid_size, one.ask_size, one.traded * part / whole)
            prices = (price(one.bid), price(one.ask), price(one.last))
            self.record(Tick(con_id, one.at, *prices, *sizes))
        origin = self._origins[con_id]
        self.begin(con_id, Origin(origin.at, price(origin.last), origin.path))
