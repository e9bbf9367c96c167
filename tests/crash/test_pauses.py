"""A daemon that was stopped past its lease sends nothing when it goes on.

Goal: what leaves is in the log of the one who owns it. Method: `pauses`, which plays all of them by
`python -m tests.crash.pauses`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oms.core.fold.records import OrderState
from tests.crash.pauses import STEPS, Pause, every, faults, play

pytestmark = [
    pytest.mark.slow,
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells that a process stopped"),
]
#: The others play by their own command, or with `-m long`.
ALWAYS = "waiting, 4 s of a lease of 2 s, taken over"
PAUSES = [
    pytest.param(one, id=str(one), marks=() if str(one) == ALWAYS else pytest.mark.long)
    for one in every()
]


@pytest.mark.parametrize("pause", PAUSES)
async def test_a_pause(tmp_path: Path, pause: Pause) -> None:
    """Goal: past the lease and taken over, nothing leaves; else it goes on as if nothing was."""
    played = await play(tmp_path, pause)
    print(played)
    assert faults(played) == []
    if pause.successor:
        assert {o.state for o in played.orders.values() if o.order_id not in played.after} <= {
            OrderState.NOT_SENT
        }


@pytest.mark.long
@pytest.mark.parametrize("step", sorted(STEPS))
async def test_orders_that_grew_old_in_a_pause_are_not_sent(tmp_path: Path, step: str) -> None:
    """Goal: within the lease, but too late for what was wanted. Method: a long lease."""
    played = await play(tmp_path, Pause(step, 3, lease_seconds=30, order_age_seconds_max=2))
    print(played)
    assert played.late == []
    assert played.life.exit_code == 0
    left = {o.order_id: o for o in played.orders.values() if o.order_id not in played.after}
    assert {o.state for o in left.values()} == {OrderState.NOT_SENT}
    assert all("(order_age_seconds_max) is too old" in o.text for o in left.values())
