"""What the broker knows, kept in one SQLite file so that a restart or a kill loses nothing of it.

Untransmitted orders are not here: IB keeps them in the gateway's memory and loses them with it.
Live orders, positions and cash are in memory as well; ended orders and executions are only in the
file, which bounds the memory of a long day. Nothing is durable before `commit`, and the gateway
commits before it writes to a socket.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from oms.sim.broker.books import tape
from oms.sim.broker.books.executions import Execution
from oms.sim.broker.books.ledger import ZERO, Position
from oms.sim.broker.books.live_orders import LiveOrders
from oms.sim.broker.books.orders import Order
from oms.sim.broker.exchange.contracts import Contract
from oms.sim.protocol.fields import number

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS contracts (con_id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clients (client_id INTEGER PRIMARY KEY, highest_order_id INTEGER);
CREATE TABLE IF NOT EXISTS orders (
  perm_id INTEGER PRIMARY KEY, client_id INTEGER, order_id INTEGER, order_ref TEXT,
  live INTEGER, ended_at REAL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS orders_by_client ON orders (client_id, order_id);
CREATE INDEX IF NOT EXISTS orders_by_ref ON orders (order_ref);
CREATE INDEX IF NOT EXISTS orders_by_end ON orders (ended_at);
CREATE TABLE IF NOT EXISTS executions (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, exec_id TEXT UNIQUE, perm_id INTEGER,
  account TEXT, con_id INTEGER, at REAL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS executions_by_order ON executions (perm_id);
CREATE INDEX IF NOT EXISTS executions_by_time ON executions (at);
CREATE TABLE IF NOT EXISTS adjustments (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, after_execution INTEGER, account TEXT,
  con_id INTEGER, quantity TEXT, average_cost TEXT);
CREATE TABLE IF NOT EXISTS life (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT, kind TEXT, con_id INTEGER,
  quantity TEXT, price TEXT, at TEXT);
CREATE TABLE IF NOT EXISTS positions (
  account TEXT, con_id INTEGER, quantity TEXT, average_cost TEXT, realized TEXT,
  PRIMARY KEY (account, con_id));
CREATE TABLE IF NOT EXISTS openings (
  account TEXT, con_id INTEGER, realized TEXT, unrealized TEXT, PRIMARY KEY (account, con_id));
CREATE TABLE IF NOT EXISTS quotes (con_id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cash (
  account TEXT, currency TEXT, amount TEXT, PRIMARY KEY (account, currency));
CREATE TABLE IF NOT EXISTS placements (
  client_id INTEGER, order_id INTEGER, order_ref TEXT, kind TEXT, received INTEGER,
  PRIMARY KEY (client_id, order_id, order_ref, kind));
"""

