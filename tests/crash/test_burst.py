"""A few bursts over a line that is cut at a random byte; `python -m tests.burst` runs more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.burst import burst
from tests.simulator import running_simulator

pytestmark = [pytest.mark.slow, pytest.mark.crash]
ORDERS = 60


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 6))]
)
async def test_a_burst_over_a_dying_line_loses_nothing_and_sends_nothing_twice(
    tmp_path: Path, seed: int
) -> None:
    """Goal and method: see the head of `tests.burst`."""
    async with running_simulator("--seed", str(seed)) as simulator:
        outcome = await burst(tmp_path, simulator, seed, ORDERS)
    assert sum(outcome.states.values()) == ORDERS
