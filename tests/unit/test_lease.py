"""Whether the process that holds a lease is alive."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oms.store.lease import process_is_alive


def test_process_that_runs_is_alive() -> None:
    assert process_is_alive(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells a zombie")
def test_process_that_ended_is_dead_before_its_parent_has_looked() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process_is_alive(child.pid)