#: What a placeOrder message asks for.
#: `late` is new terms for an order that had ended by then: they crossed its fill or its cancel.
Placement = Literal["new", "modify", "late", "what_if"]
#: Why a position changed though nobody traded.
ChangeKind = Literal["exercise", "assignment", "expiry", "split", "symbol_change", "transfer"]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a change without an execution left of a position."""

    quantity: Decimal
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class LifeRow:
    """What a statement tells of a change that nobody traded."""

    kind: ChangeKind
    con_id: int
    #: By how much the position changed.
    quantity: Decimal
    #: What was paid for it.
    price: Decimal
    at: datetime


class Books:
    """The broker's own books. One writer: the gateway's event loop."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A kill of the simulator must lose nothing; a power cut of the machine may.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA + tape.SCHEMA)
        self._open = False
        self._unwritten: dict[int, Order] = {}
        self._contracts: set[int] = set()
        self._highest: dict[int, int] = {}
        self.live = LiveOrders()
        #: Positions by account and con id.
        self.positions: dict[tuple[str, int], Position] = {}
        #: Realised and unrealised P&L of each position when the day began.
        self.openings: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
        #: Balances by account and currency.
        self.cash: dict[tuple[str, str], Decimal] = {}
        #: Called before a commit: what is written once however often it changes.
        self.before_commit: list[Callable[[], None]] = []
        #: What prices did, tick by tick.
        self.tape = tape.Tape(self._begin)
        self._load()

    def _load(self) -> None:
        for (body,) in self._db.execute("SELECT body FROM orders WHERE live ORDER BY perm_id"):
            self.live.keep(Order.from_json(body))
        for account, con_id, quantity, cost, realized in self._db.execute(
            "SELECT account, con_id, quantity, average_cost, realized FROM positions"
        ):
            row = Position(Decimal(quantity), Decimal(cost), Decimal(realized))
            self.positions[account, con_id] = row
        for account, currency, amount in self._db.execute("SELECT * FROM cash"):
            self.cash[account, currency] = Decimal(amount)
        for account, con_id, realized, unrealized in self._db.execute("SELECT * FROM openings"):
            self.openings[account, con_id] = Decimal(realized), Decimal(unrealized)
        self._highest = dict(self._db.execute("SELECT * FROM clients"))

    # ── durability ───────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> sqlite3.Connection:
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True
        return self._db

    def _write(self, statement: str, parameters: Iterable[object]) -> sqlite3.Cursor:
        return self._begin().execute(statement, tuple(parameters))

    def commit(self) -> None:
        """Make durable all that was changed."""
        for write in self.before_commit:
            write()
        self.tape.flush()
        self._write_orders()
        if self._open:
            self._db.execute("COMMIT")
            self._open = False

    def close(self) -> None:
        """Commit and close the file."""
        self.commit()
        self._db.close()

    # ── counters and settings ────────────────────────────────────────────────────────────────────

    def meta(self, key: str) -> str | None:
        """Return a note of the books about themselves."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Note something for the next start."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def next_number(self, key: str) -> int:
        """Return 1, 2, 3, ... for ever, over restarts too."""
        value = int(self.meta(key) or 0) + 1
        self.set_meta(key, str(value))
        return value

    def highest_order_id(self, client_id: int) -> int:
        """Return the highest order id that a client has used, 0 for none."""
        return self._highest.get(client_id, 0)

    def set_highest_order_id(self, client_id: int, order_id: int) -> None:
        """Note an order id as used."""
        self._highest[client_id] = order_id
        self._write("INSERT OR REPLACE INTO clients VALUES (?, ?)", (client_id, order_id))

    def client_ids(self) -> list[int]:
        """Return the clients that have ever sent an order."""
        return sorted(self._highest)

    # ── contracts ────────────────────────────────────────────────────────────────────────────────

    def remember(self, contract: Contract) -> None:
        """Keep the terms of a contract that was traded: options come and go with the days."""
        if contract.con_id not in self._contracts:
            self.keep_contract(contract)

    def keep_contract(self, contract: Contract) -> None:
        """Keep a contract's terms as they are now: a symbol may change."""
        self._contracts.add(contract.con_id)
        self._write(
            "INSERT OR REPLACE INTO contracts VALUES (?, ?)", (contract.con_id, contract.to_json())
        )

    def contracts(self) -> list[Contract]:
        """Return the contracts that were ever traded, as they are now."""
        rows = self._db.execute("SELECT body FROM contracts ORDER BY con_id").fetchall()
        return [Contract.from_json(body) for (body,) in rows]

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def save(self, order: Order) -> None:
        """Keep the order as it is now. It is written once a commit, however often it changes."""
        self._unwritten[order.perm_id] = order
        if order.ended:
            self.live.drop(order)
        else:
            self.live.keep(order)

    def _write_orders(self) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        for order in unwritten.values():
            ended_at = order.completed_at.timestamp() if order.completed_at is not None else None
            self._write(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    order.perm_id,
                    order.client_id,
                    order.order_id,
                    order.order_ref,
                    int(not order.ended),
                    ended_at,
                    order.to_json(),
                ),
            )

    def rebind(self, order: Order, client_id: int, order_id: int) -> None:
        """Give an order another API identity, as binding does."""
        self.live.rebind(order, client_id, order_id)
        self.save(order)

    def lose(self, order: Order) -> None:
        """Forget an order as if it had never come. It counts as ended for whoever still has it."""
        self.live.drop(order)
        self._unwritten.pop(order.perm_id, None)
        self._write("DELETE FROM orders WHERE perm_id = ?", (order.perm_id,))
        order.status = "Cancelled"

    def live_order(self, client_id: int, order_id: int) -> Order | None:
        """Return the live order of an API identity."""
        return self.live.of_client(client_id, order_id)

    def by_perm_id(self, perm_id: int) -> Order | None:
        """Return an order, live or ended."""
        return self.live.get(perm_id) or self._one("perm_id = ?", (perm_id,))

    def by_client(self, client_id: int, order_id: int) -> Order | None:
        """Return the newest order of an API identity, live or ended."""
        return self.live_order(client_id, order_id) or self._one(
            "client_id = ? AND order_id = ?", (client_id, order_id)
        )

    def by_ref(self, order_ref: str) -> Order | None:
        """Return the newest order of a reference, live or ended."""
        found = self._one("order_ref = ?", (order_ref,))
        return self.live.get(found.perm_id, found) if found is not None else None

    def completed(self, since: datetime) -> Iterator[Order]:
        """Yield the orders that ended since then, in the order of their ends."""
        self._write_orders()
        rows = self._db.execute(
            "SELECT body FROM orders WHERE NOT live AND ended_at >= ? ORDER BY ended_at, perm_id",
            (since.timestamp(),),
        )
        return (Order.from_json(body) for (body,) in rows.fetchall())

    def orders(self) -> Iterator[Order]:
        """Yield every order there ever was."""
        self._write_orders()
        rows = self._db.execute("SELECT perm_id, body FROM orders ORDER BY rowid").fetchall()
        return (self.live.get(perm_id) or Order.from_json(body) for perm_id, body in rows)

    def _one(self, where: str, parameters: tuple[object, ...]) -> Order | None:
        self._write_orders()
        row = self._db.execute(
            f"SELECT body FROM orders WHERE {where} ORDER BY rowid DESC LIMIT 1", parameters
        ).fetchone()
        return None if row is None else Order.from_json(row[0])

    # ── placements ───────────────────────────────────────────────────────────────────────────────

    def count_placement(
        self, client_id: int, order_id: int, order_ref: str, kind: Placement
    ) -> None:
        """Count a placeOrder message: when it is received, before anything is decided."""
        self._write(
            "INSERT INTO placements VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE"
            " SET received = received + 1",
            (client_id, order_id, order_ref, kind),
        )

    def placements(self, kind: Placement) -> list[tuple[int, int, str, int]]:
        """Return client id, order id, reference and count of messages of a kind, oldest first."""
        return self._db.execute(
            "SELECT client_id, order_id, order_ref, received FROM placements WHERE kind = ?"
            " ORDER BY rowid",
            (kind,),
        ).fetchall()

    # ── executions ───────────────────────────────────────────────────────────────────────────────

    def add_execution(self, execution: Execution) -> None:
        """Keep a new execution."""
        self._write(
            "INSERT INTO executions (exec_id, perm_id, account, con_id, at, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                execution.exec_id,
                execution.perm_id,
                execution.account,
                execution.con_id,
                execution.time.timestamp(),
                execution.to_json(),
            ),
        )

    def save_execution(self, execution: Execution) -> None:
        """Keep a known execution as it is now."""
        self._write(
            "UPDATE executions SET body = ? WHERE exec_id = ?",
            (execution.to_json(), execution.exec_id),
        )

    def execution(self, exec_id: str) -> Execution | None:
        """Return the execution of an id."""
        row = self._db.execute(
            "SELECT body FROM executions WHERE exec_id = ?", (exec_id,)
        ).fetchone()
        return None if row is None else Execution.from_json(row[0])

    def executions(self, since: datetime | None = None) -> Iterator[Execution]:
        """Yield the executions since a time, else all, oldest first."""
        at = since.timestamp() if since is not None else 0.0
        rows = self._db.execute(
            "SELECT body FROM executions WHERE at >= ? ORDER BY sequence", (at,)
        ).fetchall()
        return (Execution.from_json(body) for (body,) in rows)

    def executions_of(self, perm_id: int) -> list[Execution]:
        """Return the executions of an order, oldest first."""
        rows = self._db.execute(
            "SELECT body FROM executions WHERE perm_id = ? ORDER BY sequence", (perm_id,)
        ).fetchall()
        return [Execution.from_json(body) for (body,) in rows]

    # ── positions and cash ───────────────────────────────────────────────────────────────────────

    def set_position(self, account: str, con_id: int, row: Position) -> None:
        """Make a position what `row` says."""
        self.positions[account, con_id] = row
        self._write(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            (account, con_id, str(row.quantity), str(row.average_cost), str(row.realized)),
        )

    def set_opening(
        self, account: str, con_id: int, realized: Decimal, unrealized: Decimal
    ) -> None:
        """Note what a position has gained when the day begins."""
        self.openings[account, con_id] = realized, unrealized
        self._write(
            "INSERT OR REPLACE INTO openings VALUES (?, ?, ?, ?)",
            (account, con_id, str(realized), str(unrealized)),
        )

    def save_quotes(self, bodies: Mapping[int, str]) -> None:
        """Keep quotes by con id."""
        for row in bodies.items():
            self._write("INSERT OR REPLACE INTO quotes VALUES (?, ?)", row)

    def quotes(self) -> dict[int, str]:
        """Return the quotes that were kept, by con id."""
        return dict(self._db.execute("SELECT con_id, body FROM quotes"))

    def position(self, account: str, con_id: int) -> Position:
        """Return what is held, nothing as well."""
        return self.positions.get((account, con_id), Position())

    def add_cash(self, account: str, currency: str, amount: Decimal) -> None:
        """Pay into an account, or out of it when `amount` is below zero."""
        total = self.cash.get((account, currency), ZERO) + amount
        self.cash[account, currency] = total
        self._write("INSERT OR REPLACE INTO cash VALUES (?, ?, ?)", (account, currency, str(total)))

    def deposited(self, account: str, currency: str) -> Decimal:
        """Return what a bank deposit program keeps of a balance."""
        return Decimal(self.meta(f"deposited:{account}:{currency}") or 0)

    def set_deposited(self, account: str, currency: str, amount: Decimal) -> None:
        """Note what a bank deposit program keeps of a balance."""
        self.set_meta(f"deposited:{account}:{currency}", str(amount))

    def add_adjustment(
        self, account: str, con_id: int, quantity: Decimal, average_cost: Decimal
    ) -> None:
        """Keep a position change without an execution, so that a correction can be replayed."""
        self._write(
            "INSERT INTO adjustments (after_execution, account, con_id, quantity, average_cost)"
            " VALUES ((SELECT COALESCE(MAX(sequence), 0) FROM executions), ?, ?, ?, ?)",
            (account, con_id, str(quantity), str(average_cost)),
        )

    def add_life(
        self,
        account: str,
        kind: ChangeKind,
        *,
        con_id: int,
        quantity: Decimal,
        price: Decimal,
        at: datetime,
    ) -> None:
        """Keep what a statement tells of a change that nobody traded."""
        self._write(
            "INSERT INTO life (account, kind, con_id, quantity, price, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (account, kind, con_id, number(quantity), number(price), at.isoformat()),
        )

    def life(self, account: str) -> list[LifeRow]:
        """Return the changes of an account that nobody traded, oldest first."""
        rows = self._db.execute(
            "SELECT kind, con_id, quantity, price, at FROM life WHERE account = ?"
            " ORDER BY sequence",
            (account,),
        )
        return [
            LifeRow(kind, con_id, Decimal(quantity), Decimal(price), datetime.fromisoformat(at))
            for kind, con_id, quantity, price, at in rows
        ]

    def history(self, account: str, con_id: int) -> list[Execution | Adjustment]:
        """Return what changed a position, in the order in which it happened."""
        rows: list[tuple[int, int, Execution | Adjustment]] = []
        for sequence, body in self._db.execute(
            "SELECT sequence, body FROM executions WHERE account = ? AND con_id = ?",
            (account, con_id),
        ):
            row = Execution.from_json(body)
            if row.moves_position:
                rows.append((sequence, 0, row))
        for after, sequence, quantity, cost in self._db.execute(
            "SELECT after_execution, sequence, quantity, average_cost FROM adjustments"
            " WHERE account = ? AND con_id = ?",
            (account, con_id),
        ):
            rows.append((after, sequence, Adjustment(Decimal(quantity), Decimal(cost))))
        rows.sort(key=lambda row: row[:2])
        return [entry for _, _, entry in rows]
