"""Every difference that is injected while fills race is reported with its class, nothing else is.

pytest tests/integration/test_precision.py --seed 17
python -m tests.precision --seeds 1000 --jobs 2
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.precision.schedule import play, summary

pytestmark = pytest.mark.slow

#: Seeds of the default run, from the commit's own on; the command plays as many as one likes.
SEEDS = 8


@pytest.mark.parametrize("number", range(SEEDS))
async def test_every_injected_difference_is_reported_and_nothing_else(
    tmp_path: Path, seed: int, number: int
) -> None:
    folder = tmp_path / "seed"
    folder.mkdir()
    outcome = await play(folder, seed * SEEDS + number)
    assert outcome.ok, summary([outcome])
