"""The independent checker: do the OMS's books equal the broker's, and is its log whole?

It reads the OMS's SQLite file with nothing but the standard library, asks the simulator for its
books over the control port, and decides a list of claims. It shares no code with the OMS, so that a
mistake in its folds, its codec or its reconciliation cannot hide here as well; the layout of the
tables and the hash (docstring of ``oms/core/codec.py``) are all that it knows of the other side.

    python -m oms.sim.checker --database oms.sqlite --control-port 4003

One line a claim on standard output, `ok` or `FAILED` with the differences; exit status 0 when every
claim holds, else 1. Both sides must be at rest: what is on its way between them is a difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

#: Differences that are printed per claim; the rest is counted.
SHOWN_MAX: Final = 10
#: Longest wait for the simulator's answer.
ANSWER_SECONDS: Final = 10

_HASHED: Final = (
    "sequence, type, version, recorded_at, occurred_at, lease_epoch, session_epoch, actor,"
    " correlation_id, causation_sequence, natural_key, payload, wire"
)
#: What the OMS may say of an order, by the broker's word for it.
_STATES: Final[Mapping[str, frozenset[str]]] = {
    "Filled": frozenset({"FILLED"}),
    "Cancelled": frozenset({"CANCELLED", "EXPIRED"}),
    "ApiCancelled": frozenset({"CANCELLED"}),
    "Rejected": frozenset({"REJECTED"}),
}
_LIVE: Final = frozenset(
    {"WORKING", "PARTIALLY_FILLED", "MODIFY_PENDING", "CANCEL_PENDING", "HELD"}
)
#: States of orders that the broker need not know: they never left, or it refused them at its door.
_NOT_AT_BROKER: Final = frozenset({"DENIED", "NOT_SENT", "REJECTED"})

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that must hold, and how it does not."""

    name: str
    text: str
    differences: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Say whether it holds."""
        return not self.differences


@dataclass(slots=True)
class OmsFile:
    """What the checker reads from the OMS's database."""

    events: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    fills: list[Row] = field(default_factory=list)
    positions: list[Row] = field(default_factory=list)
    #: Sequence and hash at which the OMS says that its log ends.
    log_end: tuple[int, bytes] | None = None

    def of_type(self, name: str) -> Iterator[tuple[int, Row]]:
        """Yield sequence and payload of the events of a type."""
        for event in self.events:
            if event["type"] == name:
                yield event["sequence"], json.loads(event["payload"])


def read_file(path: Path) -> OmsFile:
    """Read the OMS's database in one transaction, without the means to change it."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")
        events = database.execute(f"SELECT {_HASHED}, hash FROM events ORDER BY sequence")
        rows: list[Row] = [dict(row) for row in events]
        ends = database.execute("SELECT sequence, hash FROM checkpoints WHERE name = 'log'")
        end = ends.fetchone()
        return OmsFile(
            events=rows,
            orders=_bodies(database, "orders"),
            fills=_bodies(database, "fills"),
            positions=_bodies(database, "positions"),
            log_end=None if end is None else (end[0], bytes(end[1])),
        )


def ask_books(control_port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """Ask the simulator for its books."""
    with socket.create_connection((host, control_port), timeout=ANSWER_SECONDS) as line:
        line.sendall(b'{"do": "books"}\n')
        with line.makefile("rb") as answers:
            answer: dict[str, Any] = json.loads(answers.readline())
    if not answer.get("ok"):
        raise ConnectionError(f"the simulator answered {answer}")
    return answer


def check(oms: OmsFile, books: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Decide every claim."""
    return tuple(
        Claim(name, text, tuple(differences(oms, books)))
        for name, (text, differences) in CLAIMS.items()
    )


# ── the log ──────────────────────────────────────────────────────────────────────────────────────


def _sequences(oms: OmsFile, _: Mapping[str, Any]) -> Iterator[str]:
    for place, event in enumerate(oms.events, start=1):
        if event["sequence"] != place:
            yield f"event {event['sequence']} stands in place {place}"
            return
    if oms.log_end is not None and oms.log_end[0] != len(oms.events):
        yield f"the log ends at {len(oms.events)}, but {oms.log_end[0]} events were appended"


def _chain(oms: OmsFile, _: Mapping[str, Any]) -> Iterator[str]:
    digest = bytes(32)
    names = [name.strip() for name in _HASHED.split(",")]
    for event in oms.events:
        parts = ["" if event[name] is None else str(event[name]) for name in names]
        digest = hashlib.sha256(digest + "\x1f".join(parts).encode()).digest()
        if digest != bytes(event["hash"]):
            yield f"the hash of event {event['sequence']} ({event['type']}) does not fit"
            return
    if oms.log_end is not None and oms.events and oms.log_end[1] != digest:
        yield "the log does not end with the hash that was noted at the last append"


