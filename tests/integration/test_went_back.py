"""A database that went back: what leaves then, and what it takes to go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import oms
from oms.core.events import LossAccepted
from oms.core.fold.records import OrderState
from oms.errors import LogWentBack
from oms.service.lifetime import LossWord
from tests.world import AAPL, LOW, World

pytestmark = pytest.mark.slow
WORD = LossWord("person:test", "the disk failed")


async def aged(world: World) -> Path:
    """Run the OMS once, and return a copy of what it left."""
    await world.start()
    await world.stop()
    return Path(shutil.copyfile(world.database, world.database.with_suffix(".backup")))


def restore(world: World, copy: Path) -> None:
    """Put a copy in the place of the database, as `cp` does; the head file stays."""
    for end in ("-wal", "-shm"):
        world.database.with_name(world.database.name + end).unlink(missing_ok=True)
    shutil.copyfile(copy, world.database)


@pytest.mark.parametrize("end", ["open", "filled", "cancelled"])
async def test_keys_that_ib_shows_are_not_sent_again_after_an_older_copy_was_restored(
    world: World, end: str
) -> None:
    copy = await aged(world)
    manager = await world.start()
    ticket = await world.resting(order_id="k1")
    if end == "filled":
        await world.simulator.do("fill", order_ref="k1", price=LOW)
        await world.until(lambda: ticket.state is OrderState.FILLED)
    elif end == "cancelled":
        await manager.cancel("k1")
        await world.until(lambda: ticket.state is OrderState.CANCELLED)
    await world.stop()
    restore(world, copy)
    with pytest.raises(LogWentBack, match=r"but oms\.sqlite\.head knows of"):
        await world.start()
    manager = await world.start(accept_loss=WORD)
    again = await manager.submit(AAPL, oms.Limit("BUY", 10, LOW), order_id="k1")
    assert again.order.origin != "ours"
    (accepted,) = await world.log(LossAccepted)
    assert (accepted.loss, accepted.reason) == ("behind", WORD.reason)
    assert accepted.known_sequence > accepted.found_sequence > 0
    assert await world.received("k1") == 1
