"""Hostile values at every door: a part of `python -m tests.hostile`, another one with each seed.

Goal: no value, at any field of any event, message, setting or verb, ends in a traceback, a hang or
an exit status that no page names; what a model takes can be appended, folded, written into its rows
and read back; and a daemon lives through all of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.live import KNOWN, play_live
from tests.hostile.play import play

#: Each so-manieth value, so that a door is played in a few seconds.
STEPS = {"events": 307, "wires": 631, "settings": 211, "lines": 307}


@pytest.mark.parametrize("part", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("door", sorted(STEPS))
def test_every_value_is_kept_or_refused_in_words(
    door: str, part: int, seed: int, tmp_path: Path
) -> None:
    step = STEPS[door] // part
    figures = play(door, tmp_path, seed % step, step)
    assert figures.faults == []
    assert 0 < figures.taken < figures.thrown


async def test_a_daemon_lives_through_the_lines_that_once_ended_it(
    seed: int, tmp_path: Path
) -> None:
    figures = await play_live(tmp_path, seed, len(KNOWN) + 20)
    assert figures.faults == []
    assert figures.thrown == len(KNOWN) + 20


@pytest.mark.long
async def test_a_daemon_lives_through_a_thousand_hostile_lines(seed: int, tmp_path: Path) -> None:
    figures = await play_live(tmp_path, seed, 1_100, seconds_max=600)
    assert figures.faults == []
    assert figures.taken > 0
