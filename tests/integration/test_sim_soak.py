"""Ten minutes of simulated trading with faults; the hour is `python -m tests.sim_soak`."""

from __future__ import annotations

import pytest

from tests.sim_soak import soak


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("seconds", [600, pytest.param(3600, marks=pytest.mark.benchmark)])
async def test_trading_with_faults_leaves_no_error_no_leak_and_books_that_add_up(
    seconds: int,
) -> None:
    verdict = await soak(seconds)
    assert verdict.failures == []
