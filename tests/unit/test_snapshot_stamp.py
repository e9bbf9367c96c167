"""Snapshots are named by what their folds are made of: by all of it, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

from oms.history.snapshots import folding_modules

SHOW = """
import sys
import oms.core.codec, oms.core.fold.apply, oms.core.fold.records
print(*(name for name in sys.modules if name.startswith("oms.core")))
"""


def test_every_module_that_a_fold_loads_is_part_of_the_stamp() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "oms.core.fold.orders" in loaded
    assert set(loaded) <= set(folding_modules())


def test_what_no_fold_needs_is_no_part_of_the_stamp() -> None:
    strangers = {"oms.core.beginnings", "oms.core.sought", "oms.core.watch", "oms.core.schedule"}
    assert strangers.isdisjoint(folding_modules())
