"""What the broker knows, kept in one SQLite file so that a restart or a kill loses nothing of it.

Untransmitted orders are not here: IB keeps them in the gateway's memory and loses them with it.
Live orders, positions and cash are in memory as well; ended orders and executions are only in the
file, which bounds the memory of a long day.  Nothing is durable before `commit`, and the gateway
commits before it writes to a socket.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from oms.sim.broker.instruments import Contract
from oms.sim.broker.ledger import ZERO, Position
from oms.sim.broker.orders import Execution, Order
from oms.sim.broker.working import Working
from oms.sim.protocol.frames import number

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


class Books:
    """The broker's own books.  One writer: the gateway's event loop."""

    def __init__(self, path: Path | None) -> None:
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A kill of the simulator must lose nothing; a power cut of the machine may.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        self._open = False
        self._unwritten: dict[int, Order] = {}
        self.live: dict[int, Order] = {}
        self._live_by_client: dict[tuple[int, int], Order] = {}
        # Perm ids of live orders, by what connects them: a fill must not look at every order.
        self._groups: dict[tuple[str, int | str], dict[int, None]] = {}
        self._grouped: dict[int, list[tuple[str, int | str]]] = {}
        self.working = Working()
        self._contracts: set[int] = set()
        self.positions: dict[tuple[str, int], Position] = {}
        # Realised and unrealised P&L of a position when the day began.
        self.openings: dict[tuple[str, int], tuple[Decimal, Decimal]] = {}
        self.cash: dict[tuple[str, str], Decimal] = {}
        # Called before a commit: what is written once however often it changes.
        self.before_commit: list[Callable[[], None]] = []
        self._highest: dict[int, int] = {}
        self._load()

    def _load(self) -> None:
        for (body,) in self._db.execute("SELECT body FROM orders WHERE live ORDER BY perm_id"):
            order = Order.from_json(body)
            self._keep(order)
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

    def _keep(self, order: Order) -> None:
        self.live[order.perm_id] = order
        self.working.keep(order)
        if order.order_id:
            self._live_by_client[order.client_id, order.order_id] = order
        groups = _groups_of(order)
        if groups != self._grouped.get(order.perm_id):
            self._ungroup(order)
            self._grouped[order.perm_id] = groups
            for group in groups:
                self._groups.setdefault(group, {})[order.perm_id] = None

    def _ungroup(self, order: Order) -> None:
        for group in self._grouped.pop(order.perm_id, ()):
            members = self._groups.get(group, {})
            members.pop(order.perm_id, None)
            if not members:
                self._groups.pop(group, None)

    def _drop(self, order: Order) -> None:
        if self.live.pop(order.perm_id, None) is None:
            return
        self.working.drop(order)
        self._live_by_client.pop((order.client_id, order.order_id), None)
        self._ungroup(order)

    def _members(self, group: tuple[str, int | str]) -> list[Order]:
        return [self.live[perm_id] for perm_id in self._groups.get(group, ())]

    def affected_by(self, con_id: int) -> list[Order]:
        """Live orders that look at a contract's quote."""
        return self._members(("contract", con_id))

    def watching(self) -> list[Order]:
        """Live orders that wait for an execution, or for the account's margin."""
        return self._members(("account", ""))

    def children(self, parent: Order) -> list[Order]:
        return self._members(("parent", parent.perm_id))

    def one_cancels_other(self, order: Order) -> list[Order]:
        """The other members of an order's OCA group; the children of one parent are a group too."""
        if order.oca_group:
            members = self._members(("oca", f"{order.account}:{order.oca_group}"))
        elif order.parent_perm_id:
            members = self._members(("parent", order.parent_perm_id))
        else:
            return []
        return [other for other in members if other.perm_id != order.perm_id]

    # -- durability ---------------------------------------------------------------------------

    def _write(self, statement: str, parameters: Iterable[object]) -> sqlite3.Cursor:
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True
        return self._db.execute(statement, tuple(parameters))

    def commit(self) -> None:
        for write in self.before_commit:
            write()
        self._write_orders()
        if self._open:
            self._db.execute("COMMIT")
            self._open = False

    def close(self) -> None:
        self.commit()
        self._db.close()

    # -- counters and settings ----------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def next_number(self, key: str) -> int:
        """1, 2, 3, ... for ever, over restarts too."""
        value = int(self.meta(key) or 0) + 1
        self.set_meta(key, str(value))
        return value

    def highest_order_id(self, client_id: int) -> int:
        return self._highest.get(client_id, 0)

    def set_highest_order_id(self, client_id: int, order_id: int) -> None:
        self._highest[client_id] = order_id
        self._write("INSERT OR REPLACE INTO clients VALUES (?, ?)", (client_id, order_id))

    def client_ids(self) -> list[int]:
        return sorted(self._highest)

    # -- contracts ----------------------------------------------------------------------------

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
        rows = self._db.execute("SELECT body FROM contracts ORDER BY con_id").fetchall()
        return [Contract.from_json(body) for (body,) in rows]

    # -- orders -------------------------------------------------------------------------------

    def save(self, order: Order) -> None:
        """Keep the order as it is now.  It is written once a commit, however often it changes."""
        self._unwritten[order.perm_id] = order
        if order.ended:
            self._drop(order)
        else:
            self._keep(order)

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
        self._live_by_client.pop((order.client_id, order.order_id), None)
        order.client_id, order.order_id = client_id, order_id
        self.save(order)

    def lose(self, order: Order) -> None:
        """Forget an order as if it had never come.  It counts as ended for whoever still has it."""
        self._drop(order)
        self._unwritten.pop(order.perm_id, None)
        self._write("DELETE FROM orders WHERE perm_id = ?", (order.perm_id,))
        order.status = "Cancelled"

    def live_order(self, client_id: int, order_id: int) -> Order | None:
        return self._live_by_client.get((client_id, order_id))

    def by_perm_id(self, perm_id: int) -> Order | None:
        return self.live.get(perm_id) or self._one("perm_id = ?", (perm_id,))

    def by_client(self, client_id: int, order_id: int) -> Order | None:
        """The newest order of that id, live or ended."""
        found = self._live_by_client.get((client_id, order_id))
        return found or self._one("client_id = ? AND order_id = ?", (client_id, order_id))

    def by_ref(self, order_ref: str) -> Order | None:
        """The newest order of that reference, live or ended."""
        found = self._one("order_ref = ?", (order_ref,))
        return self.live.get(found.perm_id, found) if found is not None else None

    def completed(self, since: datetime) -> Iterator[Order]:
        self._write_orders()
        rows = self._db.execute(
            "SELECT body FROM orders WHERE NOT live AND ended_at >= ? ORDER BY ended_at, perm_id",
            (since.timestamp(),),
        )
        return (Order.from_json(body) for (body,) in rows.fetchall())

    def orders(self) -> Iterator[Order]:
        self._write_orders()
        rows = self._db.execute("SELECT perm_id, body FROM orders ORDER BY rowid").fetchall()
        return (self.live.get(perm_id) or Order.from_json(body) for perm_id, body in rows)

    def _one(self, where: str, parameters: tuple[object, ...]) -> Order | None:
        self._write_orders()
        row = self._db.execute(
            f"SELECT body FROM orders WHERE {where} ORDER BY rowid DESC LIMIT 1", parameters
        ).fetchone()
        return None if row is None else Order.from_json(row[0])

    # -- placements ---------------------------------------------------------------------------

    def count_placement(self, client_id: int, order_id: int, order_ref: str, kind: str) -> None:
        """`kind`: new, modify or what_if.  Counted when received, before anything is decided."""
        self._write(
            "INSERT INTO placements VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE"
            " SET received = received + 1",
            (client_id, order_id, order_ref, kind),
        )

    def placements(self, kind: str) -> list[tuple[int, int, str, int]]:
        """Client id, order id, reference and count of the messages of a kind, oldest first."""
        return self._db.execute(
            "SELECT client_id, order_id, order_ref, received FROM placements WHERE kind = ?"
            " ORDER BY rowid",
            (kind,),
        ).fetchall()

    # -- executions ---------------------------------------------------------------------------

    def add_execution(self, execution: Execution) -> None:
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
        self._write(
            "UPDATE executions SET body = ? WHERE exec_id = ?",
            (execution.to_json(), execution.exec_id),
        )

    def execution(self, exec_id: str) -> Execution | None:
        row = self._db.execute(
            "SELECT body FROM executions WHERE exec_id = ?", (exec_id,)
        ).fetchone()
        return None if row is None else Execution.from_json(row[0])

    def executions(self, since: datetime | None = None) -> Iterator[Execution]:
        at = since.timestamp() if since is not None else 0.0
        rows = self._db.execute(
            "SELECT body FROM executions WHERE at >= ? ORDER BY sequence", (at,)
        ).fetchall()
        return (Execution.from_json(body) for (body,) in rows)

    def executions_of(self, perm_id: int) -> list[Execution]:
        rows = self._db.execute(
            "SELECT body FROM executions WHERE perm_id = ? ORDER BY sequence", (perm_id,)
        ).fetchall()
        return [Execution.from_json(body) for (body,) in rows]

    # -- positions and cash -------------------------------------------------------------------

    def set_position(self, account: str, con_id: int, row: Position) -> None:
        self.positions[account, con_id] = row
        self._write(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
            (account, con_id, str(row.quantity), str(row.average_cost), str(row.realized)),
        )

    def set_opening(
        self, account: str, con_id: int, realized: Decimal, unrealized: Decimal
    ) -> None:
        """What a position has gained when the day begins."""
        self.openings[account, con_id] = realized, unrealized
        self._write(
            "INSERT OR REPLACE INTO openings VALUES (?, ?, ?, ?)",
            (account, con_id, str(realized), str(unrealized)),
        )

    def save_quote(self, con_id: int, body: str) -> None:
        self._write("INSERT OR REPLACE INTO quotes VALUES (?, ?)", (con_id, body))

    def quotes(self) -> dict[int, str]:
        return dict(self._db.execute("SELECT con_id, body FROM quotes"))

    def position(self, account: str, con_id: int) -> Position:
        return self.positions.get((account, con_id), Position())

    def add_cash(self, account: str, currency: str, amount: Decimal) -> None:
        total = self.cash.get((account, currency), ZERO) + amount
        self.cash[account, currency] = total
        self._write("INSERT OR REPLACE INTO cash VALUES (?, ?, ?)", (account, currency, str(total)))

    def add_adjustment(
        self, account: str, con_id: int, quantity: Decimal, average_cost: Decimal
    ) -> None:
        """A position change without an execution; kept so that a correction can be replayed."""
        self._write(
            "INSERT INTO adjustments (after_execution, account, con_id, quantity, average_cost)"
            " VALUES ((SELECT COALESCE(MAX(sequence), 0) FROM executions), ?, ?, ?, ?)",
            (account, con_id, str(quantity), str(average_cost)),
        )

    def add_life(
        self,
        account: str,
        kind: str,
        *,
        con_id: int,
        quantity: Decimal,
        price: Decimal,
        at: datetime,
    ) -> None:
        """What a statement tells of a change that nobody traded: by how much, and at what price."""
        self._write(
            "INSERT INTO life (account, kind, con_id, quantity, price, at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (account, kind, con_id, number(quantity), number(price), at.isoformat()),
        )

    def life(self, account: str) -> list[tuple[str, int, str, str, str]]:
        """Kind, con id, quantity, price and time of every such change, oldest first."""
        return self._db.execute(
            "SELECT kind, con_id, quantity, price, at FROM life WHERE account = ?"
            " ORDER BY sequence",
            (account,),
        ).fetchall()

    def history(self, account: str, con_id: int) -> list[Execution | tuple[Decimal, Decimal]]:
        """Executions and adjustments of a position in the order in which they happened.

        An adjustment is the quantity and the average cost that it left behind.
        """
        rows: list[tuple[int, int, Execution | tuple[Decimal, Decimal]]] = []
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
            rows.append((after, sequence, (Decimal(quantity), Decimal(cost))))
        rows.sort(key=lambda row: row[:2])
        return [entry for _, _, entry in rows]


def _groups_of(order: Order) -> list[tuple[str, int | str]]:
    groups: list[tuple[str, int | str]] = [
        ("contract", con_id) for con_id in sorted(order.contracts)
    ]
    if order.parent_perm_id:
        groups.append(("parent", order.parent_perm_id))
    if any(one.get("condType") in ("4", "5") for one in order.terms.get("conditions", ())):
        groups.append(("account", ""))
    if order.oca_group:
        groups.append(("oca", f"{order.account}:{order.oca_group}"))
    return groups
