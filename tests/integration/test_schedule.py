"""When the books are compared, with a gateway that answers."""

from __future__ import annotations

import asyncio

import pytest

from oms.core.events import QueryAnswered, ReconciliationCompleted
from tests.world import DEADLINE_SECONDS, LOW, World, look_again

pytestmark = pytest.mark.slow


async def test_an_order_by_hand_is_found_by_the_cheap_comparison(world: World) -> None:
    """Nothing is pushed to us about it; two questions find it, and one full run follows."""
    await world.start(glance_interval_seconds=0.1)
    await quick_checks(world, 1)
    assert len(await world.log(ReconciliationCompleted)) == 1, "nothing new, no full run"
    await world.simulator.do(
        "manual_order",
        account="DU1234567",
        symbol="AAPL",
        side="BUY",
        quantity=10,
        order_type="LMT",
        limit_price=LOW,
    )
    await world.until(lambda: world.open_cases() == [("unknown_order", "AAPL")])
    runs = await world.log(ReconciliationCompleted)
    assert [run.trigger for run in runs] == ["start", "glance"]
    seen = await quick_checks(world, 2)
    assert {q.kind for a in seen for q in a.questions} == {"open_orders", "positions"}
    runs = await world.log(ReconciliationCompleted)
    assert len(runs) == 2, "an open case is no news to the next quick check"


async def test_a_difference_that_is_known_is_judged_again_only_when_it_changes(
    world: World,
) -> None:
    await world.start(glance_interval_seconds=0.1)
    await world.bought()

    def theirs() -> list[str]:
        return [case.finding.theirs for case in world.view.open_breaks()]

    for shown in (["15"], ["20"]):
        await world.simulator.do("position_adjust", symbol="AAPL", quantity=5)
        await world.until(lambda shown=shown: theirs() == shown)
        runs = len(await world.log(ReconciliationCompleted))
        await quick_checks(world, 3)
        assert len(await world.log(ReconciliationCompleted)) == runs


async def quick_checks(world: World, more: int) -> list[QueryAnswered]:
    """Wait for so many more quick checks, and return how they were answered."""
    before = len(await answers(world))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(found := await answers(world)) < before + more:
            await look_again()
    return found


async def answers(world: World) -> list[QueryAnswered]:
    return [a for a in await world.log(QueryAnswered) if a.run_id.startswith("G")]
