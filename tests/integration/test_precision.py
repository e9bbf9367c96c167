"""Every difference that is injected while fills race is reported with its class, nothing else is.

pytest tests/integration/test_precision.py --seed 17 -m ''
python -m tests.precision --seeds 1000 --jobs 2
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from oms.errors import InvalidRequest
from tests.precision.schedule import ACCOUNTS, INJECTIONS, World, play, summary

pytestmark = pytest.mark.slow

#: Runs in which every kind of difference is injected once.
HANDS = 5
#: Seeds of the long run, from the commit's own on; the command plays as many as one likes.
SEEDS = 50


@pytest.mark.sample(3)
@pytest.mark.parametrize("hand", range(HANDS))
async def test_every_kind_of_difference_is_reported_with_its_class(
    tmp_path: Path, seed: int, hand: int
) -> None:
    kinds = random.Random(seed).sample(INJECTIONS, len(INJECTIONS))[hand::HANDS]
    outcome = await play(tmp_path, seed * HANDS + hand, kinds)
    assert outcome.ok, summary([outcome])


@pytest.mark.long
@pytest.mark.parametrize("number", range(SEEDS))
async def test_every_injected_difference_is_reported_and_nothing_else(
    tmp_path: Path, seed: int, number: int
) -> None:
    outcome = await play(tmp_path, seed * SEEDS + number)
    assert outcome.ok, summary([outcome])


async def test_a_run_for_one_account_judges_that_account_only(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    async with world.running():
        for account in ACCOUNTS:
            await world.bought("AAPL", 10, account)
            world.do("position_adjust", symbol="AAPL", quantity="5", account=account)
        report = await world.oms.reconciler.run("test", account=ACCOUNTS[1])
        assert {f.account for f in report.findings} == {ACCOUNTS[1]}
        assert [c.finding.account for c in world.oms.view.open_breaks()] == [ACCOUNTS[1]]
        with pytest.raises(InvalidRequest, match="'DU999' is not one of"):
            await world.oms.reconciler.run("test", account="DU999")
