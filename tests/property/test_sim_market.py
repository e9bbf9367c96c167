"""Random days at the simulator: whatever comes, its books add up.

One seed, one day; a failure names its seed.  480 days instead of 12:
`pytest tests/property/test_sim_market.py --benchmark`.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from oms.sim.broker.books.books import Books
from oms.sim.broker.books.exposure import Exposure
from oms.sim.broker.books.ledger import ZERO
from oms.sim.broker.books.orders import Order
from oms.sim.broker.combos import quote_of
from oms.sim.broker.exchange.contracts import Query
from oms.sim.clock import SteppedClock
from oms.sim.gateway.gateway import Gateway
from oms.sim.protocol.requests import PLACE_ORDER
from oms.sim.settings import Settings

MONDAY = datetime(2026, 1, 12, 12, 0, tzinfo=UTC)
STEPS = 120
CONTRACTS = (
    {"conId": "265598", "exchange": "SMART"},
    {"conId": "272093", "exchange": "SMART"},
    {"symbol": "EUR", "secType": "CASH", "exchange": "IDEALPRO", "currency": "USD"},
    {"symbol": "ES", "secType": "FUT", "exchange": "CME", "lastTradeDateOrContractMonth": "202603"},
    {"symbol": "AAPL", "secType": "OPT", "right": "C", "strike": "190", "exchange": "SMART",
     "lastTradeDateOrContractMonth": "20260116"},
    {"symbol": "AAPL,MSFT", "secType": "BAG", "exchange": "SMART", "currency": "USD", "comboLegs": [
        {"conId": "265598", "ratio": "1", "action": "BUY", "exchange": "SMART"},
        {"conId": "272093", "ratio": "2", "action": "SELL", "exchange": "SMART"}]},
)  # fmt: skip
KINDS = ("MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "MTL")
TIFS = ("DAY", "DAY", "GTC", "IOC", "FOK", "OPG", "GTD")


class Day:
    """A gateway without sockets, and a client that does anything."""

    def __init__(self, seed: int, file: Path | None = None) -> None:
        self.rng = random.Random(seed)
        pick = self.rng.choice
        self.settings = Settings(
            books=file,
            seed=seed,
            cash=pick((Decimal(20_000), Decimal(1_000_000))),
            hours=pick(("always", "regular")),
            liquidity=pick(("endless", "touch")),
            market=pick(("still", "moving")),
            parts=pick((1, 3)),
            part_seconds=pick((0.0, 600.0)),
            children=pick(("partial", "whole")),
        )
        self.clock = SteppedClock(MONDAY)
        self.gateway = Gateway(self.settings, clock=self.clock)
        self.gateway.broker.day.follow()
        self.next_id = 1
        self.sent: dict[int, dict[str, Any]] = {}

    def play(self) -> None:
        acts = (self.place, self.place, self.place, self.family, self.cancel, self.modify,
                self.move, self.move, self.wait, self.fill)  # fmt: skip
        for _ in range(STEPS):
            self.rng.choice(acts)()
            self.gateway.flush()
            self.check()

    # -- what a client does -----------------------------------------------------------------------

    def order(self) -> dict[str, Any]:
        pick = self.rng.choice
        wanted = dict(pick(CONTRACTS))
        found = self.gateway.floor.catalogue.resolve_any(Query.from_wire(wanted))[0]
        last = Decimal(0)
        if found.sec_type != "BAG":
            last = self.gateway.floor.market.quote(found).last
        away = Decimal(self.rng.randint(-30, 30)) / 1000
        price = found.on_tick(last * (1 + away))
        kind = pick(KINDS)
        return {
            **wanted,
            "action": pick(("BUY", "SELL")),
            "totalQuantity": str(pick((1, 7, 100, 30_000))),
            "orderType": kind,
            "tif": pick(TIFS),
            "goodTillDate": f"202601{self.rng.randint(12, 15)} 12:00:00 US/Eastern",
            "lmtPrice": str(price) if kind not in ("TRAIL", "TRAIL LIMIT") else "",
            "auxPrice": str(found.on_tick(last / 100) if kind.startswith("TRAIL") else price),
            "lmtPriceOffset": str(found.minimum_tick) if kind == "TRAIL LIMIT" else "",
            "ocaGroup": pick(("", "", "", "one", "two")),
            "ocaType": pick(("1", "2", "3")),
            "allOrNone": pick(("0", "0", "1")),
            "minQty": pick(("", "", "5")),
            "outsideRth": pick(("0", "1")),
            "transmit": "1",
        }

    def send(self, order: dict[str, Any], order_id: int) -> None:
        known = self.gateway.intake.untransmitted.get((1, order_id))
        if known is None and self.gateway.books.live_order(1, order_id) is None:
            self.sent[order_id] = order
        fields = PLACE_ORDER.encode(178, {"id": "3", **order, "orderId": str(order_id)})
        self.gateway.intake.place(1, PLACE_ORDER.decode(178, fields))

    def place(self, **more: str) -> int:
        order_id, self.next_id = self.next_id, self.next_id + 1
        self.send({**self.order(), **more}, order_id)
        return order_id

    def family(self) -> None:
        parent = self.place(transmit="0")
        self.place(transmit="0", parentId=str(parent))
        self.place(transmit=self.rng.choice(("0", "1")), parentId=str(parent))

    def cancel(self) -> None:
        if self.rng.random() < 0.02:
            self.gateway.intake.cancel_all()
        self.gateway.intake.cancel(1, self.rng.randint(1, self.next_id))

    def modify(self) -> None:
        """Mostly new terms that may be; sometimes anything at all."""
        live = [one.order_id for one in self.gateway.books.live.values()]
        if not live or self.rng.random() < 0.2:
            self.send(self.order(), self.rng.randint(1, self.next_id))
            return
        order_id = self.rng.choice(live)
        size = self.rng.choice((1, 7, 50, 100, 200))
        changed = {**self.sent[order_id], "totalQuantity": str(size)}
        if changed["lmtPrice"]:
            changed["lmtPrice"] = self.order()["lmtPrice"] or changed["lmtPrice"]
        self.send(changed, order_id)

    def move(self) -> None:
        market = self.gateway.floor.market
        con_id = self.rng.choice(market.quoted or [265598])
        contract = self.gateway.floor.contract(con_id)
        last = market.quote(contract).last
        moved = last * (1 + Decimal(self.rng.randint(-20, 20)) / 1000)
        market.set(contract, last=max(contract.on_tick(moved), contract.minimum_tick * 2))
        self.gateway.broker.orders.on_quote(con_id)

    def wait(self) -> None:
        self.clock.advance(self.rng.choice((1, 60, 3_600, 20_000)))

    def fill(self) -> None:
        live = list(self.gateway.books.live.values())
        if live:
            order = self.rng.choice(live)
            quote = quote_of(self.gateway.floor, order)
            part = order.remaining if self.rng.random() < 0.5 else min(order.remaining, Decimal(3))
            self.gateway.broker.orders.fill(order, part, quote.last)

    # -- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        books = self.gateway.books
        for order in books.live.values():
            assert not order.ended
            assert 0 <= order.filled <= order.quantity, order
            assert order.remaining > 0, order
        fresh = Exposure()
        for order in books.live.values():
            fresh.keep(order)
        for con_id in books.live.exposure.contracts("DU1234567"):
            held = books.position("DU1234567", con_id).quantity
            worst = books.live.exposure.worst("DU1234567", con_id, held)
            assert worst == fresh.worst("DU1234567", con_id, held)

    def check_end(self) -> None:
        books = self.gateway.books
        filled: dict[int, Decimal] = {}
        for row in books.executions():
            if not row.superseded and row.exec_id.count(".") == 3:
                filled[row.perm_id] = filled.get(row.perm_id, ZERO) + row.quantity
        for order in books.orders():
            assert filled.get(order.perm_id, ZERO) == order.filled, order
            self.check_order(order)
        for (account, con_id), position in books.positions.items():
            row = ZERO
            for entry in books.history(account, con_id):
                row = entry[0] if isinstance(entry, tuple) else row + entry.signed
            assert row == position.quantity, con_id

    def check_order(self, order: Order) -> None:
        parts = self.gateway.books.executions_of(order.perm_id)
        whole = [row for row in parts if row.exec_id.count(".") == 3]
        if order.status == "Filled":
            assert order.remaining == 0
        if order.parent_perm_id and order.filled:
            parent = self.gateway.books.by_perm_id(order.parent_perm_id)
            assert parent is not None
        assert all(row.quantity > 0 for row in whole)

    def story(self) -> list[str]:
        return [order.to_json() for order in self.gateway.books.orders()] + [
            row.to_json() for row in self.gateway.books.executions()
        ]


@pytest.mark.parametrize("seed", range(12))
def test_the_books_add_up_after_every_step(seed: int, request: pytest.FixtureRequest) -> None:
    more = 40 if request.config.getoption("--benchmark") else 1
    for number in range(seed, seed + 12 * more, 12):
        day = Day(number)
        day.play()
        day.check_end()


def test_the_same_seed_makes_the_same_day() -> None:
    stories = []
    for _ in range(2):
        day = Day(5)
        day.play()
        stories.append(day.story())
    assert stories[0] == stories[1]
    assert len(stories[0]) > 20


def test_a_day_reads_back_as_it_was_kept(tmp_path: Path) -> None:
    day = Day(3, tmp_path / "gateway.db")
    day.play()
    before = day.gateway.books
    before.commit()
    after = Books(tmp_path / "gateway.db")
    assert after.live == before.live
    assert after.positions == before.positions
    assert after.cash == before.cash
    assert after.openings == before.openings
