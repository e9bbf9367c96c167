"""A daemon that was killed, and the orders of the one that comes after it."""

from __future__ import annotations

import pytest

from oms.core.codec import Head
from oms.core.events import GapClosed, ReconciliationCompleted
from oms.core.fold.records import OrderState
from oms.store.reader import Reader
from tests.shell import Shell
from tests.simulator import Simulator
from tests.world import World

pytestmark = pytest.mark.slow


async def test_orders_leave_again_after_a_daemon_was_killed_in_the_middle_of_a_session(
    world: World, simulator: Simulator
) -> None:
    """No gap was open when it died; its absence is one, and the next session must close it."""
    shell = Shell(
        world.database.parent,
        {"OMS_DATABASE_URL": str(world.database), "OMS_PORT": str(simulator.port)},
    )
    killed = await shell.start("run")
    assert killed.stderr is not None
    while b"reconciliation_completed" not in await killed.stderr.readline():
        assert killed.returncode is None
    killed.kill()
    await killed.communicate()
    await world.start(client_id=1)
    ticket = await world.bought(1)
    assert ticket.state is OrderState.FILLED
    assert world.view.system.gap_sequence == 0
    assert len(await world.log(GapClosed)) == 1


async def test_a_report_reaches_back_to_the_last_word_of_the_daemon_before(world: World) -> None:
    """The time between two daemons is a gap, however long the second took to start."""
    await world.start()
    await world.stop()
    last_word = (await head(world)).recorded_at
    await world.start()
    report = (await world.log(ReconciliationCompleted))[-1]
    assert report.gap_opened_at == last_word
    assert report.gap_opened_at < report.started_at


async def head(world: World) -> Head:
    reader = await Reader.open(f"sqlite:///{world.database}")
    try:
        return await reader.head()
    finally:
        await reader.close()
