"""Damage to the files of a database: a part of `python -m tests.damage`, another with each seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.damage.play import play


@pytest.mark.parametrize("every", [70, pytest.param(14, marks=pytest.mark.long)])
def test_damage_is_found_or_changes_nothing_and_every_verb_says_so(
    tmp_path: Path, seed: int, every: int
) -> None:
    figures = play(tmp_path, seed, wanted=1, every=every)
    assert figures.faults == []
