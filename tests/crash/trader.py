"""A trader and a broker's day at random, from one seed: what the seeded runs do in every life."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final

import oms
from oms.core.fold.records import ENDED, Order
from oms.errors import OmsError
from oms.service.subsystem import Oms
from tests.simulator import SimulatorRefused, control
from tests.world import AAPL, MSFT

STEPS: Final = 40
WAIT_SECONDS: Final = 0.5
Tell = Callable[..., None]


class Trader:
    """Does one random thing after the other, on either side of the wire."""

    def __init__(self, running: Oms, control_port: int, seed: str, tell: Tell) -> None:
        self._oms = running
        self._control_port = control_port
        self._seed = seed
        self._rng = random.Random(seed)
        self._tell = tell
        self._sent = 0

    async def run(self) -> None:
        """Take the steps that the seed draws."""
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (30, self._order),
            (8, self._bracket),
            (12, self._change),
            (12, self._cancel),
            (14, self._fill),
            (6, self._broker_cancels),
            (6, self._by_hand),
            (6, self._cut),
            (3, self._reconcile),
        ]
        weights = [weight for weight, _ in kinds]
        for _ in range(STEPS):
            (step,) = self._rng.choices([step for _, step in kinds], weights)
            # What is refused is refused; what takes too long goes on without us.
            with contextlib.suppress(OmsError, SimulatorRefused, TimeoutError, OSError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await step()

    # ── our side ─────────────────────────────────────────────────────────────────────────────────

    async def _order(self) -> None:
        side: Any = self._rng.choice(("BUY", "SELL"))
        quantity = self._rng.randint(1, 20)
        contract = self._rng.choice((AAPL, MSFT))
        resting = "10" if side == "BUY" else "5000"
        terms = self._rng.choice(
            (oms.Market(side, quantity), oms.Limit(side, quantity, resting, tif="GTC"))
        )
        order_id = self._new_id()
        ticket = await self._oms.manager.submit(contract, terms, order_id=order_id)
        self._tell(order_id=order_id, state=ticket.state.value)
        if self._rng.random() < 0.7:
            await ticket.acknowledged(WAIT_SECONDS)

    async def _bracket(self) -> None:
        await self._oms.manager.submit_bracket(
            AAPL,
            oms.Limit("BUY", self._rng.randint(1, 9), "10", tif="GTC"),
            take_profit=Decimal(1000),
            stop_loss=Decimal(5),
            order_id=self._new_id(),
        )

    async def _change(self) -> None:
        order = self._one_of_ours()
        price = Decimal(self._rng.randint(6, 12))
        await self._oms.manager.modify(order.order_id, limit=price)

    async def _cancel(self) -> None:
        await self._oms.manager.cancel(self._one_of_ours().order_id)

    async def _reconcile(self) -> None:
        await self._oms.reconciler.run("random")

    # ── the broker's side ────────────────────────────────────────────────────────────────────────

    async def _fill(self) -> None:
        order = await self._one_at_the_broker()
        left = int(Decimal(order["quantity"]) - Decimal(order["filled"]))
        quantity = self._rng.randint(1, max(left, 1))
        await self._do("fill", perm_id=order["perm_id"], quantity=quantity, price="10")

    async def _broker_cancels(self) -> None:
        await self._do("cancel", perm_id=(await self._one_at_the_broker())["perm_id"])

    async def _by_hand(self) -> None:
        await self._do(
            "manual_order",
            symbol=self._rng.choice(("AAPL", "MSFT")),
            side=self._rng.choice(("BUY", "SELL")),
            quantity=self._rng.randint(1, 5),
            order_type="MKT",
        )

    async def _cut(self) -> None:
        await self._do("cut")

    # ── who and what ─────────────────────────────────────────────────────────────────────────────

    def _new_id(self) -> str:
        self._sent += 1
        return f"r{self._seed.replace(':', '-')}-{self._sent}"

    def _one_of_ours(self) -> Order:
        live = [o for o in self._oms.view.orders.values() if o.state not in ENDED]
        if not live:
            raise TimeoutError("nothing to choose from")
        return self._rng.choice(sorted(live, key=lambda o: o.order_id))

    async def _one_at_the_broker(self) -> dict[str, Any]:
        rows = (await self._do("books"))["orders"]
        ended = ("Filled", "Cancelled", "ApiCancelled", "Rejected", "Inactive")
        live = [row for row in rows if row["status"] not in ended]
        if not live:
            raise TimeoutError("nothing to choose from")
        chosen: dict[str, Any] = self._rng.choice(live)
        return chosen

    async def _do(self, verb: str, **fields: object) -> dict[str, Any]:
        return await control(self._control_port, verb, **fields)


async def trade(running: Oms, control_port: int, seed: str, tell: Tell) -> None:
    """Trade at random, to the end of the seed's steps."""
    await Trader(running, control_port, seed, tell).run()
