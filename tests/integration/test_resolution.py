"""What a person says about a case holds until the difference is another one."""

from __future__ import annotations

import pytest

from oms.core.events import BreakClosed, BreakOpened
from tests.world import LOW, World

pytestmark = pytest.mark.slow


async def _by_hand(world: World) -> None:
    await world.simulator.do(
        "manual_order",
        symbol="AAPL",
        side="BUY",
        quantity="10",
        order_type="LMT",
        limit_price=LOW,
    )


async def _accept_the_only_case(world: World) -> None:
    (opened,) = await world.log(BreakOpened)
    await world.person(BreakClosed(break_id=opened.break_id, run_id=None, reason="my own order"))


async def test_a_case_that_a_person_closed_no_longer_breaks_the_verdict(world: World) -> None:
    await world.start()
    await _by_hand(world)
    assert (await world.reconcile()).verdict == "broken"
    await _accept_the_only_case(world)
    report = await world.reconcile()
    told = [f for f in report.findings if f.key.startswith("unknown_order")]
    assert report.verdict == "clean"
    assert [(f.result, "my own order" in f.text) for f in told] == [("match", True)]
    assert world.open_cases() == []


async def test_it_stays_closed_after_a_restart(world: World) -> None:
    await world.start()
    await _by_hand(world)
    await world.reconcile()
    await _accept_the_only_case(world)
    await world.stop()
    await world.start()
    assert (await world.reconcile()).verdict == "clean"
    assert len(await world.log(BreakOpened)) == 1


async def test_another_difference_of_the_same_order_opens_it_again(world: World) -> None:
    await world.start()
    await _by_hand(world)
    await world.reconcile()
    await _accept_the_only_case(world)
    await world.simulator.do("modify", order="last", limit_price="11")
    report = await world.reconcile()
    assert report.verdict == "broken"
    assert [event.reopened for event in await world.log(BreakOpened)] == [False, True]
