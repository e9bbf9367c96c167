"""Hostile values at every door: a part of `python -m tests.hostile`, another one with each seed.

Goal: no value, at any field of any event, message, setting or verb, ends in a traceback, a hang or
an exit status that no page names; and what a model takes can be appended, folded, written into its
rows and read back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.play import play

#: Each so-manieth value, so that a door is played in a few seconds.
STEPS = {"events": 101, "wires": 211, "settings": 17, "lines": 53}


@pytest.mark.parametrize("door", sorted(STEPS))
def test_every_value_is_kept_or_refused_in_words(door: str, tmp_path: Path) -> None:
    figures = play(door, tmp_path, 0, STEPS[door])
    assert figures.faults == []
    assert 0 < figures.taken < figures.thrown
