"""What keeps a log for later, killed at its steps: whole, or not there, and it can be repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.crash.keeping import SUBJECTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.crash,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]


@pytest.mark.sample(2)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_kill_leaves_nothing_half_done(tmp_path: Path, subject: str) -> None:
    """Goal: no kill leaves a backup, a place, a segment or tables that pass for whole ones.
    Method: kill -9 at some of the steps, spread over all; see `keeping`.
    """
    play(tmp_path, subject, 6)


@pytest.mark.long
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_kill_at_most_steps_leaves_nothing_half_done(tmp_path: Path, subject: str) -> None:
    """Goal and method: the same, at many more steps."""
    play(tmp_path, subject, 100)


def play(folder: Path, subject: str, points: int) -> None:
    if subject in ("archive", "removal"):
        pytest.importorskip("pyarrow", reason="the archive is written in Parquet")
    script = [sys.executable, "-m", "tests.crash.keeping", subject, str(folder), str(points)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == min(points, found[0]["of"])
    assert [one for one in found if one["wrong"]] == []