def _intended_first(oms: OmsFile, _: Mapping[str, Any]) -> Iterator[str]:
    """Go through the log once, counting what each order's intents allow to be sent."""
    allowed: Counter[str] = Counter()
    references = _adopted_references(oms)
    for event in oms.events:
        if event["type"] in ("OrderIntended", "ModifyIntended"):
            order_id = json.loads(event["payload"])["order_id"]
            allowed[references.get(order_id, order_id)] += 1
        elif event["type"] == "OrderMessageSent":
            sent = json.loads(event["payload"])
            if sent["kind"] != "place":
                continue
            reference = sent.get("order_ref", "")
            allowed[reference] -= 1
            if allowed[reference] < 0:
                yield f"event {event['sequence']}: {reference!r} was sent without an intent before"


# ── what was sent ────────────────────────────────────────────────────────────────────────────────


def _placed_once(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    clients = _our_clients(oms)
    received: Counter[str] = Counter()
    for row in books["placements"]:
        if row["client_id"] in clients:
            received[row["order_ref"]] += row["received"]
    intended = {payload["order_id"] for _, payload in oms.of_type("OrderIntended")}
    for reference, times in received.items():
        if reference not in intended:
            yield f"the broker received {reference!r}, which the log never intended"
        if times > 1:
            yield f"the broker received {reference!r} {times} times"


def _intended_changes(oms: OmsFile) -> Counter[str]:
    """Count the changes that were intended, by the reference that the order has at the broker."""
    references = _adopted_references(oms)
    order_ids = (payload["order_id"] for _, payload in oms.of_type("ModifyIntended"))
    return Counter(references.get(order_id, order_id) for order_id in order_ids)


def _adopted_references(oms: OmsFile) -> dict[str, str]:
    """Return the references of orders of others: none for those that people entered."""
    adopted = (payload for _, payload in oms.of_type("OrderAdopted"))
    return {payload["order_id"]: payload["order_ref"] for payload in adopted}


def _changed_as_intended(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    clients = _our_clients(oms)
    received: Counter[str] = Counter()
    # New terms that come after an order's end are refused there; they were sent all the same.
    for row in (*books["modifications"], *books["late_modifications"]):
        if row["client_id"] in clients:
            received[row["order_ref"]] += row["received"]
    intended = _intended_changes(oms)
    for reference, times in received.items():
        if times > intended[reference]:
            yield f"{reference!r} was changed {times} times, intended {intended[reference]} times"


# ── executions ───────────────────────────────────────────────────────────────────────────────────


def _nothing_lost(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    logged = {payload["exec_id"] for _, payload in oms.of_type("ExecutionReceived")}
    for row in _latest(books):
        if row["exec_id"] not in logged:
            yield f"execution {row['exec_id']} ({_words(row)}) is not in the log"


def _nothing_made_up(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    issued = {row["exec_id"] for row in books["executions"]}
    for sequence, payload in oms.of_type("ExecutionReceived"):
        if payload["exec_id"] not in issued:
            yield f"event {sequence}: the broker never issued {payload['exec_id']}"
    for fill in oms.fills:
        if fill["exec_id"] not in issued:
            yield f"a fill carries {fill['exec_id']}, which the broker never issued"


def _fills_equal(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    theirs = {
        row["exec_id"]: (
            row["account"],
            row["con_id"],
            _side(row["side"]),
            Decimal(row["quantity"]),
            Decimal(row["price"]),
        )
        for row in _latest(books)
    }
    ours = {
        fill["exec_id"]: (
            fill["account"],
            fill["contract"]["con_id"],
            fill["side"],
            Decimal(fill["quantity"]),
            Decimal(fill["price"]),
        )
        for fill in oms.fills
    }
    yield from _compared("execution", ours, theirs)


def _commissions_equal(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    latest = {row["exec_id"] for row in _latest(books)}
    theirs = {
        row["exec_id"]: (Decimal(row["commission"]), row["currency"])
        for row in books["commissions"]
        if row["exec_id"] in latest
    }
    ours = {
        fill["exec_id"]: (Decimal(fill["commission"]), fill["commission_currency"])
        for fill in oms.fills
        if fill.get("commission") is not None
    }
    yield from _compared("commission of", ours, theirs)


# ── orders and positions ─────────────────────────────────────────────────────────────────────────


def _orders_equal(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    by_reference = {order["order_id"]: order for order in oms.orders}
    by_perm_id = {perm: order for order in oms.orders for perm in order.get("perm_ids", ())}
    known: set[str] = set()
    for row in books["orders"]:
        order = by_reference.get(row["order_ref"]) or by_perm_id.get(row["perm_id"])
        name = f"order {row['order_ref'] or row['perm_id']} ({_words(row)})"
        if order is None:
            yield f"{name}: the broker says {row['status']}, our books do not know it"
            continue
        known.add(order["order_id"])
        if _state(order) not in _STATES.get(row["status"], _LIVE):
            yield f"{name}: the broker says {row['status']}, our books {order['state']}"
        if Decimal(order.get("filled", 0)) != Decimal(row["filled"]):
            yield f"{name}: the broker filled {row['filled']}, our books {order.get('filled', 0)}"
    waiting = {row["order_ref"] for row in books.get("untransmitted", ())}
    for order_id, order in by_reference.items():
        # One that is cancelled before its group was whole never got a permanent number; and of one
        # that was to wait for its group, doubt claims nothing.
        held = _state(order) == "CANCELLED" and not order.get("perm_ids")
        held |= _state(order) == "IN_DOUBT" and not order.get("transmit", True)
        if order_id not in known | waiting and _state(order) not in _NOT_AT_BROKER and not held:
            yield f"order {order_id}: our books say {order['state']}, the broker does not know it"


def _positions_equal(oms: OmsFile, books: Mapping[str, Any]) -> Iterator[str]:
    theirs = {
        (row["account"], row["con_id"]): Decimal(row["quantity"])
        for row in books["positions"]
        if Decimal(row["quantity"])
    }
    ours = {
        (row["account"], row["contract"]["con_id"]): Decimal(row["quantity"])
        for row in oms.positions
        if Decimal(row.get("quantity", 0))
    }
    yield from _compared("position", ours, theirs)


Differences = Callable[[OmsFile, Mapping[str, Any]], Iterable[str]]

CLAIMS: Final[Mapping[str, tuple[str, Differences]]] = {
    "sequences": ("the log has no gap and is as long as it says", _sequences),
    "chain": ("every hash follows from the event and the one before", _chain),
    "intended_first": ("every order message was intended before it was sent", _intended_first),
    "placed_once": ("the broker received every order once, and none unintended", _placed_once),
    "changed_as_intended": ("the broker received no change unintended", _changed_as_intended),
    "nothing_lost": ("every execution of the broker is in the log", _nothing_lost),
    "nothing_made_up": ("every fill carries an execution that the broker issued", _nothing_made_up),
    "fills": ("fills equal the broker's executions", _fills_equal),
    "commissions": ("commissions equal the broker's", _commissions_equal),
    "orders": ("every order ended, or lives, as at the broker, equally filled", _orders_equal),
    "positions": ("positions equal the broker's, in both directions", _positions_equal),
}


# ── small parts ──────────────────────────────────────────────────────────────────────────────────


def _bodies(database: sqlite3.Connection, table: str) -> list[Row]:
    """Return the records of a projection; a field that has its default is not in them."""
    return [json.loads(row["body"]) for row in database.execute(f"SELECT body FROM {table}")]


def _state(order: Row) -> str:
    return str(order.get("state", "INTENDED"))


def _our_clients(oms: OmsFile) -> set[int]:
    return {payload["client_id"] for _, payload in oms.of_type("DaemonStarted")}


def _latest(books: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the executions that count: a correction replaces what it corrects."""
    return (row for row in books["executions"] if not row["superseded"])


def _side(broker_side: str) -> str:
    return {"BOT": "BUY", "SLD": "SELL"}.get(broker_side, broker_side)


def _words(row: Row) -> str:
    return f"{row['side']} {row['quantity']} {row['symbol']}"


def _compared(what: str, ours: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        if ours.get(key) != theirs.get(key):
            name = " ".join(str(part) for part in key) if isinstance(key, tuple) else key
            yield f"{what} {name}: ours {_shown(ours.get(key))}, theirs {_shown(theirs.get(key))}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return " ".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def render(claims: Iterable[Claim]) -> str:
    """Return one line a claim, with the differences of those that fail."""
    lines = []
    for claim in claims:
        lines.append(f"{'ok' if claim.ok else 'FAILED':<8}{claim.name:<21}{claim.text}")
        lines += [f"        {difference}" for difference in claim.differences[:SHOWN_MAX]]
        if len(claim.differences) > SHOWN_MAX:
            lines.append(f"        and {len(claim.differences) - SHOWN_MAX} more")
    return "\n".join(lines)


def as_json(claims: Sequence[Claim]) -> dict[str, Any]:
    """Return the verdict for programs; keys are stable under one `schema` number."""
    return {
        "schema": 1,
        "ok": all(claim.ok for claim in claims),
        "claims": [
            {
                "name": claim.name,
                "text": claim.text,
                "ok": claim.ok,
                "differences": list(claim.differences),
            }
            for claim in claims
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Check from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m oms.sim.checker",
        description="Compare the OMS's database with the simulator's books.",
    )
    parser.add_argument("--database", type=Path, required=True, help="the OMS's SQLite file")
    parser.add_argument("--control-port", type=int, required=True, help="of the simulator")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        claims = check(read_file(options.database), ask_books(options.control_port))
    except (OSError, sqlite3.Error, ValueError) as error:
        sys.stderr.write(f"cannot check: {error}\n")
        return 1
    text = json.dumps(as_json(claims)) if options.json else render(claims)
    sys.stdout.write(text + "\n")
    return 0 if all(claim.ok for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
